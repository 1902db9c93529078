package haltredis

import (
	"encoding/binary"
	"math"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/algorithm"
)

// policy is what a request has to know of a halt.Policy.
type policy struct {
	halt.Policy
	name, shadow string // what identifies its budgets
	numbers      algorithm.Numbers
	encoded      []byte // these as the script reads them, without the edges of a Period
}

func newPolicy(p *halt.Policy) policy {
	i := policy{Policy: *p, name: identity(p, false), shadow: identity(p, true), numbers: algorithm.NumbersOf(p)}
	i.encoded = i.encode()
	return i
}

// identity is the name of the charge's budgets.
func (p *policy) identity(shadow bool) string {
	if shadow {
		return p.shadow
	}
	return p.name
}

// encode returns the policy as the script reads it, without the edges of a Period.
func (p *policy) encode() []byte {
	n := &p.numbers
	x := n.Sub
	if n.Kind <= algorithm.KindLeaky {
		x = n.MostDebt
	}
	b := []byte{byte(n.Kind)}
	for _, n := range [...]int64{n.Tick, n.Limit, n.Capacity, n.Window, n.Block, x, n.Counts} {
		b = appendNumber(b, n)
	}
	return b
}

// append appends the policy as the script reads it. The edges of a Period are those around now.
func (p *policy) append(b []byte, now func() halt.Instant) []byte {
	b = append(b, p.encoded...)
	if p.numbers.Kind == algorithm.KindPeriod {
		for _, edge := range p.Period.Edges(now()) {
			b = appendNumber(b, int64(edge)/p.numbers.Tick)
		}
	}
	return b
}

// appendNumber appends a number as the script reads it. What is beyond 2^53 is so far beyond all that it is compared with
// that 2^53-1 means the same.
func appendNumber(b []byte, n int64) []byte {
	return binary.LittleEndian.AppendUint64(b, math.Float64bits(float64(min(n, 1<<53-1))))
}
