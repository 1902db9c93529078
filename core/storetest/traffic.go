package storetest

import (
	"math/rand/v2"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// traffic makes random charges that a Limiter would pass on.
type traffic struct {
	rng     *rand.Rand
	extreme bool
	keys    []string
	taken   []taking // what Takes and Shadows spent, to be given back
}

type taking struct {
	c halt.Charge
	d halt.Decision
}

func pick[T any](rng *rand.Rand, from ...T) T { return from[rng.IntN(len(from))] }

// policy returns a valid policy.
func (t *traffic) policy(a halt.Algorithm, name string) halt.Policy {
	for {
		p := halt.Policy{
			Name: name, Algorithm: a,
			Limit: pick[int64](t.rng, 1, 2, 3, 7, 10, 100, 999_983),
			Window: pick(t.rng, time.Millisecond, 7*time.Millisecond, 50*time.Millisecond, time.Second, 9999*time.Millisecond, time.Minute,
				time.Minute+time.Millisecond, time.Hour, 24*time.Hour, 24*time.Hour+time.Second, 30*24*time.Hour),
		}
		if t.extreme {
			p.Limit = pick(t.rng, 1, 2, 1<<20, 1<<31, 1<<32+1, 1<<40, 1<<51, 1<<52-2, 1<<52-1, t.rng.Int64N(1<<52-1)+1)
			p.Window = pick(t.rng, time.Millisecond, time.Minute, time.Hour, 3650*24*time.Hour, 3649*24*time.Hour+time.Second)
		}
		if a == halt.FixedWindow && t.rng.IntN(3) == 0 {
			p.Window = 0
			p.Period = halt.Period{
				Unit: pick(t.rng, halt.Hour, halt.Day, halt.Week, halt.Month, halt.Year),
				Zone: pick(t.rng, "", "UTC", "Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kathmandu"),
			}
			if p.Period.Unit == halt.Month {
				p.Period.Anchor = pick(t.rng, 0, 1, 15, 29, 30, 31)
			}
		}
		if t.rng.IntN(3) == 0 {
			p.Block = pick(t.rng, time.Second, time.Minute, time.Hour, 25*time.Hour)
			if p.Tick() == time.Microsecond {
				p.Block = pick(t.rng, time.Microsecond, 3*time.Millisecond, time.Second)
			}
		}
		if a >= halt.SlidingWindow {
			p.Precision = pick(t.rng, 0, 1, 2, 7, 10, 60)
		}
		if t.change(&p) {
			return p
		}
	}
}

// change gives p another Burst, and tells whether it is valid then.
func (t *traffic) change(p *halt.Policy) bool {
	switch p.Algorithm {
	case halt.TokenBucket:
		p.Burst = pick(t.rng, 0, 0, 1, p.Limit/2+1, min(p.Limit, 1<<50)*2)
	case halt.LeakyBucket:
		p.Burst = pick(t.rng, 0, -1, 1, 3, p.Limit/2+1)
	default: // no other has one
	}
	return p.Validate() == nil
}

// another returns p with another Limit, Burst or Block: a change that carries over.
func (t *traffic) another(p halt.Policy) halt.Policy {
	for {
		q := p
		switch t.rng.IntN(3) {
		case 0:
			q.Limit = pick(t.rng, 1, 2, p.Limit+1, p.Limit*2, p.Limit/2+1, 50)
		case 1:
			q.Block = pick(t.rng, 0, time.Second, time.Hour)
		}
		if t.change(&q) {
			return q
		}
	}
}

// charge returns a charge against p.
func (t *traffic) charge(p halt.Policy) halt.Charge {
	capacity := p.Capacity()
	c := halt.Charge{Policy: p, Key: pick(t.rng, t.keys...)}
	c.Cost = pick(t.rng, 0, 1, 1, 1, 2, capacity, capacity/2, capacity/3+1, t.rng.Int64N(capacity)+1, capacity+1)
	if t.extreme {
		c.Cost = pick(t.rng, c.Cost, c.Cost, 1<<40, 1<<52-1, 1<<52, 1<<53+1, 1<<63-1)
	}
	switch n := t.rng.IntN(20); {
	case n < 11:
	case n < 14:
		c.Mode = halt.Peek
	case n < 16:
		c.Mode = halt.Shadow
	case n < 17:
		c.Mode, c.Shadow = halt.Debit, t.rng.IntN(4) == 0
		if !t.extreme && t.rng.IntN(2) == 0 {
			c.Cost = pick[int64](t.rng, 1, 2)
		}
	case len(t.taken) > 0:
		i := t.rng.IntN(len(t.taken))
		was := t.taken[i]
		t.taken = append(t.taken[:i], t.taken[i+1:]...)
		if was.c.Policy.Name != p.Name {
			break
		}
		c.Key, c.Mode, c.Shadow = was.c.Key, halt.Credit, was.c.Mode == halt.Shadow
		c.At, c.Taken, c.Cost = was.d.At, was.c.Cost, t.rng.Int64N(was.c.Cost)+1
		if t.rng.IntN(2) == 0 {
			c.Cost = c.Taken
		}
	}
	return c
}

// remember keeps what a call spent, so that some of it is given back later.
func (t *traffic) remember(cs []halt.Charge, ds halt.Decisions) {
	admitted := ds.Allowed()
	for i, c := range cs {
		if c.Cost > 0 && (c.Mode == halt.Take && admitted || c.Mode == halt.Shadow && ds[i].Allowed) {
			t.taken = append(t.taken, taking{c, ds[i]})
		}
	}
	if len(t.taken) > 30 {
		t.taken = t.taken[len(t.taken)-30:]
	}
}

// pause returns how long to wait after a decision: often nothing, often just until or just before something happens.
func (t *traffic) pause(p *halt.Policy, d *halt.Decision) time.Duration {
	tick := p.Tick()
	retry := d.RetryAfter
	if retry == halt.Never {
		retry = 0
	}
	window := p.Window
	if window == 0 {
		window = 24 * time.Hour
	}
	pause := pick(t.rng, 0, 0, 0, time.Microsecond, tick, retry, retry-tick, d.ResetAfter, d.ResetAfter-tick, window/time.Duration(min(p.Limit, 1000)),
		window, window/10, window/3, time.Duration(t.rng.Int64N(int64(window))))
	most := 40 * 24 * time.Hour // a bubble's clock ends in 2262
	if t.rng.IntN(10) == 0 {
		most *= 10
	}
	return max(0, min(pause, most)) / time.Microsecond * time.Microsecond
}
