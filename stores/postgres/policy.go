package haltpostgres

import (
	"strconv"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/algorithm"
)

// policy is what a request has to know of a halt.Policy.
type policy struct {
	halt.Policy
	name, shadow string // what identifies its budgets
	numbers      algorithm.Numbers
	request      uint64
	index        int    // in the request of that number
	text         []byte // its numbers, but for a period's edges
}

// policyNumbers is how many numbers the function is given of a policy.
const policyNumbers = 12

func newPolicy(p *halt.Policy) policy {
	n := algorithm.NumbersOf(p)
	x := n.Sub
	if n.Kind <= algorithm.KindLeaky {
		x = n.MostDebt
	}
	i := policy{Policy: *p, name: identity(p, false), shadow: identity(p, true), numbers: n}
	for _, n := range [...]int64{int64(n.Kind), n.Tick, n.Limit, n.Capacity, n.Window, n.Block, x, n.Counts} {
		i.text = appendNumber(i.text, n)
	}
	return i
}

// identity is the name of the charge's budgets.
func (p *policy) identity(shadow bool) string {
	if shadow {
		return p.shadow
	}
	return p.name
}

// append appends the policy as the function reads it. The edges of a Period are those around now.
func (p *policy) append(b []byte, now halt.Instant) []byte {
	b = append(b, p.text...)
	if p.numbers.Kind != algorithm.KindPeriod {
		return append(b, "0,0,0,0,"...)
	}
	for _, edge := range p.Period.Edges(now) {
		b = appendNumber(b, int64(edge)/p.numbers.Tick)
	}
	return b
}

// appendNumber appends an element of an array.
func appendNumber(b []byte, n int64) []byte {
	return append(strconv.AppendInt(b, n, 10), ',')
}
