package guard

import (
	"strconv"
)

// Key says whose budget a request draws on. It is made by [By], by an adapter's functions or by combining keys, and has
// no other form: a key always says its kind, so that no value of one kind ever meets another's budget.
type Key[R any] struct {
	// add appends the key to b; it reports false if the request has none.
	add    func(b []byte, r R) ([]byte, bool)
	shared bool   // everyone draws on it: taken last where a call can't be one step
	fault  string // what was wrong when it was made; New tells
}

// By returns the key of what f finds in a request, under a kind such as "user" (1 to 32 of a-z 0-9 _ -, a letter first).
// If f returns "" the request has no key: it is answered 400, or the next of an [Key.Or] is tried. What f returns is
// copied before the request goes on, so it may alias the framework's buffers.
func By[R any](kind string, f func(R) string) Key[R] {
	switch {
	case !validKind(kind):
		return Key[R]{fault: "of a kind of 1 to 32 of a-z 0-9 _ -, a letter first"}
	case f == nil:
		return Key[R]{fault: "made with a function"}
	}
	prefix := kind + ":"
	return Key[R]{add: func(b []byte, r R) ([]byte, bool) {
		v := f(r)
		if v == "" {
			return b, false
		}
		return append(append(b, prefix...), v...), true
	}}
}

// Everyone returns the one key that all requests share: for limits that protect the service as a whole.
func Everyone[R any]() Key[R] {
	return Key[R]{shared: true, add: func(b []byte, _ R) ([]byte, bool) { return append(b, "everyone"...), true }}
}

// Or returns k, or other for requests that have no k. The two stay apart: who has a k never shares a budget with who
// falls back to other.
func (k Key[R]) Or(other Key[R]) Key[R] {
	if f := firstFault(k, other); f != "" {
		return Key[R]{fault: f}
	}
	return Key[R]{shared: k.shared || other.shared, add: func(b []byte, r R) ([]byte, bool) {
		if out, ok := k.add(b, r); ok {
			return out, true
		}
		return other.add(b, r)
	}}
}

// And returns the key of both together, such as an address and an account. A request that lacks one has no key.
func (k Key[R]) And(other Key[R]) Key[R] {
	if f := firstFault(k, other); f != "" {
		return Key[R]{fault: f}
	}
	return Key[R]{shared: k.shared && other.shared, add: func(b []byte, r R) ([]byte, bool) {
		var buf [64]byte
		first, ok := k.add(buf[:0], r)
		if !ok {
			return b, false
		}
		// The first part's length keeps "a" and "b&c" apart from "a&b" and "c". No kind starts with a digit.
		out := strconv.AppendInt(b, int64(len(first)), 10)
		out = append(append(append(out, ':'), first...), '&')
		if out, ok = other.add(out, r); !ok {
			return b, false
		}
		return out, true
	}}
}

// of returns the request's key as a string of its own, or "".
func (k Key[R]) of(r R) string {
	var buf [96]byte
	b, ok := k.add(buf[:0], r)
	if !ok {
		return ""
	}
	return string(b)
}

func firstFault[R any](ks ...Key[R]) string {
	for _, k := range ks {
		if k.fault != "" {
			return k.fault
		}
		if k.add == nil {
			return "made of keys that were made by a function of this package or of an adapter"
		}
	}
	return ""
}

func validKind(s string) bool {
	if len(s) == 0 || len(s) > 32 || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// Invalid returns a key that New rejects, for functions that make keys and were given something useless: want says what
// the key must be.
func Invalid[R any](want string) Key[R] { return Key[R]{fault: want} }
