package algorithm

import (
	"time"

	halt "github.com/halt-dev/halt/core"
)

// Kind tells policies apart as far as their arithmetic differs. The numbers are part of what stores send to their databases.
type Kind uint8

// The kinds. A leaky bucket differs from a token bucket only in what it tells and gives back, and what is in flight not at
// all from a sliding window in its state.
const (
	KindToken   Kind = 0
	KindLeaky   Kind = 1
	KindFixed   Kind = 2 // by Window
	KindPeriod  Kind = 3 // by Period
	KindSliding Kind = 4
)

const (
	// Most is what a state's debt, or the sum of its counts, saturates at: far above all capacities, and exact in a double.
	Most = most
	// Decade bounds how long a bucket's debt takes to drain, and how long a block lasts, so that no entry lives for longer.
	Decade = decade
)

// Numbers is a policy as the integers that Decide goes by: for stores that compute the same where their data is. All of them,
// and all sums and products that are formed of them, are below 2^53.
type Numbers struct {
	Kind     Kind
	Tick     int64 // in µs
	Limit    int64
	Capacity int64 // the largest cost that can fit
	Window   int64 // in ticks; without a meaning if there is a Period
	Block    int64 // in ticks
	MostDebt int64 // of buckets: what their debt saturates at, in units of 1/Window
	Sub      int64 // of sliding windows: ticks of a sub-window
	Counts   int64 // of sliding windows: how many counts the state has; else 0
}

// NumbersOf returns the numbers of a valid policy that is not Unlimited.
func NumbersOf(p *halt.Policy) Numbers {
	n := Numbers{Tick: int64(p.Tick() / time.Microsecond), Limit: p.Limit, Capacity: p.Capacity()}
	n.Window, n.Block = n.Ticks(p.Window), n.Ticks(p.Block)
	switch p.Algorithm {
	case halt.TokenBucket, halt.LeakyBucket:
		n.Kind = KindToken
		if p.Algorithm == halt.LeakyBucket {
			n.Kind = KindLeaky
		}
		n.MostDebt = mostDebt(n.Limit, n.Ticks(decade))
	case halt.FixedWindow:
		n.Kind = KindFixed
		if p.Period.Unit != halt.None {
			n.Kind = KindPeriod
		}
	default:
		n.Kind = KindSliding
		subs := int64(p.SubWindows())
		n.Sub, n.Counts = ceilDiv(n.Window, subs), subs+1
	}
	return n
}

// Ticks returns d in whole ticks.
func (n *Numbers) Ticks(d time.Duration) int64 { return int64(d/time.Microsecond) / n.Tick }

// mostDebt is what a debt saturates at that drains by limit a tick, for so many ticks at most.
func mostDebt(limit, ticks int64) int64 {
	if limit > most/ticks {
		return most
	}
	return limit * ticks
}
