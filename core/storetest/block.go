package storetest

import (
	"time"

	halt "github.com/halt-dev/halt/core"
)

var blockCases = []testCase{
	{
		name: "Block", run: blockRefuses,
		rule: "A refused Take of a policy with a Block blocks its key: all is refused, even what would fit, and Remaining is 0.",
	},
	{
		name: "BlockNotExtended", run: blockNotExtended,
		rule: "Refusals during a block do not extend it.",
	},
	{
		name: "BlockPasses", run: blockPasses,
		rule: "A block ends by itself after Policy.Block, and what was spent before it counts on.",
	},
	{
		name: "BlockOutlives", run: blockOutlives,
		rule: "A block that is longer than the window keeps the entry alive: ResetAfter covers it.",
	},
	{
		name: "BlockChange", run: blockChange,
		rule: "A block that has begun survives changes of Limit, Burst and Block.",
	},
}

func blockRefuses(e *trial) {
	for _, a := range algorithms {
		p := e.still(a, 4)
		p.Block = p.Window / 2
		c := p.Charge("k", 3)
		e.spend(c, 1)
		d := e.one(c)
		e.check(!d.Allowed && d.Blocked && d.Remaining == 0, "the refused Take: %+v", d)
		e.check(d.RetryAfter >= p.Block || a == halt.InFlight && d.RetryAfter >= time.Second, "RetryAfter %v within the block of %v", d.RetryAfter, p.Block)
		e.check(d.ResetAfter >= p.Block, "ResetAfter %v within the block of %v", d.ResetAfter, p.Block)
		for _, cost := range []int64{0, 1, 3} {
			for _, m := range []halt.Mode{halt.Take, halt.Peek} {
				d = e.one(halt.Charge{Policy: p, Key: "k", Cost: cost, Mode: m})
				e.check(!d.Allowed && d.Blocked && d.Remaining == 0 && d.RetryAfter > 0, "%s of %d while blocked: %+v", m, cost, d)
			}
		}
		d = e.one(p.Charge("k", p.Capacity()+1))
		e.check(!d.Allowed && d.RetryAfter == halt.Never, "a cost above the capacity while blocked: %+v", d)
		d = e.one(p.Charge("other", 1))
		e.check(d.Allowed && !d.Blocked, "another key: %+v", d)
	}
}

func blockNotExtended(e *trial) {
	for _, a := range algorithms {
		p := e.quick(a, 1)
		p.Block = p.Window * 4
		c := p.Charge("k", 1)
		e.spend(c, 1)
		d := e.one(c)
		if !d.Blocked { // in real time the window may be over already
			d = e.one(c)
		}
		until := d.At + halt.Instant(p.Block.Microseconds())
		for range 4 {
			e.pass(p.Block / 8)
			d = e.one(c)
			if d.Blocked && d.At < until { // in real time the block may be over, and another have begun
				end := d.At + halt.Instant(d.ResetAfter.Microseconds())
				e.check(end <= until+halt.Instant(e.h.Resolution.Microseconds()), "a refusal during a block moved its end: %+v", d)
			}
		}
	}
}

func blockPasses(e *trial) {
	for _, a := range algorithms {
		p := e.quick(a, 1)
		p.Block = p.Window / 4
		c := p.Charge("k", 1)
		e.spend(c, 1)
		d := e.one(c)
		e.check(d.Blocked || d.Allowed && !e.virtual(), "no block: %+v", d)
		e.pass(p.Block)
		d = e.peek(c, 1)
		e.check(!d.Blocked, "a block that is over: %+v", d)
		e.pass(d.RetryAfter)
		if a == halt.InFlight {
			e.pass(d.ResetAfter)
		}
		d = e.one(c)
		e.check(d.Allowed, "after a block and RetryAfter: %+v", d)
	}
}

func blockOutlives(e *trial) {
	for _, a := range algorithms {
		p := e.quick(a, 1)
		if !e.virtual() {
			p.Window = 20 * time.Millisecond
		}
		p.Block = 15 * p.Window
		c := p.Charge("k", 1)
		d := e.one(c)
		for tries := 0; !d.Blocked; tries++ {
			e.check(tries < 1000, "no block: %+v", d)
			d = e.one(c)
		}
		e.check(d.ResetAfter >= p.Block && d.RetryAfter > 0, "ResetAfter %v of a block of %v", d.ResetAfter, p.Block)
		until := d.At + halt.Instant(p.Block.Microseconds())
		e.pass(p.Block / 2)
		d = e.one(c)
		e.check(d.Blocked || d.At >= until, "the block was forgotten when its window was over: %+v", d)
	}
}

func blockChange(e *trial) {
	for _, a := range algorithms {
		p := e.still(a, 2)
		p.Block = p.Window
		e.spend(p.Charge("k", 2), 1)
		d := e.one(p.Charge("k", 1))
		e.check(d.Blocked, "no block: %+v", d)
		more := p
		more.Limit, more.Block = 1000, p.Window/2
		if a == halt.TokenBucket || a == halt.LeakyBucket {
			more.Burst = 2000
		}
		none := more
		none.Block = 0
		for _, q := range []halt.Policy{more, none} {
			d = e.one(q.Charge("k", 1))
			e.check(!d.Allowed && d.Blocked && d.ResetAfter > p.Block/2, "a block after a change to %s: %+v", showPolicy(&q), d)
		}
	}
}
