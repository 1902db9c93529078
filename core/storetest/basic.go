package storetest

import (
	"context"
	"runtime"
	"slices"
	"time"

	halt "github.com/halt-dev/halt/core"
)

var basicCases = []testCase{
	{
		name: "Limit", run: limitIsExact,
		rule: "A fresh key admits exactly the policy's capacity, one by one or at once, and Remaining counts down to 0.",
	},
	{
		name: "CostZero", run: costZero,
		rule: "A cost of 0 spends nothing, and is allowed while nothing blocks the key or exceeds its capacity.",
	},
	{
		name: "CostAboveCapacity", run: costAboveCapacity,
		rule: "A cost above the capacity is refused with a RetryAfter of Never, spends nothing and does not block.",
	},
	{
		name: "Refusal", run: refusalChangesNothing,
		rule: "A refusal without a Block changes nothing that later decisions use.",
	},
	{
		name: "Reset", run: resetForgets,
		rule: "Reset makes a key as one never seen, its block and its shadow's budget included, and no other key. " +
			"Resetting a key never seen is no error.",
	},
	{
		name: "Caller", run: callersSlices,
		rule: "Take writes every field of every decision, changes no charge, keeps neither slice, and copies the keys that it keeps.",
	},
	{
		name: "Canceled", run: canceled,
		rule: "With an ended context a call returns at once, with an error or with its decision, and leaves no goroutine behind.",
	},
}

func limitIsExact(e *trial) {
	for _, a := range algorithms {
		for _, limit := range []int64{1, 2, 7} {
			p := e.still(a, limit)
			c := p.Charge("k", 1)
			for left := p.Capacity() - 1; left >= 0; left-- {
				d := e.one(c)
				e.check(d.Allowed && d.Remaining == left, "%s: %d left, not %d: %+v", showPolicy(&p), d.Remaining, left, d)
			}
			d := e.one(c)
			e.check(!d.Allowed && d.Remaining == 0 && d.RetryAfter > 0, "%s: more than the capacity: %+v", showPolicy(&p), d)

			at := p.Charge("all at once", p.Capacity())
			d = e.one(at)
			e.check(d.Allowed && d.Remaining == 0, "%s: the whole capacity at once: %+v", showPolicy(&p), d)
			d = e.one(at)
			e.check(!d.Allowed && d.RetryAfter != halt.Never, "%s: the whole capacity twice: %+v", showPolicy(&p), d)
		}
	}
}

func costZero(e *trial) {
	for _, a := range algorithms {
		p := e.still(a, 3)
		for _, m := range []halt.Mode{halt.Take, halt.Peek, halt.Shadow, halt.Debit} {
			d := e.one(halt.Charge{Policy: p, Key: "k", Mode: m})
			e.check(d.Allowed && d.Remaining == p.Capacity() && d.ResetAfter == 0, "%s of 0: %+v", m, d)
		}
		e.spend(p.Charge("k", 1), int(p.Capacity()))
		d := e.one(p.Charge("k", 0))
		e.check(d.Allowed && d.Remaining == 0, "0 of an exhausted budget: %+v", d)
	}
}

func costAboveCapacity(e *trial) {
	for _, a := range algorithms {
		p := e.still(a, 3)
		p.Block = 24 * time.Hour
		for _, cost := range []int64{p.Capacity() + 1, 1 << 40, 1<<52 - 1, 1<<53 + 1, 1<<63 - 1} {
			for _, m := range []halt.Mode{halt.Take, halt.Peek, halt.Shadow} {
				d := e.one(halt.Charge{Policy: p, Key: "k", Cost: cost, Mode: m})
				e.check(!d.Allowed && !d.Blocked && d.RetryAfter == halt.Never && d.Remaining == p.Capacity(),
					"%s of %d: %+v", m, cost, d)
			}
		}
		d := e.one(p.Charge("k", p.Capacity()))
		e.check(d.Allowed, "the capacity, after costs above it: %+v", d)
	}
}

func refusalChangesNothing(e *trial) {
	for _, a := range algorithms {
		p := e.still(a, 4)
		e.spend(p.Charge("k", 3), 1)
		for range 5 {
			d := e.one(p.Charge("k", 2))
			e.check(!d.Allowed && d.Remaining == 1 && d.Delay == 0, "2 of the 1 that is left: %+v", d)
		}
		d := e.one(p.Charge("k", 1))
		e.check(d.Allowed && d.Remaining == 0, "the 1 that is left, after refusals: %+v", d)
	}
}

func resetForgets(e *trial) {
	for _, a := range algorithms {
		p := e.still(a, 2)
		p.Block = 24 * time.Hour
		e.reset(p, "never seen")
		for _, m := range []halt.Mode{halt.Take, halt.Shadow} {
			e.one(halt.Charge{Policy: p, Key: "k", Cost: 2, Mode: m})
			d := e.one(halt.Charge{Policy: p, Key: "k", Cost: 1, Mode: m})
			e.check(!d.Allowed && d.Blocked, "%s: no block: %+v", m, d)
		}
		e.spend(p.Charge("other", 1), 1)
		e.reset(p, "k")
		for _, m := range []halt.Mode{halt.Take, halt.Shadow} {
			d := e.one(halt.Charge{Policy: p, Key: "k", Cost: 2, Mode: m})
			e.check(d.Allowed && !d.Blocked, "%s after a Reset: %+v", m, d)
		}
		d := e.peek(p.Charge("other", 0), 0)
		e.check(d.Remaining == 1, "another key, after a Reset: %+v", d)
	}
}

func callersSlices(e *trial) {
	p := e.still(halt.TokenBucket, 2)
	key := []byte("a key")
	cs := []halt.Charge{p.Charge(string(key), 1), e.still(halt.SlidingWindow, 9).Charge("k", 1)}
	ds := e.take(cs...)
	kept := slices.Clone(ds)
	clear(cs)
	e.spend(p.Charge("a key", 1), 1)
	e.check(slices.Equal(ds, kept), "a later call changed an earlier one's decisions from %+v to %+v", kept, ds)
	d := e.one(p.Charge("a key", 1))
	e.check(!d.Allowed, "the store lost the charges of a caller that used its slice again: %+v", d)
	if err := e.store.Take(e.ctx, nil, nil); err != nil {
		fail("a call without charges: %v", err)
	}
}

func canceled(e *trial) {
	p := e.still(halt.FixedWindow, 1<<30)
	e.spend(p.Charge("warm up", 1), 1)
	before := runtime.NumGoroutine()
	ended, end := context.WithCancel(e.ctx)
	end()
	expired, end2 := context.WithDeadline(e.ctx, time.Unix(1, 0))
	defer end2()
	for i, ctx := range []context.Context{ended, expired} {
		for range 20 {
			started := time.Now()
			cs := []halt.Charge{p.Charge("k", 1), e.still(halt.TokenBucket, 5).Charge("k", 1)}
			ds := make(halt.Decisions, 2)
			if err := e.store.Take(ctx, cs, ds); err == nil && !ds.Allowed() {
				fail("a call with an ended context (%d) returned neither an error nor its decisions: %+v", i, ds)
			}
			if since := time.Since(started); since > 2*time.Second {
				fail("a call with an ended context (%d) took %v", i, since)
			}
		}
	}
	// What it was answered is unknown, but the store goes on.
	d := e.one(e.still(halt.TokenBucket, 1).Charge("after", 1))
	e.check(d.Allowed, "after calls with an ended context: %+v", d)
	// Clients may keep a few connections, and close what was cut off in their own time.
	for tries := 0; runtime.NumGoroutine() > before+10; tries++ {
		if tries == 50 {
			fail("40 calls with an ended context left %d goroutines behind", runtime.NumGoroutine()-before)
		}
		wait(20 * time.Millisecond)
	}
}

// wait blocks for d of the test process's own time.
func wait(d time.Duration) { <-time.After(d) }
