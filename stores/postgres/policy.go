package haltpostgres

import (
	"strconv"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// The kinds of policy that the function knows.
const (
	kindToken   = 0
	kindLeaky   = 1
	kindFixed   = 2
	kindPeriod  = 3
	kindSliding = 4
)

// longest is the time in which a bucket's debt drains at most.
const longest = 10 * 365 * 24 * time.Hour

// policy is what a request has to know of a halt.Policy.
type policy struct {
	halt.Policy
	name, shadow string // what identifies its budgets
	kind         uint8
	tick         int64 // in µs
	size         int   // how many counts a state has
	sub          int64 // ticks of a sub-window
	request      uint64
	index        int    // in the request of that number
	text         []byte // its numbers, but for a period's edges
}

// policyNumbers is how many numbers the function is given of a policy.
const policyNumbers = 12

func newPolicy(p *halt.Policy) policy {
	i := policy{
		Policy: *p, name: identity(p, false), shadow: identity(p, true),
		tick: int64(p.Tick() / time.Microsecond),
	}
	switch p.Algorithm {
	case halt.TokenBucket:
		i.kind = kindToken
	case halt.LeakyBucket:
		i.kind = kindLeaky
	case halt.FixedWindow:
		i.kind = kindFixed
		if p.Period.Unit != halt.None {
			i.kind = kindPeriod
		}
	default:
		i.kind = kindSliding
		subs := int64(p.SubWindows())
		i.size = int(subs) + 1
		i.sub = (i.ticks(p.Window)-1)/subs + 1
	}
	x := i.sub
	if i.kind <= kindLeaky {
		x = mostDebt(p.Limit, i.ticks(longest))
	}
	for _, n := range [...]int64{
		int64(i.kind), i.tick, p.Limit, p.Capacity(), i.ticks(p.Window), i.ticks(p.Block), x, int64(i.size),
	} {
		i.text = appendNumber(i.text, n)
	}
	return i
}

// ticks returns a duration in whole ticks.
func (p *policy) ticks(d time.Duration) int64 { return int64(d/time.Microsecond) / p.tick }

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
	if p.kind != kindPeriod {
		return append(b, "0,0,0,0,"...)
	}
	for _, edge := range p.Period.Edges(now) {
		b = appendNumber(b, int64(edge)/p.tick)
	}
	return b
}

// mostDebt is what a bucket's debt saturates at: the least of 2^52 and what drains within the longest time.
func mostDebt(limit, longest int64) int64 {
	const most = int64(1) << 52
	if limit > most/longest {
		return most
	}
	return limit * longest
}

// appendNumber appends an element of an array.
func appendNumber(b []byte, n int64) []byte {
	return append(strconv.AppendInt(b, n, 10), ',')
}
