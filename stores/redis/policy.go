package haltredis

import (
	"encoding/binary"
	"math"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// The kinds of policy that the script knows: two algorithms that differ only in what they tell are one to it.
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
	tick         int64  // in µs
	size         int    // how many counts a state has
	sub          int64  // ticks of a sub-window
	numbers      []byte // it as the script reads it, without the edges of a Period
}

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
	i.numbers = i.encode()
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

// encode returns the policy as the script reads it, without the edges of a Period.
func (p *policy) encode() []byte {
	x, y := int64(0), int64(0)
	switch p.kind {
	case kindToken, kindLeaky:
		x = mostDebt(p.Limit, p.ticks(longest))
	case kindSliding:
		x, y = p.sub, int64(p.size)
	}
	b := []byte{p.kind}
	for _, n := range [...]int64{p.tick, p.Limit, p.Capacity(), p.ticks(p.Window), p.ticks(p.Block), x, y} {
		b = appendNumber(b, n)
	}
	return b
}

// append appends the policy as the script reads it. The edges of a Period are those around now.
func (p *policy) append(b []byte, now func() halt.Instant) []byte {
	b = append(b, p.numbers...)
	if p.kind == kindPeriod {
		for _, edge := range p.Period.Edges(now()) {
			b = appendNumber(b, int64(edge)/p.tick)
		}
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

// appendNumber appends a number as the script reads it. What is beyond 2^53 is so far beyond all that it is compared with
// that 2^53-1 means the same.
func appendNumber(b []byte, n int64) []byte {
	return binary.LittleEndian.AppendUint64(b, math.Float64bits(float64(min(n, 1<<53-1))))
}
