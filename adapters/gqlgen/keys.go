package haltgqlgen

import (
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/halt-dev/halt/core/guard"
	"github.com/halt-dev/halt/core/httpkit"
)

var framework = httpkit.Framework[*Operation]{
	Method: func(o *Operation) string {
		if o.request == nil {
			return ""
		}
		return o.request.r.Method
	},
	Path: func(o *Operation) string {
		if o.request == nil {
			return ""
		}
		return o.request.r.URL.Path
	},
	// The operation's name is the client's to choose, and would make as many series of an observer's metrics.
	Route: func(o *Operation) string { return string(o.gql.Operation.Operation) },
	Remote: func(o *Operation) string {
		if o.request == nil {
			return ""
		}
		return o.request.r.RemoteAddr
	},
	Header: func(o *Operation, name string) (string, int) {
		lines := o.headers()[name]
		return strings.Join(lines, ", "), len(lines)
	},
}

// By returns the key of what f finds in an operation, mostly in its Context, under a kind such as "user" (1 to 32 of
// a-z 0-9 _ -, a letter first). An operation for which f returns "" has no key, and is refused: RATE_LIMIT_KEY_MISSING.
func By(kind string, f func(*Operation) string) Key { return guard.By(kind, f) }

// ByIP returns the key of the client's address: the peer's; or, if that is one of the trusted proxies, the right-most
// address of X-Forwarded-For that is not. IPv6 addresses count by their /64. The server must be wrapped in [Handler]:
// without it nobody has a key.
func ByIP(trustedProxies ...netip.Prefix) Key { return framework.ByIP(trustedProxies...) }

// ByAPIKey returns the key of an API key in the header field of that name; a hash of it is stored. Unless something
// before has verified the API key, a caller who makes keys up makes a budget with each: let another rule bound ByIP then.
// A websocket's header is that of the request that opened it.
func ByAPIKey(header string) Key { return framework.ByAPIKey(header) }

// ByHeader returns the key of a header field's value, such as a tenant that a gateway has written. A client can write
// what it likes in a field that nothing before verifies or overwrites.
func ByHeader(name string) Key { return framework.ByHeader(name) }

// ByArgument returns the key of an argument's value, for a FieldRule: of "email", or of "input.email" in an input object.
// A field whose argument is absent, null, empty, a list or an object has no key. A client can make values up: where each
// would be a budget of its own, let another limit bound ByIP.
func ByArgument(path string) Key {
	if path == "" || slices.Contains(strings.Split(path, "."), "") {
		return guard.Invalid[*Operation](`made with an argument's path, such as "email" or "input.email"`)
	}
	prefix := path + "="
	return guard.ByAppend("arg", func(b []byte, o *Operation) []byte {
		n := len(b)
		b = append(b, prefix...)
		filled := len(b)
		if b = appendValue(b, o.Argument(path)); len(b) == filled {
			return b[:n]
		}
		return b
	})
}

// Everyone returns the one key that all operations share: for limits that protect the service as a whole.
func Everyone() Key { return guard.Everyone[*Operation]() }

// ChargeOn returns a Settle that keeps the cost of operations whose answer has an error with one of these
// extensions.code, and gives it back to others: ChargeOn("WRONG_PASSWORD") counts failed logins. Operations that panic
// outside of resolvers are not charged; what panics in a resolver is an error of the answer, without a code by default.
func ChargeOn(codes ...string) func(*Operation, Outcome) int64 {
	codes = slices.Clone(codes)
	return func(_ *Operation, o Outcome) int64 {
		var list gqlerror.List
		errors.As(o.Err, &list)
		for _, e := range list {
			if code, ok := e.Extensions["code"].(string); ok && slices.Contains(codes, code) {
				return o.Reserved
			}
		}
		return 0
	}
}

// argument returns the value at a path of a field's arguments, or nil.
func argument(f *ast.Field, vars map[string]any, path string) any {
	name, rest, deeper := strings.Cut(path, ".")
	var v any
	found := false
	if a := f.Arguments.ForName(name); a != nil && a.Value != nil {
		if a.Value.Kind == ast.Variable {
			v, found = vars[a.Value.Raw]
		} else {
			var err error
			v, err = a.Value.Value(vars)
			found = err == nil
		}
	}
	if !found && f.Definition != nil {
		if d := f.Definition.Arguments.ForName(name); d != nil && d.DefaultValue != nil {
			v, _ = d.DefaultValue.Value(nil)
		}
	}
	for deeper {
		name, rest, deeper = strings.Cut(rest, ".")
		m, _ := v.(map[string]any)
		v = m[name]
	}
	return v
}

// appendValue appends a scalar, equal values alike however a client writes them; nothing for what is no scalar.
func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		return append(b, v...)
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return strconv.AppendInt(b, n, 10)
		}
		if f, err := v.Float64(); err == nil {
			return appendValue(b, f)
		}
	case int:
		return strconv.AppendInt(b, int64(v), 10)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case float64:
		if n := int64(v); float64(n) == v {
			return strconv.AppendInt(b, n, 10)
		}
		return strconv.AppendFloat(b, v, 'g', -1, 64)
	case bool:
		return strconv.AppendBool(b, v)
	}
	return b
}
