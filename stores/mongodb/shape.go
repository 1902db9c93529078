package haltmongo

import (
	"time"

	halt "github.com/halt-dev/halt/core"
)

// The kinds of policy that a pipeline knows: leaky buckets differ from token buckets only in what they tell and give back.
const (
	kindToken = iota
	kindLeaky
	kindFixed
	kindPeriod
	kindSliding
)

// shape is a policy in numbers. All are integers below 2^53.
type shape struct {
	policy   halt.Policy
	kind     int
	tick     int64 // in µs
	window   int64 // in ticks, but of a period
	limit    int64
	capacity int64 // the largest cost that can fit
	unit     int64 // of what is used, for a cost of 1
	full     int64 // what can be used
	most     int64 // at which what is used saturates
	sub      int64 // ticks of a sub-window
	size     int64 // how many counts there are
	block    int64 // in ticks
}

func newShape(p *halt.Policy) shape {
	h := shape{
		policy: *p, tick: int64(p.Tick() / time.Microsecond), limit: p.Limit, capacity: p.Capacity(), unit: 1, most: mostUsed,
	}
	h.window, h.block = h.ticks(p.Window), h.ticks(p.Block)
	switch p.Algorithm {
	case halt.TokenBucket, halt.LeakyBucket:
		h.kind = kindToken
		if p.Algorithm == halt.LeakyBucket {
			h.kind = kindLeaky
		}
		h.unit = h.window
		if ticks := h.ticks(decade); h.limit <= mostUsed/ticks {
			h.most = h.limit * ticks
		}
	case halt.FixedWindow:
		h.kind = kindFixed
		if p.Period.Unit != halt.None {
			h.kind = kindPeriod
		}
	default:
		h.kind = kindSliding
		subs := int64(p.SubWindows())
		h.size = subs + 1
		h.sub = (h.window-1)/subs + 1
	}
	h.full = h.capacity * h.unit
	return h
}

// ticks returns a duration in whole ticks.
func (h *shape) ticks(d time.Duration) int64 { return int64(d/time.Microsecond) / h.tick }

// longestBlock is for how many ticks a key can be blocked.
func (h *shape) longestBlock() int64 { return h.ticks(decade) }

// ahead is by how many ticks a state may be ahead of the clock and still count.
func (h *shape) ahead() int64 { return h.ticks(10 * time.Second) }

// same tells whether two policies that share a budget decide alike.
func (h *shape) same(p *halt.Policy) bool {
	return h.policy.Limit == p.Limit && h.policy.Burst == p.Burst && h.policy.Block == p.Block
}

// products saturate at what nothing that is used can reach.
func product(n, unit int64) int64 {
	if n > mostUsed/unit {
		return mostUsed + 1
	}
	return n * unit
}
