package httpkit

import (
	"strconv"
	"strings"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
)

// This file is all that knows the syntax of the fields: lists of strings with parameters, as in Structured Field Values
// (RFC 9651), with the parameters of draft-ietf-httpapi-ratelimit-headers-10.

// largest is the largest integer of a structured field.
const largest = 999_999_999_999_999

// appendPolicy appends a member of RateLimit-Policy: "api";q=100;w=60. The window is left out of calendar periods and of
// windows under a second, which the field has no figure for.
func appendPolicy(b []byte, p *halt.Policy) []byte {
	b = appendName(b, p.Name)
	b = append(b, ";q="...)
	b = strconv.AppendInt(b, min(p.Limit, largest), 10)
	if p.Window >= time.Second {
		b = append(b, ";w="...)
		b = strconv.AppendInt(b, guard.Seconds(p.Window), 10)
	}
	return b
}

// appendLimit appends a member of RateLimit: "api";r=42;t=17. A refusing policy's t is when to come again, as
// Retry-After is; it is left out if waiting does not help.
func appendLimit(b []byte, name string, d *halt.Decision) []byte {
	b = appendName(b, name)
	b = append(b, ";r="...)
	b = strconv.AppendInt(b, min(d.Remaining, largest), 10)
	t := d.ResetAfter
	if !d.Allowed {
		t = d.RetryAfter
	}
	if t != halt.Never {
		b = append(b, ";t="...)
		b = strconv.AppendInt(b, guard.Seconds(t), 10)
	}
	return b
}

// appendName appends a policy's name as a string. Names have no character that a string would have to escape.
func appendName(b []byte, name string) []byte {
	b = append(b, '"')
	b = append(b, name...)
	return append(b, '"')
}

// members splits a list at the commas outside its strings and inner lists. It returns none if that leaves an empty
// member, or if a string or an inner list has no end, or holds what it must not.
func members(list string) []string {
	var ms []string
	start, depth, quoted := 0, 0, false
	for i := 0; i <= len(list); i++ {
		if i == len(list) || list[i] == ',' && !quoted && depth == 0 {
			m := strings.Trim(list[start:i], " \t")
			if m == "" || quoted || depth != 0 {
				return nil
			}
			ms = append(ms, m)
			start = i + 1
			continue
		}
		switch c := list[i]; {
		case (c < ' ' && c != '\t') || c > '~' || quoted && c == '\t':
			return nil
		case quoted && c == '\\':
			if i++; i == len(list) || list[i] != '"' && list[i] != '\\' {
				return nil
			}
		case c == '"':
			quoted = !quoted
		case c == '(' && !quoted:
			depth++
		case c == ')' && !quoted:
			if depth--; depth < 0 {
				return nil
			}
		}
	}
	return ms
}

// policyName returns a member's bare item, quotes included.
func policyName(member string) string {
	if rest, ok := strings.CutPrefix(member, `"`); ok {
		if end := strings.IndexByte(rest, '"'); end >= 0 {
			return member[:end+2]
		}
	}
	name, _, _ := strings.Cut(member, ";")
	return name
}
