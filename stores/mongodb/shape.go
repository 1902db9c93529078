package haltmongo

import (
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/algorithm"
)

// shape is a policy in numbers.
type shape struct {
	algorithm.Numbers
	policy halt.Policy
	unit   int64 // of what is used, for a cost of 1
	full   int64 // what can be used
	most   int64 // at which what is used saturates
}

func newShape(p *halt.Policy) shape {
	h := shape{Numbers: algorithm.NumbersOf(p), policy: *p, unit: 1, most: algorithm.Most}
	if h.Kind <= algorithm.KindLeaky {
		h.unit, h.most = h.Window, h.MostDebt
	}
	h.full = h.Capacity * h.unit
	return h
}

// longestBlock is for how many ticks a key can be blocked.
func (h *shape) longestBlock() int64 { return h.Ticks(algorithm.Decade) }

// ahead is by how many ticks a state may be ahead of the clock and still count.
func (h *shape) ahead() int64 { return h.Ticks(10 * time.Second) }

// same tells whether two policies that share a budget decide alike.
func (h *shape) same(p *halt.Policy) bool {
	return h.policy.Limit == p.Limit && h.policy.Burst == p.Burst && h.policy.Block == p.Block
}

// products saturate at what nothing that is used can reach.
func product(n, unit int64) int64 {
	if n > algorithm.Most/unit {
		return algorithm.Most + 1
	}
	return n * unit
}
