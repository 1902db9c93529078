package storetest_test

import (
	"context"
	"errors"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/algorithm"
)

// keyed is a flaw of the storage key.
func keyed(f func(c halt.Charge) string) flaw { return flaw{key: f} }

// deciders get a single charge wrong.
var deciders = []mutant{
	{name: "check, then act", by: "ConcurrentLimit", flaw: flaw{racy: true}},
	{name: "check, then act, seen by costs", by: "ConcurrentCosts", flaw: flaw{racy: true}},
	{name: "check, then act, seen in flight", by: "ConcurrentInFlight", flaw: flaw{racy: true}},
	{name: "check, then act, seen by calls", by: "ConcurrentCalls", flaw: flaw{racy: true}},
	{name: "forgets what was written", by: "Limit", flaw: flaw{
		state: func(_ *halt.Charge, s *algorithm.State, _ halt.Instant) { *s = algorithm.State{} },
	}},
	{name: "keeps a thousand keys", by: "ManyKeys", flaw: flaw{
		take: func(_ context.Context, r *register, cs []halt.Charge, ds []halt.Decision) error {
			if len(r.m) > 1000 {
				clear(r.m)
			}
			return r.take(cs, ds)
		},
	}},
	{name: "one off in Remaining", by: "Limit", flaw: flaw{
		decision: func(_ *halt.Charge, d *halt.Decision) { d.Remaining = max(0, d.Remaining-1) },
	}},
	{name: "leaves fields as they are", by: "Limit", flaw: flaw{
		take: func(_ context.Context, r *register, cs []halt.Charge, ds []halt.Decision) error {
			was := ds[0].RetryAfter
			err := r.take(cs, ds)
			if ds[0].Allowed {
				ds[0].RetryAfter = was
			}
			return err
		},
	}},
	{name: "a lost reply is tried again", by: "Limit", flaw: flaw{
		take: func(_ context.Context, r *register, cs []halt.Charge, ds []halt.Decision) error {
			if err := r.take(cs, ds); err != nil {
				return err
			}
			return r.take(cs, ds)
		},
	}},
	{name: "spends 1 for a cost of 0", by: "CostZero", flaw: flaw{
		charge: func(c *halt.Charge) { c.Cost = max(c.Cost, 1) },
	}},
	{name: "bids to wait for what never fits", by: "CostAboveCapacity", flaw: flaw{
		decision: func(_ *halt.Charge, d *halt.Decision) { d.RetryAfter = min(d.RetryAfter, time.Hour) },
	}},
	{name: "blocks for what never fits", by: "CostAboveCapacity", flaw: flaw{
		written: func(c *halt.Charge, s *algorithm.State, d *halt.Decision) {
			if d.RetryAfter == halt.Never && c.Mode == halt.Take && c.Policy.Block > 0 {
				s.At, s.Until, d.Blocked = int64(d.At)/c.Policy.Tick().Microseconds(), int64(d.At)/c.Policy.Tick().Microseconds()+99, true
			}
		},
	}},
	{name: "spends what it refuses", by: "Refusal", flaw: flaw{
		written: func(c *halt.Charge, s *algorithm.State, d *halt.Decision) {
			if c.Mode == halt.Take && !d.Allowed && s.At != 0 {
				s.Used += int64(c.Policy.Window / c.Policy.Tick())
			}
		},
	}},
	{name: "Reset keeps the shadow", by: "Reset", flaw: flaw{
		reset: func(r *register, p halt.Policy, key string) { delete(r.m, storageKey(p.Charge(key, 0))) },
	}},
	{name: "Reset forgets all", by: "Reset", flaw: flaw{
		reset: func(r *register, _ halt.Policy, _ string) { clear(r.m) },
	}},
	{name: "changes the caller's charges", by: "Caller", flaw: flaw{
		take: func(_ context.Context, r *register, cs []halt.Charge, ds []halt.Decision) error {
			err := r.take(cs, ds)
			for i := range cs {
				cs[i].Mode = halt.Peek
			}
			return err
		},
	}},
	{name: "leaves goroutines behind", by: "Canceled", flaw: flaw{
		take: func(ctx context.Context, r *register, cs []halt.Charge, ds []halt.Decision) error {
			if ctx.Err() != nil {
				stop := make(chan struct{})
				r.tb.Cleanup(func() { close(stop) })
				go func() { <-stop }()
				return ctx.Err()
			}
			return r.take(cs, ds)
		},
	}},
	{name: "answers nothing for an ended context", by: "Canceled", flaw: flaw{
		take: func(ctx context.Context, r *register, cs []halt.Charge, ds []halt.Decision) error {
			if ctx.Err() != nil {
				return nil
			}
			return r.take(cs, ds)
		},
	}},
	{name: "a Peek spends", by: "Peek", flaw: flaw{
		charge: func(c *halt.Charge) {
			if c.Mode == halt.Peek {
				c.Mode = halt.Take
			}
		},
	}},
	{name: "a Peek blocks", by: "Peek", flaw: flaw{
		charge: func(c *halt.Charge) {
			if c.Mode == halt.Peek && c.Cost > 0 && c.Cost <= c.Policy.Capacity() {
				c.Mode = halt.Shadow // on the real budget; it blocks
			}
		},
	}},
	{name: "shadows share the real budget", by: "Shadow", flaw: keyed(func(c halt.Charge) string {
		if c.Mode == halt.Shadow {
			c.Mode = halt.Take
		}
		c.Shadow = false
		return storageKey(c)
	})},
	{name: "a shadow binds", by: "Shadow", flaw: flaw{
		charge: func(c *halt.Charge) {
			if c.Mode == halt.Shadow {
				c.Mode = halt.Take
			}
		},
		decision: func(c *halt.Charge, d *halt.Decision) { d.Mode = c.Mode },
	}},
	{name: "a Debit of the shadow is real", by: "Shadow", flaw: keyed(func(c halt.Charge) string {
		c.Shadow = false
		return storageKey(c)
	})},
	{name: "a Debit must fit", by: "Debit", flaw: flaw{
		charge: func(c *halt.Charge) {
			if c.Mode == halt.Debit {
				c.Mode = halt.Take
			}
		},
		decision: func(c *halt.Charge, d *halt.Decision) { d.Mode = c.Mode },
	}},
	{name: "a Debit overflows", by: "DebitSaturates", flaw: flaw{
		written: func(c *halt.Charge, s *algorithm.State, _ *halt.Decision) {
			if c.Mode == halt.Debit && c.Cost > 1<<50 {
				s.Used = 1
			}
		},
	}},
	{name: "a Debit ends a block", by: "DebitBlocked", flaw: flaw{
		state: func(c *halt.Charge, s *algorithm.State, _ halt.Instant) {
			if c.Mode == halt.Debit {
				s.Until = 0
			}
		},
	}},
	{name: "no Debit while blocked", by: "DebitBlocked", flaw: flaw{
		state: func(c *halt.Charge, s *algorithm.State, _ halt.Instant) {
			if c.Mode == halt.Debit && s.Until != 0 {
				c.Cost = 0
			}
		},
	}},
	{name: "credits twice", by: "Credit", flaw: flaw{
		take: func(_ context.Context, r *register, cs []halt.Charge, ds []halt.Decision) error {
			err := r.take(cs, ds)
			for i, c := range cs {
				if err == nil && c.Mode == halt.Credit {
					err = r.take(cs[i:i+1], ds[i:i+1])
				}
			}
			return err
		},
	}},
	{name: "no Credit in a refused call", by: "Credit", flaw: flaw{
		take: func(_ context.Context, r *register, cs []halt.Charge, ds []halt.Decision) error {
			if len(cs) == 2 && cs[1].Mode == halt.Credit {
				if err := r.take(cs[:1], ds[:1]); err != nil || !ds[0].Allowed {
					peek := cs[1]
					peek.Mode, peek.Cost = halt.Debit, 0
					return errors.Join(err, r.take([]halt.Charge{peek}, ds[1:]))
				}
				return r.take(cs[1:], ds[1:])
			}
			return r.take(cs, ds)
		},
	}},
	{name: "a leaky bucket gives back", by: "CreditLeaky", flaw: flaw{
		charge: func(c *halt.Charge) {
			if c.Mode == halt.Credit && c.Policy.Algorithm == halt.LeakyBucket {
				c.Policy.Burst = c.Policy.Capacity()
				c.Policy.Algorithm = halt.TokenBucket
			}
		},
	}},
	{name: "credits more than was spent", by: "CreditAtMost", flaw: flaw{
		written: func(c *halt.Charge, s *algorithm.State, d *halt.Decision) {
			if c.Mode == halt.Credit && c.Policy.Algorithm == halt.FixedWindow {
				d.Remaining = max(d.Remaining, c.Cost)
			}
		},
	}},
	{name: "credits as if taken now", by: "CreditLate", flaw: flaw{
		now: func(c *halt.Charge, _ *algorithm.State, now halt.Instant) halt.Instant {
			if c.Mode == halt.Credit {
				c.At = now
			}
			return now
		},
	}},
	{name: "credits what a Reset forgot", by: "CreditReset", flaw: flaw{
		charge: func(c *halt.Charge) {
			if c.Mode == halt.Credit && c.Cost < c.Taken+1 {
				c.Cost, c.Taken = c.Cost*2, c.Taken*2
			}
		},
	}},
	{name: "a Credit ends a block", by: "CreditBlocked", flaw: flaw{
		state: func(c *halt.Charge, s *algorithm.State, _ halt.Instant) {
			if c.Mode == halt.Credit {
				s.Until = 0
			}
		},
	}},
	{name: "never blocks", by: "Block", flaw: flaw{
		charge: func(c *halt.Charge) { c.Policy.Block = 0 },
	}},
	{name: "tells what remains while blocked", by: "Block", flaw: flaw{
		decision: func(_ *halt.Charge, d *halt.Decision) {
			if d.Blocked {
				d.Remaining = 1
			}
		},
	}},
	{name: "extends blocks", by: "BlockNotExtended", flaw: flaw{
		written: func(c *halt.Charge, s *algorithm.State, d *halt.Decision) {
			if d.Blocked && c.Mode == halt.Take {
				s.At = int64(d.At) / c.Policy.Tick().Microseconds()
				s.Until = s.At + int64(c.Policy.Block/c.Policy.Tick())
				d.ResetAfter = max(d.ResetAfter, c.Policy.Block)
			}
		},
	}},
	{name: "blocks for good", by: "BlockPasses", flaw: flaw{
		state: func(c *halt.Charge, s *algorithm.State, now halt.Instant) {
			if s.Until != 0 {
				s.Until = int64(now)/c.Policy.Tick().Microseconds() + 1_000_000
			}
		},
	}},
	{name: "forgets a block with its window", by: "BlockOutlives", flaw: flaw{
		life: func(c *halt.Charge, d *halt.Decision) time.Duration { return min(d.ResetAfter, c.Policy.Window) },
	}},
	{name: "lifts a block if the policy has none any more", by: "BlockChange", flaw: flaw{
		state: func(c *halt.Charge, s *algorithm.State, _ halt.Instant) {
			if c.Policy.Block == 0 {
				s.Until = 0
			}
		},
	}},
}
