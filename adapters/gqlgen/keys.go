package haltgqlgen

import (
	"encoding/json"
	"errors"
	"net/http"
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
		r := o.Request()
		if r == nil {
			r = &http.Request{Header: o.gql.Headers} // all that gqlgen tells of it
		}
		return httpkit.RequestHeader(r, name)
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
// What the client leaves out is what the schema says by default. A field whose argument is absent, null, empty, a list or
// an object has no key. Equal numbers are one key however they are written, numeric IDs included, and so are enum values;
// strings are compared as they are: if the resolver folds cases, say, let a key By do the same. A client can make values
// up: where each would be a budget of its own, let another limit bound ByIP.
func ByArgument(path string) Key {
	if path == "" || slices.Contains(strings.Split(path, "."), "") {
		return guard.Invalid[*Operation](`made with an argument's path, such as "email" or "input.email"`)
	}
	prefix := path + "="
	return guard.ByAppend("arg", func(b []byte, o *Operation) []byte {
		n := len(b)
		b = append(b, prefix...)
		filled := len(b)
		if b = o.appendArgument(b, path); len(b) == filled {
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

// argument returns the value at a path of the arguments of the operation's field, or nil, and its type. As gqlgen does it,
// and the specification, what is absent has the schema's default, at each step of the path; a null hasn't.
func (o *Operation) argument(path string) (any, *ast.Type) {
	name, rest, deeper := strings.Cut(path, ".")
	if o.field == nil || o.field.Definition == nil {
		return nil, nil
	}
	d := o.field.Definition.Arguments.ForName(name)
	if d == nil {
		return nil, nil
	}
	var v any
	found := false
	if a := o.field.Arguments.ForName(name); a != nil && a.Value != nil {
		if a.Value.Kind == ast.Variable {
			v, found = o.gql.Variables[a.Value.Raw]
		} else {
			var err error
			v, err = a.Value.Value(o.gql.Variables)
			found = err == nil
		}
	}
	t, preset := d.Type, d.DefaultValue
	for {
		if !found && preset != nil {
			v, _ = preset.Value(nil)
		}
		if !deeper {
			return v, t
		}
		m, ok := v.(map[string]any)
		input := o.ext.schema.Types[t.NamedType] // of a list there is none
		if !ok || input == nil {
			return nil, nil
		}
		name, rest, deeper = strings.Cut(rest, ".")
		field := input.Fields.ForName(name)
		if field == nil {
			return nil, nil
		}
		v, found = m[name]
		t, preset = field.Type, field.DefaultValue
	}
}

// coerced returns what a value of a scalar or an enum is taken for where a client may write it in several ways: gqlgen reads
// numbers from strings too, so that "3", "03" and "+3" are one Int, and gqlparser ignores the case of enum values.
func (s *schemaInfo) coerced(v any, t *ast.Type) any {
	if v == nil || t == nil || t.Elem != nil {
		return v
	}
	switch t.NamedType {
	case "Int":
		if n, err := strconv.ParseInt(string(appendValue(nil, v)), 10, 64); err == nil {
			return n
		}
	case "Float":
		if f, err := strconv.ParseFloat(string(appendValue(nil, v)), 64); err == nil {
			return f
		}
	case "ID":
		if b := appendValue(nil, v); len(b) > 0 {
			return string(b)
		}
	default:
		name, _ := v.(string)
		if d := s.Types[t.NamedType]; name != "" && d != nil && d.Kind == ast.Enum {
			for _, e := range d.EnumValues {
				if strings.EqualFold(name, e.Name) {
					return e.Name
				}
			}
		}
	}
	return v
}

// appendArgument appends what a key has of an argument. Numeric IDs may be ints in Go, for which "3" and "03" are one.
func (o *Operation) appendArgument(b []byte, path string) []byte {
	v, t := o.argument(path)
	v = o.ext.schema.coerced(v, t)
	if id, ok := v.(string); ok && t != nil && t.NamedType == "ID" {
		if n, err := strconv.ParseInt(id, 10, 64); err == nil {
			v = n
		}
	}
	return appendValue(b, v)
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
