package storetest

import (
	"fmt"

	halt "github.com/halt-dev/halt/core"
)

var callCases = []testCase{
	{
		name: "CallSpends", run: callSpends,
		rule: "A call of several charges is admitted if every Take and Peek of it fits, and then every Take is spent.",
	},
	{
		name: "CallRefused", run: callRefused,
		rule: "If any Take or Peek of a call is refused, no Take of it spends, whatever their order.",
	},
	{
		name: "CallReads", run: callReads,
		rule: "In a refused call the Takes that fit read as a Peek's would: Allowed, with Remaining undiminished.",
	},
	{
		name: "CallBlocks", run: callBlocks,
		rule: "Each refused Take of a refused call writes its Block; a refused Peek and the Takes that fit write none.",
	},
	{
		name: "CallSides", run: callSides,
		rule: "Shadow, Debit and Credit take effect whether their call is admitted or not.",
	},
	{
		name: "CallBefore", run: callAfterRefusals,
		rule: "A call refused because of one charge leaves its other budgets whole, however often it is repeated.",
	},
}

// mixed returns a policy of every algorithm.
func (e *trial) mixed(limit int64) []halt.Policy {
	ps := make([]halt.Policy, 0, len(algorithms))
	for _, a := range algorithms {
		ps = append(ps, e.still(a, limit))
	}
	return ps
}

func charges(ps []halt.Policy, key string, cost int64) []halt.Charge {
	cs := make([]halt.Charge, len(ps))
	for i := range ps {
		cs[i] = ps[i].Charge(key, cost)
	}
	return cs
}

func callSpends(e *trial) {
	ps := e.mixed(5)
	for left := int64(4); left >= 0; left-- {
		ds := e.take(charges(ps, "k", 1)...)
		e.check(ds.Allowed(), "a call that fits: %+v", ds)
		for i := range ds {
			e.check(ds[i].Remaining == left, "%s after a call: %+v", ps[i].Algorithm, ds[i])
		}
	}
	ds := e.take(charges(ps, "k", 1)...)
	e.check(!ds.Allowed() && ds.RetryAfter() > 0, "a call more than fits: %+v", ds)
	// Two keys of one policy, and twenty of another, are as many budgets.
	many := make([]halt.Charge, 20)
	for i := range many {
		many[i] = ps[i%2].Charge(fmt.Sprint("many", i), 5)
	}
	ds = e.take(many...)
	e.check(ds.Allowed(), "a call of 20 charges: %+v", ds)
	ds = e.take(many...)
	e.check(!ds.Allowed(), "a call of 20 charges, twice: %+v", ds)
}

func callRefused(e *trial) {
	ps := e.mixed(5)
	for full := range ps {
		for _, m := range []halt.Mode{halt.Take, halt.Peek} {
			key := fmt.Sprint("k", full, m)
			e.spend(ps[full].Charge(key, 5), 1)
			cs := charges(ps, key, 2)
			cs[full].Mode = m
			for range 3 {
				ds := e.take(cs...)
				e.check(!ds.Allowed() && !ds[full].Allowed, "a call of which charge %d, a %s, does not fit: %+v", full, m, ds)
			}
			for i := range ps {
				if i != full {
					d := e.peek(cs[i], 5)
					e.check(d.Allowed && d.Remaining == 5, "charge %d (%s) of a call refused by %d was spent: %+v", i, ps[i].Algorithm, full, d)
				}
			}
		}
	}
}

func callReads(e *trial) {
	ps := e.mixed(5)
	for i := range ps {
		e.spend(ps[i].Charge("k", 2), 1)
	}
	full := e.still(halt.FixedWindow, 1)
	e.spend(full.Charge("k", 1), 1)
	for at := range len(ps) + 1 {
		cs := charges(ps, "k", 2)
		cs = append(cs[:at], append([]halt.Charge{full.Charge("k", 1)}, cs[at:]...)...)
		ds := e.take(cs...)
		for i := range cs {
			e.check(i == at || ds[i].Allowed && ds[i].Mode == halt.Take && ds[i].Remaining == 3, "a Take that fits, in a refused call: %+v", ds[i])
		}
		e.check(!ds[at].Allowed && ds[at].Remaining == 0, "the Take that does not fit: %+v", ds[at])
	}
}

func callBlocks(e *trial) {
	ps := e.mixed(5)
	for i := range ps {
		ps[i].Block = ps[i].Window
	}
	for i := range ps {
		key := fmt.Sprint("k", i)
		j := (i + 1) % len(ps)
		e.spend(ps[i].Charge(key, 5), 1)
		e.spend(ps[j].Charge(key, 5), 1)
		cs := charges(ps, key, 1)
		cs[j].Mode = halt.Peek
		ds := e.take(cs...)
		for n := range ds {
			e.check(ds[n].Blocked == (n == i), "charge %d of a call in which Take %d and Peek %d are refused: %+v", n, i, j, ds[n])
		}
		for n := range cs {
			d := e.peek(cs[n], 0)
			e.check(d.Blocked == (n == i), "the budget of charge %d after a call in which Take %d and Peek %d were refused: %+v", n, i, j, d)
		}
		// Above the capacity it never blocks.
		key += "+"
		cs = charges(ps, key, 1)
		cs[i].Cost = 99
		ds = e.take(cs...)
		e.check(!ds.Allowed() && !ds[i].Blocked && ds.RetryAfter() == halt.Never, "a call with a cost above a capacity: %+v", ds)
		d := e.peek(cs[i], 5)
		e.check(d.Allowed, "a cost above the capacity left a mark: %+v", d)
	}
}

func callSides(e *trial) {
	full := e.still(halt.TokenBucket, 1)
	e.spend(full.Charge("k", 1), 1)
	for _, admitted := range []bool{true, false} {
		for i, p := range e.mixed(5) {
			taken := e.spend(p.Charge("credit", 5), 1)
			cs := []halt.Charge{
				{Policy: p, Key: "debit", Cost: 9, Mode: halt.Debit},
				{Policy: p, Key: "shadow", Cost: 2, Mode: halt.Shadow},
				credit(p.Charge("credit", 5), taken, 4),
				{Policy: p, Key: "shadow's debit", Cost: 2, Mode: halt.Debit, Shadow: true},
			}
			binding := full.Charge(fmt.Sprint("fresh", i), 1)
			if !admitted {
				binding.Key = "k"
			}
			cs = append(cs[:i%4], append([]halt.Charge{binding}, cs[i%4:]...)...)
			ds := e.take(cs...)
			e.check(ds.Allowed() == admitted, "Shadow, Debit and Credit bound their call: %+v", ds)
			d := e.peek(p.Charge("debit", 0), 1)
			e.check(!d.Allowed, "the Debit of a call (admitted: %t) is gone: %+v", admitted, d)
			d = e.one(halt.Charge{Policy: p, Key: "shadow", Cost: 4, Mode: halt.Shadow})
			e.check(!d.Allowed && d.Remaining == 3, "the Shadow of a call (admitted: %t) is gone: %+v", admitted, d)
			d = e.one(halt.Charge{Policy: p, Key: "shadow's debit", Cost: 4, Mode: halt.Shadow})
			e.check(!d.Allowed && d.Remaining == 3, "the Debit of a shadow in a call (admitted: %t) is gone: %+v", admitted, d)
			if p.Algorithm != halt.LeakyBucket {
				d = e.peek(p.Charge("credit", 0), 4)
				e.check(d.Allowed, "the Credit of a call (admitted: %t) is gone: %+v", admitted, d)
			}
		}
	}
}

func callAfterRefusals(e *trial) {
	own, shared := e.still(halt.FixedWindow, 1), e.mixed(20)
	e.spend(own.Charge("attacker", 1), 1)
	cs := append([]halt.Charge{own.Charge("attacker", 1)}, charges(shared, "everyone", 1)...)
	for range e.times(200) {
		ds := e.take(cs...)
		e.check(!ds.Allowed(), "the attacker's call: %+v", ds)
	}
	for i := range 20 {
		cs[0].Key = fmt.Sprint("user", i)
		ds := e.take(cs...)
		e.check(ds.Allowed(), "user %d of 20 was refused, after a flood of refused calls: %+v", i+1, ds)
	}
	cs[0].Key = "user20"
	ds := e.take(cs...)
	e.check(!ds.Allowed(), "user 21 of 20: %+v", ds)
}
