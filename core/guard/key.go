package guard

import (
	"cmp"
	"slices"
	"strconv"
)

// Key says whose budget a request draws on. It is made by [By], by an adapter's functions or by combining keys, and has
// no other form: a key always says its kind, so that no value of one kind ever meets another's budget.
//
// As the Limiter gets it, for a Reset by hand, say, it is kind:value, such as "user:42" or "ip:192.0.2.1"; of an And the
// length of the first, the first and the second, "12:ip:192.0.2.1&user:42"; of Everyone "everyone". The kinds ip, apikey,
// header and route are those of the adapters' functions: a By of such a kind shares their budgets. Instead of one of more
// than 256 bytes it gets "#" and the SHA-256 of that in hexadecimal: else a client could fill a store with few requests.
type Key[R any] struct {
	// add appends the key to b; it reports false if the request has none, and what b then holds beyond its old length has
	// no meaning.
	add    func(b []byte, r R) ([]byte, bool)
	same   string // the key, if it is the same for all requests
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
		return Key[R]{fault: noFunction}
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

// ByAppend is By for functions that spare an allocation: f appends what it finds to b and returns the extended slice. If
// it appends nothing, the request has no key.
func ByAppend[R any](kind string, f func(b []byte, r R) []byte) Key[R] {
	if k := By(kind, func(R) string { return "" }); k.fault != "" || f == nil {
		return Key[R]{fault: cmp.Or(k.fault, noFunction)}
	}
	prefix := kind + ":"
	return Key[R]{add: func(b []byte, r R) ([]byte, bool) {
		out := append(b, prefix...)
		n := len(out)
		if out = f(out, r); len(out) <= n {
			return b, false // of nothing it may have made a nil
		}
		return out, true
	}}
}

// Everyone returns the one key that all requests share: for limits that protect the service as a whole.
func Everyone[R any]() Key[R] {
	const key = "everyone"
	return Key[R]{same: key, shared: true, add: func(b []byte, _ R) ([]byte, bool) { return append(b, key...), true }}
}

// Or returns k, or other for requests that have no k. Keys of two kinds stay apart: who has a k never shares a budget
// with who falls back to other. Keys of one kind, such as two fields that may hold an API key, do meet.
func (k Key[R]) Or(other Key[R]) Key[R] {
	if f := firstFault(k, other); f != "" {
		return Key[R]{fault: f}
	}
	return Key[R]{shared: k.shared || other.shared, add: func(b []byte, r R) ([]byte, bool) {
		out, ok := k.add(b, r)
		if ok {
			return out, true
		}
		return other.add(out[:len(b)], r)
	}}
}

// And returns the key of both together, such as an address and an account. A request that lacks one has no key.
func (k Key[R]) And(other Key[R]) Key[R] {
	if f := firstFault(k, other); f != "" {
		return Key[R]{fault: f}
	}
	return Key[R]{shared: k.shared && other.shared, add: func(b []byte, r R) ([]byte, bool) {
		at := len(b)
		b, ok := k.add(b, r)
		if !ok {
			return b[:at], false
		}
		// The first part's length keeps "a" and "b&c" apart from "a&b" and "c". No kind starts with a digit.
		var buf [24]byte
		length := append(strconv.AppendInt(buf[:0], int64(len(b)-at), 10), ':')
		b = append(slices.Insert(b, at, length...), '&')
		if b, ok = other.add(b, r); !ok {
			return b[:at], false
		}
		return b, true
	}}
}

const noFunction = "made with a function"

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
