package storetest

import (
	"time"

	halt "github.com/halt-dev/halt/core"
)

var timeCases = []testCase{
	{
		name: "Regain", run: regain,
		rule: "What was spent comes back: after RetryAfter the same charge fits, after ResetAfter the whole capacity does.",
	},
	{
		name: "RetryAfter", needs: quickTime, run: retryAfter,
		rule: "After a refused charge's RetryAfter the same charge fits, and one tick earlier it does not.",
	},
	{
		name: "ResetAfter", needs: quickTime, run: resetAfter,
		rule: "After ResetAfter a key is as one never seen, and one tick earlier it is not.",
	},
	{
		name: "Delay", needs: quickTime, run: delays,
		rule: "A leaky bucket's Delays space requests evenly: each proceeds Window/Limit after the one before, to one tick.",
	},
	{
		name: "At", run: atIsNow,
		rule: "Decision.At is the store's clock, to the policy's tick, and never before the key's last change.",
	},
	{
		name: "ClockBack", needs: backwards, run: clockBack,
		rule: "A clock that steps back is clamped to the state's last change: no budget is regained, and none is lost.",
	},
	{
		name: "ClockAhead", needs: backwards, run: clockAhead,
		rule: "A state more than 10 s ahead of the clock counts as never seen, one of exactly 10 s does not.",
	},
}

// timed returns policies of one algorithm, of every tick.
func (e *trial) timed(a halt.Algorithm) []halt.Policy {
	var ps []halt.Policy
	for _, w := range []time.Duration{
		time.Millisecond, 977 * time.Millisecond, 20 * time.Second, time.Minute, 61 * time.Second, time.Hour, 24 * time.Hour,
		24*time.Hour + time.Second, 30 * 24 * time.Hour,
	} {
		for _, limit := range []int64{1, 3, 7} {
			p := halt.Policy{Name: e.name(), Algorithm: a, Limit: limit, Window: w}
			switch {
			case a == halt.TokenBucket:
				p.Burst = limit * 2
			case a >= halt.SlidingWindow && limit == 3:
				p.Precision = 7
			case a >= halt.SlidingWindow && limit == 7:
				p.Precision = 60
			}
			ps = append(ps, p)
			if limit == 7 {
				p.Name, p.Block = e.name(), w*2
				ps = append(ps, p)
			}
		}
	}
	return ps
}

// step is the shortest time that a store's decisions under p can tell apart.
func (e *trial) step(p *halt.Policy) time.Duration { return max(p.Tick(), e.h.Resolution) }

func regain(e *trial) {
	for _, a := range algorithms {
		p := e.quick(a, 3)
		c := p.Charge("k", 1)
		d := e.one(c)
		for n := 0; d.Allowed; n++ {
			e.check(n < 1000, "a limit of 3 never refused: %+v", d)
			d = e.one(c)
		}
		if a != halt.InFlight {
			e.pass(d.RetryAfter)
			d = e.one(c)
			e.check(d.Allowed, "after RetryAfter: %+v", d)
		}
		e.pass(d.ResetAfter)
		d = e.one(p.Charge("k", p.Capacity()))
		e.check(d.Allowed, "the capacity, after ResetAfter: %+v", d)
	}
}

func retryAfter(e *trial) {
	for _, a := range algorithms {
		if a == halt.InFlight {
			continue
		}
		for _, p := range e.timed(a) {
			e.pass(time.Duration(e.rng.IntN(3_000_000)) * time.Microsecond)
			for range 3 {
				for n := e.rng.IntN(4); n > 0; n-- {
					e.one(p.Charge("k", 1))
					e.pass(time.Duration(e.rng.Int64N(int64(p.Window/8)+1)) / time.Microsecond * time.Microsecond)
				}
				c := p.Charge("k", 1+e.rng.Int64N(p.Capacity()))
				d := e.one(c)
				for d.Allowed {
					d = e.one(c)
				}
				e.check(d.RetryAfter > 0 && d.RetryAfter != halt.Never, "refused: %+v", d)
				e.pass(d.RetryAfter - e.step(&p))
				early := e.peek(c, c.Cost)
				e.check(!early.Allowed, "%d under %s fits one tick before its RetryAfter: %+v, then %+v", c.Cost, showPolicy(&p), d, early)
				e.pass(e.step(&p))
				late := e.peek(c, c.Cost)
				e.check(late.Allowed, "%d under %s does not fit after its RetryAfter: %+v, then %+v", c.Cost, showPolicy(&p), d, late)
			}
		}
	}
}

func resetAfter(e *trial) {
	for _, a := range algorithms {
		for _, p := range e.timed(a) {
			for round := range 3 {
				var d halt.Decision
				for n := e.rng.IntN(5); n >= 0; n-- {
					d = e.one(p.Charge("k", 1))
					if round == 2 {
						d = e.one(halt.Charge{Policy: p, Key: "k", Cost: 3, Mode: halt.Debit})
					}
					e.pass(time.Duration(e.rng.Int64N(int64(p.Window/8)+1)) / time.Microsecond * time.Microsecond)
				}
				if d = e.peek(p.Charge("k", 0), 0); d.ResetAfter == 0 {
					continue
				}
				e.pass(d.ResetAfter - e.step(&p))
				early := e.peek(p.Charge("k", 0), 0)
				e.check(early.ResetAfter > 0, "under %s one tick before its ResetAfter: %+v, then %+v", showPolicy(&p), d, early)
				e.pass(e.step(&p))
				late, fresh := e.peek(p.Charge("k", 0), p.Capacity()), e.peek(p.Charge("never seen", 0), p.Capacity())
				e.check(late == fresh && late.Allowed, "under %s after its ResetAfter: %+v, then %+v, a fresh key: %+v", showPolicy(&p), d, late, fresh)
			}
		}
	}
}

func delays(e *trial) {
	for _, limit := range []int64{1, 3, 7} {
		p := halt.Policy{Name: e.name(), Algorithm: halt.LeakyBucket, Limit: limit, Window: 10 * time.Second, Burst: 5}
		c := p.Charge("k", 1)
		for i := range int64(6) {
			d := e.one(c)
			exact := time.Duration(i) * p.Window / time.Duration(limit)
			e.check(d.Allowed && d.Delay >= exact && d.Delay <= exact+time.Microsecond, "number %d waits %v, should wait %v: %+v", i+1, d.Delay, exact, d)
		}
		d := e.one(c)
		e.check(!d.Allowed && d.Delay == 0, "number 7 of 1 and 5 that may wait: %+v", d)
	}
}

func atIsNow(e *trial) {
	for _, a := range algorithms {
		for _, w := range []time.Duration{time.Minute, time.Hour, 48 * time.Hour} {
			p := halt.Policy{Name: e.name(), Algorithm: a, Limit: 1000, Window: w}
			c := p.Charge("k", 1)
			tick := halt.Instant(p.Tick().Microseconds())
			before := e.now()
			d := e.one(c)
			after := e.now()
			e.check(d.At%tick == 0, "At %d is not in whole ticks of %v", d.At, p.Tick())
			slack := max(tick, halt.Instant(e.h.Resolution.Microseconds()))
			e.check(d.At > before-slack && d.At <= after, "At %d is not between %d and %d, to a tick", d.At, before, after)
			e.pass(20 * time.Millisecond)
			later := e.one(c)
			e.check(later.At >= d.At, "time ran backwards: %d, then %d", d.At, later.At)
			if e.virtual() {
				from, to := before+20_000, after+20_000+halt.Instant(e.h.Resolution.Microseconds())
				e.check(later.At > from-slack && later.At <= to, "20 ms after %d, At is %d", d.At, later.At)
			}
		}
	}
}

func clockBack(e *trial) {
	for _, a := range algorithms {
		for _, w := range []time.Duration{30 * time.Second, time.Hour, 48 * time.Hour} {
			p := halt.Policy{Name: e.name(), Algorithm: a, Limit: 4, Window: w}
			c := p.Charge("k", 1)
			first := e.spend(c, 2)
			for _, back := range []time.Duration{time.Microsecond, time.Second, 8 * time.Second} {
				e.pass(-back)
				d := e.peek(c, 0)
				e.check(d.At == first.At && d.Remaining == first.Remaining, "%v back: %+v, after %+v", back, d, first)
				first = d
			}
			rest := p.Charge("k", first.Remaining)
			d := e.one(rest)
			e.check(d.Allowed && d.At == first.At, "the rest, with the clock back: %+v", d)
			d = e.one(c)
			e.check(!d.Allowed && d.At == first.At, "more than the rest, with the clock back: %+v", d)
			e.pass(20 * time.Second)
			d = e.one(c)
			e.check(d.At >= first.At, "with the clock forward again: %+v", d)
		}
	}
}

func clockAhead(e *trial) {
	for _, a := range algorithms {
		p := halt.Policy{Name: e.name(), Algorithm: a, Limit: 4, Window: 60 * time.Second, Block: 30 * time.Second}
		c := p.Charge("k", p.Capacity())
		first := e.spend(c, 1)
		e.pass(-10 * time.Second)
		d := e.peek(c, 1)
		e.check(!d.Allowed && d.At == first.At, "10 s back: %+v, after %+v", d, first)
		e.pass(-max(time.Microsecond, e.h.Resolution))
		d = e.peek(c, c.Cost)
		e.check(d.Allowed && d.At < first.At-9_999_999, "more than 10 s back: %+v, after %+v", d, first)
		d = e.one(c)
		e.check(d.Allowed, "a Take more than 10 s back: %+v", d)
		d = e.one(c)
		e.check(!d.Allowed && d.Blocked, "a second Take more than 10 s back: %+v", d)
		e.pass(-24 * time.Hour)
		d = e.one(c)
		e.check(d.Allowed && !d.Blocked, "a day back: a block from the future locks the key: %+v", d)
		e.pass(24*time.Hour + 2*time.Minute)
	}
}
