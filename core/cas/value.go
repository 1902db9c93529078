package cas

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"sync/atomic"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/algorithm"
)

// A value is the format's version, a nonce, and the binary form of an algorithm.State: some 35 bytes for a bucket.

// format is the first byte of a value.
const format = 1

// nonce makes a value unlike any other that was ever written.
type nonce [16]byte

// nonces are what a store gives to its swaps: 64 random bits of its own, and a number.
type nonces struct {
	id   [8]byte
	last atomic.Uint64
}

func (n *nonces) start() { _, _ = rand.Read(n.id[:]) } // it never fails

func (n *nonces) next() (v nonce) {
	copy(v[:], n.id[:])
	binary.BigEndian.PutUint64(v[8:], n.last.Add(1))
	return v
}

// encode returns the value of a state.
func encode(n nonce, s *algorithm.State) []byte {
	b := make([]byte, 0, 1+len(n)+24+2*len(s.Counts))
	b = append(b, format)
	b = append(b, n[:]...)
	return s.Append(b)
}

// errValue is what a call gets that meets a value which is not Halt's. It names no key.
var errValue error = &halt.StoreError{
	Kind: halt.ErrCorrupt, Cause: errors.New("halt/cas: a key holds a value of another shape; it was left as it is"),
}

// decode reads a value as that of a budget under p; nil is the state of a key never seen. What is no value, to the last byte,
// is an error that matches halt.ErrCorrupt.
func decode(value []byte, p *halt.Policy) (algorithm.State, error) {
	if value == nil {
		return algorithm.State{}, nil
	}
	if len(value) < 1+len(nonce{}) || value[0] != format {
		return algorithm.State{}, errValue
	}
	return algorithm.Parse(value[1+len(nonce{}):], p)
}

// bears tells whether a value carries the nonce.
func bears(value []byte, n nonce) bool {
	return len(value) >= 1+len(n) && value[0] == format && nonce(value[1:]) == n
}
