package memory

import (
	"hash/maphash"
	"math/bits"
	"math/rand/v2"

	halt "github.com/halt-dev/halt/core"
)

// hasher turns storage keys into fingerprints. It is seeded per store, so nobody outside the process can look for keys
// that collide.
type hasher struct {
	key  maphash.Seed
	a, b uint64 // secrets
}

func newHasher() hasher {
	return hasher{key: maphash.MakeSeed(), a: rand.Uint64(), b: rand.Uint64()}
}

// fingerprint stands for the storage key of c's budget, or that of its shadow: equal for charges whose halt.StorageKey is
// equal, and otherwise different but for the odds of two 64-bit hashes meeting.
//
// It is the exclusive or of the key's hash, which is up to whoever sends requests, and of one of all the rest, which is up
// to the program and short: that takes a cheaper one, wyhash's.
func (h *hasher) fingerprint(c *halt.Charge, shadow bool) uint64 {
	p := &c.Policy
	span := uint64(p.Window)
	shape := uint64(p.Algorithm)
	if shadow {
		shape |= 1 << 8
	}
	zone := ""
	switch {
	case p.Period.Unit != halt.None:
		span, zone = calendar(p.Period)
		shape |= 1 << 9
	case p.Algorithm == halt.SlidingWindow || p.Algorithm == halt.InFlight:
		shape |= uint64(p.SubWindows()) << 16
	}
	x := h.text(mix(span^h.a, shape^h.b), p.Name)
	if zone != "" {
		x = h.text(x, zone)
	}
	return maphash.String(h.key, c.Key) ^ x
}

// calendar returns the period's identity, with one spelling for what means the same.
func calendar(p halt.Period) (unitAndAnchor uint64, zone string) {
	zone = p.Zone
	if zone == "" {
		zone = "UTC"
	}
	anchor := p.Anchor
	if anchor == 0 && p.Unit == halt.Month {
		anchor = 1
	}
	return uint64(p.Unit) | uint64(anchor)<<8, zone
}

// text returns the hash of x and s.
func (h *hasher) text(x uint64, s string) uint64 {
	n := uint64(len(s))
	for ; len(s) > 8; s = s[8:] {
		x = mix(x^(word(s)|word(s[4:])<<32), h.a)
	}
	var last uint64 // up to eight bytes, in words that overlap: the length tells how
	switch {
	case len(s) >= 4:
		last = word(s) | word(s[len(s)-4:])<<32
	case len(s) > 0:
		last = uint64(s[0]) | uint64(s[len(s)/2])<<8 | uint64(s[len(s)-1])<<16
	}
	return mix(x^last, h.b^n)
}

// word returns the first four bytes of s.
func word(s string) uint64 {
	_ = s[3]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24
}

// mix is the folded multiplication of wyhash: with secret operands a hash of both.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}
