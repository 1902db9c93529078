package storetest

import (
	"time"

	halt "github.com/halt-dev/halt/core"
)

var modeCases = []testCase{
	{
		name: "Peek", run: peekSpendsNothing,
		rule: "A Peek is allowed exactly when a Take of the same cost would be, and spends and blocks nothing.",
	},
	{
		name: "Shadow", run: shadowIsApart,
		rule: "A Shadow has a budget of its own, spends from it if it fits by itself, and neither binds its call nor is bound by it.",
	},
	{
		name: "Debit", run: debitSpends,
		rule: "A Debit spends even what does not fit. It is always allowed, and never binds its call.",
	},
	{
		name: "DebitSaturates", run: debitSaturates,
		rule: "A budget overdrawn by however much keeps working: what is owed saturates, and never overflows.",
	},
	{
		name: "DebitBlocked", run: debitWhileBlocked,
		rule: "A Debit spends even while the key is blocked, never blocks it, and does not end its block.",
	},
}

func peekSpendsNothing(e *trial) {
	for _, a := range algorithms {
		p := e.still(a, 5)
		p.Block = p.Window
		c := p.Charge("k", 2)
		for range 2 {
			for range 3 {
				d := e.peek(c, 2)
				e.check(d.Allowed && d.Mode == halt.Peek, "a Peek of what fits: %+v", d)
			}
			d := e.one(c)
			e.check(d.Allowed, "a Take of what a Peek allowed: %+v", d)
		}
		for range 3 {
			d := e.peek(c, 2)
			e.check(!d.Allowed && !d.Blocked && d.Remaining == 1, "a Peek of more than is left: %+v", d)
		}
		d := e.one(p.Charge("k", 1))
		e.check(d.Allowed, "a Take of the last 1, after refused Peeks (they must not block): %+v", d)
	}
}

func shadowIsApart(e *trial) {
	for _, a := range algorithms {
		p := e.still(a, 2)
		q := e.still(a, 1)
		shadow := halt.Charge{Policy: p, Key: "k", Cost: 2, Mode: halt.Shadow}
		d := e.one(shadow)
		e.check(d.Allowed && d.Delay == 0 && d.Mode == halt.Shadow, "a Shadow that fits: %+v", d)
		d = e.one(p.Charge("k", 2))
		e.check(d.Allowed, "a Take beside an exhausted shadow: %+v", d)
		ds := e.take(shadow, q.Charge("k", 1))
		e.check(!ds[0].Allowed && ds[1].Allowed && ds.Allowed(), "a Shadow that does not fit bound its call: %+v", ds)
		ds = e.take(halt.Charge{Policy: p, Key: "l", Cost: 1, Mode: halt.Shadow}, q.Charge("k", 1))
		e.check(ds[0].Allowed && !ds.Allowed(), "a Shadow in a refused call: %+v", ds)
		d = e.one(halt.Charge{Policy: p, Key: "l", Cost: 2, Mode: halt.Shadow})
		e.check(!d.Allowed, "a refused call kept its Shadow from spending: %+v", d)

		// A Debit or Credit can concern the shadow's budget.
		d = e.one(halt.Charge{Policy: p, Key: "m", Cost: 1, Mode: halt.Debit, Shadow: true})
		e.check(d.Allowed && d.Remaining == 1, "a Debit of the shadow: %+v", d)
		d = e.peek(p.Charge("m", 0), 2)
		e.check(d.Allowed, "a Debit of the shadow was spent for real: %+v", d)
		d = e.one(halt.Charge{Policy: p, Key: "m", Cost: 2, Mode: halt.Shadow})
		e.check(!d.Allowed, "a Shadow after a Debit of the shadow: %+v", d)
		if a != halt.LeakyBucket {
			d = e.one(halt.Charge{Policy: p, Key: "k", Cost: 2, Mode: halt.Credit, Shadow: true, Taken: 2, At: d.At})
			e.check(d.Remaining == 2, "a Credit to the shadow: %+v", d)
			d = e.peek(p.Charge("k", 0), 1)
			e.check(!d.Allowed, "a Credit to the shadow was given back for real: %+v", d)
		}
	}
	blocks := e.still(halt.SlidingWindow, 1)
	blocks.Block = blocks.Window
	s := halt.Charge{Policy: blocks, Key: "k", Cost: 1, Mode: halt.Shadow}
	e.one(s)
	d := e.one(s)
	e.check(d.Blocked, "a refused Shadow blocks its own budget: %+v", d)
	d = e.one(blocks.Charge("k", 1))
	e.check(d.Allowed, "a Take beside a blocked shadow: %+v", d)
}

func debitSpends(e *trial) {
	for _, a := range algorithms {
		p := e.still(a, 3)
		q := e.still(a, 1)
		e.spend(q.Charge("k", 1), 1)
		debit := halt.Charge{Policy: p, Key: "k", Cost: 2, Mode: halt.Debit}
		d := e.one(debit)
		e.check(d.Allowed && d.Remaining == 1 && d.Delay == 0 && d.RetryAfter == 0, "a Debit that fits: %+v", d)
		d = e.one(debit)
		e.check(d.Allowed && d.Remaining == 0, "a Debit that does not fit: %+v", d)
		d = e.one(p.Charge("k", 1))
		e.check(!d.Allowed, "a Take of an overdrawn budget: %+v", d)
		d = e.one(p.Charge("k", 0))
		e.check(!d.Allowed, "a Take of 0 of an overdrawn budget (its capacity is exceeded): %+v", d)
		ds := e.take(halt.Charge{Policy: p, Key: "l", Cost: 2, Mode: halt.Debit}, q.Charge("k", 1))
		e.check(!ds.Allowed() && ds[0].Remaining == 1, "a refused call kept its Debit from spending: %+v", ds)
		ds = e.take(halt.Charge{Policy: p, Key: "l", Cost: 1 << 20, Mode: halt.Debit}, q.Charge("l", 1))
		e.check(ds.Allowed() && ds[1].Remaining == 0, "a Debit that does not fit bound its call: %+v", ds)
	}
}

func debitSaturates(e *trial) {
	for _, a := range algorithms {
		p := e.still(a, 3)
		for _, cost := range []int64{1 << 40, 1<<52 - 1, 1 << 52, 1<<53 + 1, 1<<63 - 1} {
			for range 2 {
				d := e.one(halt.Charge{Policy: p, Key: "k", Cost: cost, Mode: halt.Debit})
				e.check(d.Allowed && d.Remaining == 0 && d.ResetAfter > 0, "a Debit of %d: %+v", cost, d)
			}
			d := e.one(p.Charge("k", 1))
			e.check(!d.Allowed && d.RetryAfter > 0 && d.RetryAfter != halt.Never, "a Take after a Debit of %d: %+v", cost, d)
		}
	}
}

func debitWhileBlocked(e *trial) {
	for _, a := range algorithms {
		p := e.still(a, 3)
		p.Block = p.Window
		e.spend(p.Charge("k", 1), int(p.Capacity()))
		d := e.one(p.Charge("k", 1))
		e.check(d.Blocked, "no block: %+v", d)
		before := e.peek(p.Charge("k", 1), 1)
		d = e.one(halt.Charge{Policy: p, Key: "k", Cost: 3, Mode: halt.Debit})
		e.check(d.Allowed && d.Blocked, "a Debit while blocked: %+v", d)
		after := e.peek(p.Charge("k", 1), 1)
		passed := time.Duration(after.At-before.At)*time.Microsecond + p.Tick() // in which both are rounded
		e.check(after.Blocked && !after.Allowed && after.ResetAfter >= before.ResetAfter-passed, "after a Debit while blocked: %+v, before it %+v", after, before)

		d = e.one(halt.Charge{Policy: p, Key: "l", Cost: 99, Mode: halt.Debit})
		e.check(d.Allowed && !d.Blocked, "a Debit that does not fit blocked its key: %+v", d)
	}
}
