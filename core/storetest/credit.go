package storetest

import (
	"time"

	halt "github.com/halt-dev/halt/core"
)

var creditCases = []testCase{
	{
		name: "Credit", run: creditGivesBack,
		rule: "A Credit gives back what its Take spent and has not drained by itself: all of it at once, to all but leaky buckets.",
	},
	{
		name: "CreditLeaky", run: creditLeaky,
		rule: "A leaky bucket gives nothing back: the slot has passed.",
	},
	{
		name: "CreditAtMost", run: creditAtMost,
		rule: "A Credit never leaves a budget with more than its capacity, and takes effect once.",
	},
	{
		name: "CreditLate", run: creditLate,
		rule: "A Credit that comes after what it gives back has drained, or its window has passed, gives nothing back.",
	},
	{
		name: "CreditReset", run: creditAfterReset,
		rule: "A Credit that comes after a Reset gives back at most its cost, of what was spent since.",
	},
	{
		name: "CreditBlocked", run: creditWhileBlocked,
		rule: "A Credit takes effect while the key is blocked, and does not end the block.",
	},
}

// credit gives back n of what c, a Take, spent as d tells.
func credit(c halt.Charge, d halt.Decision, n int64) halt.Charge {
	return halt.Charge{Policy: c.Policy, Key: c.Key, Cost: n, Mode: halt.Credit, At: d.At, Taken: c.Cost}
}

// lenders are the algorithms that give back.
var lenders = []halt.Algorithm{halt.TokenBucket, halt.FixedWindow, halt.SlidingWindow, halt.InFlight}

func creditGivesBack(e *trial) {
	for _, a := range lenders {
		p := e.still(a, 10)
		// The bucket's drain in the meantime is less than a unit, which Remaining rounds down.
		c := p.Charge("k", 4)
		first := e.one(c)
		e.spend(p.Charge("k", 5), 1)
		d := e.one(credit(c, first, 3))
		e.check(d.Allowed && d.Mode == halt.Credit && d.Remaining == 4, "3 of 4 given back to 1 that was left: %+v", d)
		d = e.one(p.Charge("k", 4))
		e.check(d.Allowed && d.Remaining == 0, "taking what was given back: %+v", d)
		d = e.one(p.Charge("k", 1))
		e.check(!d.Allowed, "taking more than was given back: %+v", d)

		// In a call that is refused it takes effect all the same.
		full := e.still(a, 1)
		e.spend(full.Charge("k", 1), 1)
		c = p.Charge("l", 10)
		first = e.one(c)
		ds := e.take(full.Charge("k", 1), credit(c, first, 10))
		e.check(!ds.Allowed() && ds[1].Remaining == 10, "a refused call kept its Credit from taking effect: %+v", ds)
	}
	// Who leaves makes room for the next at once.
	p := e.still(halt.InFlight, 2)
	for range 50 {
		c := p.Charge("door", 1)
		in, in2 := e.one(c), e.one(c)
		e.check(in.Allowed && in2.Allowed && !e.one(c).Allowed, "two places: %+v, %+v", in, in2)
		e.one(credit(c, in, 1))
		e.one(credit(c, in2, 1))
	}
}

func creditLeaky(e *trial) {
	p := e.still(halt.LeakyBucket, 5)
	c := p.Charge("k", 3)
	first := e.one(c)
	d := e.one(credit(c, first, 3))
	e.check(d.Allowed && d.Remaining == 2, "a Credit to a leaky bucket: %+v", d)
	d = e.one(p.Charge("k", 3))
	e.check(!d.Allowed, "a leaky bucket gave back: %+v", d)
}

func creditAtMost(e *trial) {
	for _, a := range lenders {
		p := e.still(a, 10)
		c := p.Charge("k", 2)
		first := e.one(c)
		e.spend(p.Charge("k", 3), 1)
		d := e.one(credit(c, first, 2))
		e.check(d.Remaining == 7, "2 given back to 5: %+v", d)
		for range 3 {
			c := halt.Charge{Policy: p, Key: "unseen", Cost: 1 << 40, Taken: 1 << 50, At: first.At, Mode: halt.Credit}
			d = e.one(c)
			e.check(d.Allowed && d.Remaining == 10 && d.ResetAfter == 0, "a Credit to a key never seen: %+v", d)
			c.Key = "k"
			d = e.one(c)
			e.check(d.Allowed && d.Remaining == 10, "a Credit of far more than was taken: %+v", d)
		}
		d = e.one(p.Charge("k", 11))
		e.check(!d.Allowed, "Credits made a budget larger than it is: %+v", d)
		d = e.one(p.Charge("k", 10))
		e.check(d.Allowed && d.Remaining == 0, "the whole of it: %+v", d)
	}
}

func creditLate(e *trial) {
	for _, a := range lenders {
		p := e.quick(a, 4)
		c := p.Charge("k", 4)
		first := e.one(c)
		e.check(first.Allowed, "a fresh key: %+v", first)
		e.pass(first.ResetAfter + time.Millisecond)
		second := e.one(c)
		e.check(second.Allowed, "after its ResetAfter a key is as one never seen: %+v, then %+v", first, second)
		// What the replica says is exact; here only what must never be: all of it given back a second time.
		d := e.one(credit(c, first, 4))
		if second.At-first.At >= halt.Instant(first.ResetAfter.Microseconds()) && d.At-second.At < halt.Instant(p.Window.Microseconds()/8) {
			e.check(d.Remaining == 0, "a Credit came when its Take had long drained, and gave back another's: %+v", d)
		}
	}
}

func creditAfterReset(e *trial) {
	for _, a := range lenders {
		p := e.still(a, 10)
		c := p.Charge("k", 3)
		first := e.one(c)
		e.reset(p, "k")
		e.spend(p.Charge("k", 5), 1)
		d := e.one(credit(c, first, 3))
		e.check(d.Remaining <= 8, "a late Credit of 3 to 5 that are left: %+v", d)
		d = e.peek(c, 9)
		e.check(!d.Allowed, "a late Credit gave back more than its cost: %+v", d)
	}
}

func creditWhileBlocked(e *trial) {
	for _, a := range lenders {
		p := e.still(a, 2)
		p.Block = p.Window
		c := p.Charge("k", 2)
		first := e.one(c)
		d := e.one(p.Charge("k", 1))
		e.check(d.Blocked && !d.Allowed, "no block: %+v", d)
		d = e.one(credit(c, first, 2))
		e.check(d.Blocked && d.Remaining == 0, "a Credit while blocked: %+v", d)
		d = e.one(p.Charge("k", 1))
		e.check(d.Blocked && !d.Allowed, "a Credit ended a block: %+v", d)
	}
}
