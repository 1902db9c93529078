package storetest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	halt "github.com/halt-dev/halt/core"
)

var mediumCases = []testCase{
	{
		name: "TTL", needs: lives, run: entryLives,
		rule: "An entry lives for at least its ResetAfter, its block included, and not forever.",
	},
	{
		name: "Corrupt", needs: damage, run: corruptValue,
		rule: "A value that is not Halt's, or is damaged, is an error that matches halt.ErrCorrupt, of every call that meets it: " +
			"never a panic, an admission or a wipe. The error tells no key. Reset makes the key usable again.",
	},
	{
		name: "CorruptCall", needs: damage, run: corruptCall,
		rule: "If one charge of a call meets a corrupt value, nothing of the call is spent.",
	},
	{
		name: "CorruptBatch", needs: damage, run: corruptBatch,
		rule: "A corrupt value concerns the calls that meet it: concurrent calls on other keys go on.",
	},
}

func entryLives(e *trial) {
	hold := func(c halt.Charge, d halt.Decision) {
		ttl, ok := e.h.TTL(e.tb, e.store, c)
		since := time.Duration(0)
		if !e.virtual() {
			since = time.Duration(e.now()-d.At) * time.Microsecond
		}
		if d.ResetAfter-since <= 0 {
			return
		}
		e.check(ok && ttl >= d.ResetAfter-since, "%s: the entry lives for %v (exists: %t), its ResetAfter was %v, %v ago",
			show([]halt.Charge{c}), ttl, ok, d.ResetAfter, since)
		e.check(ttl <= 2*d.ResetAfter+time.Hour, "%s: the entry lives for %v, far beyond its ResetAfter of %v", show([]halt.Charge{c}), ttl, d.ResetAfter)
	}
	for _, a := range algorithms {
		for _, w := range []time.Duration{time.Second, 59 * time.Second, time.Hour, 48 * time.Hour, 400 * 24 * time.Hour} {
			p := halt.Policy{Name: e.name(), Algorithm: a, Limit: 3, Window: w}
			if a == halt.LeakyBucket {
				p.Burst = 2
			}
			c := p.Charge("k", 1)
			hold(c, e.one(c))
			e.pass(time.Millisecond)
			hold(c, e.one(c))
			debit := halt.Charge{Policy: p, Key: "k", Cost: 5, Mode: halt.Debit}
			d := e.one(debit)
			hold(c, d)
			p.Block = 3 * w
			c = p.Charge("k", 1)
			for d = e.one(c); d.Allowed; {
				d = e.one(c)
			}
			e.check(d.Blocked, "no block: %+v", d)
			hold(c, d)
			shadow := halt.Charge{Policy: p, Key: "k", Cost: 1, Mode: halt.Shadow}
			hold(shadow, e.one(shadow))
		}
	}
}

// eachDamage calls f for each way to damage a value, with a charge of each algorithm whose budget, spent by 2 of 10, was
// damaged.
func (e *trial) eachDamage(f func(how string, c halt.Charge)) {
	for _, how := range slices.Sorted(maps.Keys(e.h.Corrupt)) {
		for _, a := range algorithms {
			p := e.still(a, 10)
			p.Block = p.Window
			c := p.Charge("secret-key", 2)
			e.spend(c, 1)
			e.h.Corrupt[how](e.tb, e.store, c)
			f(fmt.Sprintf("%s, %s", how, a), c)
		}
	}
}

// meets wants the call to err as one that meets a corrupt value.
func (e *trial) meets(how string, cs ...halt.Charge) {
	ds, err := e.attempt(cs...)
	e.check(err != nil, "%s: no error, but %+v", how, ds)
	e.check(errors.Is(err, halt.ErrCorrupt), "%s: the error does not match halt.ErrCorrupt: %v", how, err)
	e.check(!tellsKey(err, "secret-key"), "%s: the error tells the key: %v", how, err)
}

func corruptValue(e *trial) {
	e.eachDamage(func(how string, c halt.Charge) {
		for range 2 {
			for _, m := range []halt.Mode{halt.Take, halt.Peek, halt.Debit, halt.Credit} {
				d := c
				d.Mode, d.Taken, d.At = m, c.Cost, 1
				e.meets(how, d)
			}
		}
		other := c
		other.Key = "another"
		d := e.one(other)
		e.check(d.Allowed && d.Remaining == 8, "%s: another key: %+v", how, d)
		other = c
		other.Mode = halt.Shadow
		d = e.one(other)
		e.check(d.Allowed && d.Remaining == 8, "%s: the shadow of the key: %+v", how, d)
		e.reset(c.Policy, c.Key)
		d = e.one(c)
		e.check(d.Allowed && d.Remaining == 8, "%s: after a Reset: %+v", how, d)
	})
}

func corruptCall(e *trial) {
	e.eachDamage(func(how string, c halt.Charge) {
		others := e.mixed(5)
		for at := range len(others) + 1 {
			cs := charges(others, "k", 1)
			cs = append(cs[:at], append([]halt.Charge{c}, cs[at:]...)...)
			e.meets(how, cs...)
		}
		for i := range others {
			d := e.peek(others[i].Charge("k", 0), 0)
			e.check(d.Remaining == 5, "%s: a Take beside a corrupt value was spent: %+v", how, d)
		}
		if !e.h.Atomic {
			return
		}
		p := others[0]
		e.meets(how, halt.Charge{Policy: p, Key: "debit", Cost: 1, Mode: halt.Debit}, halt.Charge{Policy: p, Key: "shadow", Cost: 1, Mode: halt.Shadow},
			c, p.Charge("k", 1))
		c.Mode = halt.Debit
		e.meets(how, p.Charge("k", 1), c, halt.Charge{Policy: p, Key: "shadow", Cost: 1, Mode: halt.Shadow})
		for _, c := range []halt.Charge{p.Charge("k", 0), p.Charge("debit", 0), {Policy: p, Key: "shadow", Mode: halt.Shadow}} {
			d := e.one(c)
			e.check(d.Remaining == 5, "%s: a charge beside a corrupt value was spent: %s, %+v", how, show([]halt.Charge{c}), d)
		}
	})
}

func corruptBatch(e *trial) {
	e.eachDamage(func(how string, c halt.Charge) {
		const each = 8
		errs := make([]error, 16)
		var wg sync.WaitGroup
		for g := range errs {
			mine := c
			if g%2 == 0 {
				mine.Key = fmt.Sprint("mine", g)
				mine.Cost = 1
			}
			wg.Go(func() {
				errs[g] = caught(func() error {
					for range each {
						ds := make(halt.Decisions, 1)
						err := e.store.Take(e.ctx, []halt.Charge{mine}, ds)
						switch {
						case g%2 == 0 && err != nil:
							return fmt.Errorf("%s: a call on another key, at the same time: %w", how, err)
						case g%2 == 0 && !ds[0].Allowed:
							return fmt.Errorf("%s: a call on another key was refused: %+v", how, ds[0])
						case g%2 == 1 && !errors.Is(err, halt.ErrCorrupt):
							return fmt.Errorf("%s: the error does not match halt.ErrCorrupt: %w", how, err)
						}
					}
					return nil
				})
			})
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			fail("%v", err)
		}
		for g := 0; g < len(errs); g += 2 {
			ds, err := e.attempt(halt.Charge{Policy: c.Policy, Key: fmt.Sprint("mine", g), Mode: halt.Peek})
			e.check(err == nil && ds[0].Remaining == 10-each, "%s: a key beside a corrupt one: %+v, %v", how, ds, err)
		}
	})
}
