package guard

import (
	"crypto/sha256"
	"encoding/hex"
)

// longestKey is how long a key may be, in bytes, that is stored as it is.
const longestKey = 256

// Of returns the key that r has, as a string of its own, or "" if it has none: for adapters that make charges beside a
// Guard's, such as one for each field of a query. It calls the user's function, and panics as that does.
func (k Key[R]) Of(r R) string {
	if k.same != "" {
		return k.same
	}
	var buf [64]byte
	b, ok := k.Append(buf[:0], r)
	if !ok {
		return ""
	}
	return string(b)
}

// Append is Of for adapters that make many keys: it appends the key to b, or reports false if r has none.
func (k Key[R]) Append(b []byte, r R) ([]byte, bool) {
	if k.add == nil {
		return b, false
	}
	out, ok := k.add(b, r)
	switch {
	case !ok:
		return b, false
	case len(out)-len(b) > longestKey:
		return hashed(b, out[len(b):]), true
	}
	return out, true
}

// hashed appends what is stored instead of a key that is too long: no kind starts like that, and no And.
func hashed(b, key []byte) []byte {
	sum := sha256.Sum256(key)
	return hex.AppendEncode(append(b, '#'), sum[:])
}

// Fault says what a key must be to be used, or "" if it can be.
func (k Key[R]) Fault() string {
	if k.add == nil && k.fault == "" {
		return "set"
	}
	return firstFault(k)
}
