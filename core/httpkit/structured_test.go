package httpkit_test

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
	"github.com/halt-dev/halt/core/httpkit"
)

// item is a member of a structured field's list: a bare item and its parameters, as RFC 9651 has them. Of the bare items
// it knows strings, tokens, integers and booleans, which is more than Halt writes.
type item struct {
	value  any // string, token, int64 or bool
	params map[string]any
}

type token string

// parser is that of RFC 9651, 4.2, for lists of items.
type parser struct{ rest string }

func parseList(field string) (list []item, err error) {
	for i := range len(field) {
		if field[i] > 0x7f {
			return nil, errors.New("not ASCII")
		}
	}
	p := &parser{strings.Trim(field, " ")}
	for p.rest != "" {
		it, err := p.item()
		if err != nil {
			return nil, err
		}
		list = append(list, it)
		p.rest = strings.TrimLeft(p.rest, " \t")
		if p.rest == "" {
			return list, nil
		}
		if !p.take(",") {
			return nil, fmt.Errorf("%q where a comma was due", p.rest)
		}
		if p.rest = strings.TrimLeft(p.rest, " \t"); p.rest == "" {
			return nil, errors.New("trailing comma")
		}
	}
	return list, nil
}

func (p *parser) take(s string) bool {
	rest, ok := strings.CutPrefix(p.rest, s)
	p.rest = rest
	return ok
}

// span takes the longest prefix of bytes of a class.
func (p *parser) span(in func(c byte) bool) string {
	n := 0
	for n < len(p.rest) && in(p.rest[n]) {
		n++
	}
	s := p.rest[:n]
	p.rest = p.rest[n:]
	return s
}

func (p *parser) item() (it item, err error) {
	if it.value, err = p.bare(); err != nil {
		return it, err
	}
	it.params = map[string]any{}
	for p.take(";") {
		p.rest = strings.TrimLeft(p.rest, " ")
		if p.rest == "" || !lower(p.rest[0]) && p.rest[0] != '*' {
			return it, fmt.Errorf("%q where a parameter's key was due", p.rest)
		}
		key := p.span(func(c byte) bool { return lower(c) || digit(c) || strings.IndexByte("_-.*", c) >= 0 })
		it.params[key] = true
		if p.take("=") {
			if it.params[key], err = p.bare(); err != nil {
				return it, err
			}
		}
	}
	return it, nil
}

func (p *parser) bare() (any, error) {
	switch {
	case p.rest == "":
		return nil, errors.New("no bare item")
	case p.take(`"`):
		return p.str()
	case p.take("?1"):
		return true, nil
	case p.take("?0"):
		return false, nil
	case digit(p.rest[0]) || p.rest[0] == '-':
		sign := ""
		if p.take("-") {
			sign = "-"
		}
		digits := p.span(digit)
		if len(digits) == 0 || len(digits) > 15 {
			return nil, fmt.Errorf("an integer of %d digits", len(digits))
		}
		return strconv.ParseInt(sign+digits, 10, 64)
	case alpha(p.rest[0]) || p.rest[0] == '*':
		return token(p.span(func(c byte) bool { return alpha(c) || digit(c) || strings.IndexByte("!#$%&'*+-.^_`|~:/", c) >= 0 })), nil
	}
	return nil, fmt.Errorf("no bare item at %q", p.rest)
}

func (p *parser) str() (any, error) {
	var b strings.Builder
	for p.rest != "" {
		c := p.rest[0]
		p.rest = p.rest[1:]
		switch {
		case c == '"':
			return b.String(), nil
		case c == '\\':
			if p.rest == "" || p.rest[0] != '"' && p.rest[0] != '\\' {
				return nil, errors.New("escape of what needs none")
			}
			b.WriteByte(p.rest[0])
			p.rest = p.rest[1:]
		case c < 0x20 || c == 0x7f:
			return nil, errors.New("control character in a string")
		default:
			b.WriteByte(c)
		}
	}
	return nil, errors.New("string without an end")
}

func digit(c byte) bool { return '0' <= c && c <= '9' }
func lower(c byte) bool { return 'a' <= c && c <= 'z' }
func alpha(c byte) bool { return lower(c) || 'A' <= c && c <= 'Z' }

func TestParserOfThisTest(t *testing.T) {
	for field, ok := range map[string]bool{
		`"a";q=1;w=2, "b"`: true, `a;x, "\"\\"`: true, ``: true, `"a"  ,	"b"`: true, `1;a=?0`: true,
		`"a",`: false, `"a`: false, `"a" "b"`: false, `"\x"`: false, `,"a"`: false, `"a";Q=1`: false, `1234567890123456`: false, "\"ä\"": false,
	} {
		if _, err := parseList(field); ok != (err == nil) {
			t.Errorf("%q: %v", field, err)
		}
	}
}

// send returns the header of an answer to a request that these policies decide so, in a response that has these fields.
func send(t *testing.T, before [2]string, decide decided, ps ...halt.Policy) http.Header {
	t.Helper()
	var c config
	for _, p := range ps {
		c.Rules = append(c.Rules, rule{Key: everyone(), Resolve: resolves(p)})
	}
	k, err := httpkit.New(halt.New(decide, nil), framework, c)
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{}
	for i, name := range []string{"RateLimit-Policy", "RateLimit"} {
		if before[i] != "" {
			h.Set(name, before[i])
		}
	}
	r := from("192.0.2.1:80")
	k.Enter(r.Context(), r, h).Leave(guard.Outcome{})
	return h
}

// checkFields checks both fields of an answer against the policies and the decision that all of them got.
func checkFields(t *testing.T, h http.Header, d halt.Decision, ps ...halt.Policy) {
	t.Helper()
	const most = 999_999_999_999_999
	wait := d.ResetAfter
	if !d.Allowed {
		wait = d.RetryAfter
	}
	for _, name := range []string{"RateLimit-Policy", "RateLimit"} {
		if len(h.Values(name)) != 1 {
			t.Fatalf("%s has the lines %q", name, h.Values(name))
		}
		list, err := parseList(h.Get(name))
		if err != nil {
			t.Fatalf("%s: %q is no list: %v", name, h.Get(name), err)
		}
		for _, p := range ps {
			want := map[string]any{}
			if name == "RateLimit" {
				want["r"] = min(d.Remaining, most)
				if wait != halt.Never {
					want["t"] = ceilSeconds(wait)
				}
			} else {
				want["q"] = min(p.Limit, most)
				if p.Window >= time.Second {
					want["w"] = ceilSeconds(p.Window)
				}
			}
			found := 0
			for _, it := range list {
				if it.value == p.Name {
					found++
					if fmt.Sprint(it.params) != fmt.Sprint(want) {
						t.Errorf("%s says %v of %s, want %v", name, it.params, p.Name, want)
					}
				}
			}
			if found != 1 {
				t.Errorf("%s %q names %s %d times", name, h.Get(name), p.Name, found)
			}
		}
	}
}

func ceilSeconds(d time.Duration) int64 {
	s := int64(d / time.Second)
	if d%time.Second > 0 {
		s++
	}
	return s
}

var fieldSeeds = []struct {
	name              string
	limit, window     int64
	remaining         int64
	reset             int64
	allowed           bool
	before, beforeLim string
}{
	{"api", 100, 60_000_000, 42, 17_000_000, true, "", ""},
	{"api", 1 << 51, 1_000, 1 << 51, 0, true, "", ""},
	{"a.b-c_D9", 1, 999_000, 0, 1, false, `"api";q=1;w=2`, `"api";r=1;t=2`},
	{"api", 1, 1_000_000, 0, -1, false, `"api";q=1;w=2, "other";q=7`, `"other";r=7, "api";r=1`},
	{"api", 5, 1_500_000, 3, 1, true, `"api`, `"api, x`},
	{"api", 5, 1_000_000, 3, 1, true, `"api\"";q=1, "a\\b", "x\`, `,`},
	{"api", 5, 1_000_000, 3, 1, true, `("api" "b");q=1, tok;a`, `("api`},
	{"api", 5, 1_000_000, 3, 1, true, "\"api\";x=\"a,b\"\t,\t\"api\"", "\x00"},
	{"api", 5, 1_000_000, 3, 1, true, `"api", "api" ;q=1`, `a)`},
	{"api", 5, 1_000_000, 3, 1, true, ` "other";q=1 ,, "third"`, "é"},
}

func FuzzStructuredFields(f *testing.F) {
	for _, s := range fieldSeeds {
		f.Add(s.name, s.limit, s.window, s.remaining, s.reset, s.allowed, s.before, s.beforeLim)
	}
	f.Fuzz(func(t *testing.T, name string, limit, window, remaining, reset int64, allowed bool, before, beforeLim string) {
		p := halt.Policy{Name: name, Limit: limit, Window: time.Duration(window%1e16) * time.Microsecond, Algorithm: halt.FixedWindow}
		if p.Validate() != nil || limit == halt.Unlimited {
			return
		}
		second := p
		second.Name = "x" + strings.TrimPrefix(name, "x")
		ps := []halt.Policy{p}
		if second.Name != name && second.Validate() == nil {
			ps = append(ps, second)
		}
		d := halt.Decision{Allowed: allowed, Remaining: max(remaining, 0), ResetAfter: time.Duration(max(reset, 0))}
		if !allowed {
			d.RetryAfter = d.ResetAfter
			if reset < 0 {
				d.RetryAfter = halt.Never
			}
		}
		decide := decided(func(*halt.Charge) (halt.Decision, error) { return d, nil })
		checkFields(t, send(t, [2]string{}, decide, ps...), d, ps...)

		// Whatever was there: if it was a list, its other members stay, and the result is one too. If it wasn't, no more than
		// a list that others find as they did can be asked, and that no panic comes of it.
		h := send(t, [2]string{before, beforeLim}, decide, ps...)
		for field, old := range map[string]string{"RateLimit-Policy": before, "RateLimit": beforeLim} {
			was, wasErr := parseList(old)
			is, err := parseList(h.Get(field))
			if err != nil {
				if wasErr == nil {
					t.Fatalf("%s: %q made of %q is no list: %v", field, h.Get(field), old, err)
				}
				continue
			}
			count := map[any]int{}
			for _, it := range is {
				count[it.value]++
			}
			for _, p := range ps {
				if count[p.Name] != 1 {
					t.Errorf("%s: %q made of %q names %s %d times", field, h.Get(field), old, p.Name, count[p.Name])
				}
			}
			for _, it := range was {
				if count[it.value] == 0 {
					t.Errorf("%s: %q made of %q lost %v", field, h.Get(field), old, it.value)
				}
			}
		}
	})
}

// Fields that a middleware before has written, and what becomes of them.
func TestFieldsAreMerged(t *testing.T) {
	p := halt.Policy{Name: "api", Limit: 5, Window: time.Minute}
	const policy, limit = `"api";q=5;w=60`, `"api";r=4;t=17`
	for _, test := range []struct{ before, want string }{
		{``, policy},
		{`"other";q=1`, `"other";q=1, ` + policy},
		{`"api";q=1`, policy},
		{`"api";q=1, "other";q=2, "api";q=3`, `"other";q=2, ` + policy},
		{`"other";q=1,"third";q=2`, `"other";q=1, "third";q=2, ` + policy},
		{`"x";c="a,b;\"api\""`, `"x";c="a,b;\"api\"", ` + policy},
		{`"api2", "ap", api, "api "`, `"api2", "ap", api, "api ", ` + policy},
		{`("api" "b");q=1`, `("api" "b");q=1, ` + policy},
		// What is no list goes: whoever reads it would have to ignore our members with it.
		{`"open`, policy},
		{`"a",,"b"`, policy},
		{`"a",`, policy},
		{`"a\x"`, policy},
		{`(a`, policy},
		{`a)`, policy},
		{"\"a\x00\"", policy},
		{`"ä"`, policy},
	} {
		h := send(t, [2]string{test.before, ""}, admitting(), p)
		wantHeader(t, h, "RateLimit-Policy", test.want)
		wantHeader(t, h, "RateLimit", limit)
	}
}
