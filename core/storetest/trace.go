package storetest

import (
	"fmt"
	"math/rand/v2"
	"time"

	halt "github.com/halt-dev/halt/core"
)

const traceRule = "Every decision equals the model's at the same instant, to the field."

var traceCases = []testCase{
	{name: "Trace/TokenBucket", rule: traceRule, run: traceOf(halt.TokenBucket)},
	{name: "Trace/LeakyBucket", rule: traceRule, run: traceOf(halt.LeakyBucket)},
	{name: "Trace/FixedWindow", rule: traceRule, run: traceOf(halt.FixedWindow)},
	{name: "Trace/SlidingWindow", rule: traceRule, run: traceOf(halt.SlidingWindow)},
	{name: "Trace/InFlight", rule: traceRule, run: traceOf(halt.InFlight)},
	{
		name: "Trace/Calls", run: traceCalls,
		rule: traceRule + " So it is for calls of several charges, of any mix of algorithms and modes.",
	},
	{
		name: "Trace/Extreme", run: traceExtreme,
		rule: traceRule + " So it is for limits and costs up to the largest: all arithmetic is exact, and nothing overflows.",
	},
	{
		name: "Trace/Clock", needs: backwards, run: traceClock,
		rule: traceRule + " So it is while the clock jumps forward and back.",
	},
}

func newTraffic(e *trial, seed uint64, extreme bool) *traffic {
	return &traffic{rng: rand.New(rand.NewPCG(e.rng.Uint64(), seed)), extreme: extreme, keys: []string{"k", "l"}}
}

// traced adds to a failure where in which trace it came up.
func traced(seed, call int) {
	if r := recover(); r != nil {
		if b, ok := r.(broken); ok {
			fail("trace %d, call %d: %w", seed, call, b.error)
		}
		panic(r)
	}
}

func traceOf(a halt.Algorithm) func(e *trial) {
	return func(e *trial) {
		for seed := range e.times(40) {
			e.trace(seed, []halt.Algorithm{a}, 1, false, 0)
		}
	}
}

func traceCalls(e *trial) {
	for seed := range e.times(60) {
		e.trace(seed, algorithms, 5, false, 0)
	}
}

func traceExtreme(e *trial) {
	for seed := range e.times(60) {
		e.trace(seed, algorithms, 2, true, 0)
	}
}

func traceClock(e *trial) {
	for seed := range e.times(60) {
		e.trace(seed, algorithms, 3, false, 20*time.Second)
	}
}

// trace makes calls of up to so many charges, some time apart, under policies that change; the clock jumps by up to
// jumps, or a hundred times as far, back too.
func (e *trial) trace(seed int, as []halt.Algorithm, most int, extreme bool, jumps time.Duration) {
	t := newTraffic(e, uint64(seed), extreme)
	ps := make([]halt.Policy, most+1)
	for i := range ps {
		ps[i] = t.policy(pick(t.rng, as...), fmt.Sprintf("trace-%d-%d-%d", e.names, seed, i))
		if !e.h.Atomic && !e.virtual() && most > 1 {
			ps[i].Block = 0 // a block that is written after the fact may find that the charge fits by then
		}
	}
	e.names++
	call := 0
	defer func() { traced(seed, call) }()
	for call = range 60 {
		n := 1 + t.rng.IntN(most)
		order := t.rng.Perm(len(ps))[:n]
		cs := make([]halt.Charge, 0, n)
		for _, i := range order {
			if t.rng.IntN(25) == 0 {
				ps[i] = t.another(ps[i])
				if !e.h.Atomic && !e.virtual() && most > 1 {
					ps[i].Block = 0
				}
			}
			cs = append(cs, t.charge(ps[i]))
		}
		ds := e.take(cs...)
		t.remember(cs, ds)
		switch {
		case jumps > 0 && t.rng.IntN(6) == 0:
			most := pick(t.rng, jumps, jumps, 100*jumps).Microseconds()
			e.pass(time.Duration(t.rng.Int64N(2*most)-most) * time.Microsecond)
		case e.virtual():
			i := t.rng.IntN(n)
			e.pass(t.pause(&cs[i].Policy, &ds[i]))
		}
		if t.rng.IntN(50) == 0 {
			e.reset(cs[0].Policy, cs[0].Key)
		}
	}
}
