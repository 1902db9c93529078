package algorithm_test

import (
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/algorithm"
)

// spec is the design's account of the algorithms, word for word, in numbers without bounds: written apart from Decide, and
// slow. Every value of what Decide computes with is checked to be below 2^53.
type spec struct {
	t      *testing.T
	at     int64 // tick of the last change
	until  int64
	debt   *big.Int
	counts map[int64]*big.Int // by the window's first tick, or by the number of the sub-window
}

var (
	most  = new(big.Int).Lsh(big.NewInt(1), 52)
	exact = new(big.Int).Lsh(big.NewInt(1), 53)
)

func newSpec(t *testing.T) *spec {
	t.Helper()
	return &spec{t: t, debt: new(big.Int), counts: make(map[int64]*big.Int)}
}

func n64(n int64) *big.Int       { return big.NewInt(n) }
func add(a, b *big.Int) *big.Int { return new(big.Int).Add(a, b) }
func sub(a, b *big.Int) *big.Int { return new(big.Int).Sub(a, b) }
func mul(a, b *big.Int) *big.Int { return new(big.Int).Mul(a, b) }

func lesser(a, b *big.Int) *big.Int {
	if a.Cmp(b) <= 0 {
		return a
	}
	return b
}

func positive(a *big.Int) *big.Int {
	if a.Sign() < 0 {
		return new(big.Int)
	}
	return a
}

// ceil returns a/b rounded up, at least 0.
func ceil(a, b *big.Int) int64 {
	if a.Sign() <= 0 {
		return 0
	}
	return new(big.Int).Div(sub(add(a, b), n64(1)), b).Int64()
}

// small wants a value that Decide has to form to be exact in a double.
func (s *spec) small(what string, n *big.Int) *big.Int {
	if n.Sign() < 0 || n.Cmp(exact) >= 0 {
		s.t.Fatalf("%s is %v, not below 2^53", what, n)
	}
	return n
}

func (s *spec) decide(c *halt.Charge, now halt.Instant) halt.Decision {
	p := &c.Policy
	tick := p.Tick().Microseconds()
	t := int64(now) / tick
	was := s
	if s.at > t {
		if s.at-t > 10_000_000/tick {
			was = newSpec(s.t)
		} else {
			t = s.at
		}
	}
	d := halt.Decision{Mode: c.Mode, Limit: p.Limit, At: halt.Instant(t * tick)}
	until := int64(0)
	if was.until > t {
		until = was.until
	}
	var reset, wait int64
	fits, wrote := false, false
	span := func(d time.Duration) int64 { return d.Microseconds() / tick }
	free := until == 0
	binding := c.Mode <= halt.Shadow
	drained := was.debt

	switch p.Algorithm {
	case halt.TokenBucket, halt.LeakyBucket:
		w, l := n64(span(p.Window)), n64(p.Limit)
		capacity := n64(p.Limit)
		switch {
		case p.Algorithm == halt.TokenBucket && p.Burst > 0:
			capacity = n64(p.Burst)
		case p.Algorithm == halt.LeakyBucket && p.Burst < 0:
			capacity = n64(1)
		case p.Algorithm == halt.LeakyBucket && p.Burst > 0:
			capacity = n64(p.Burst + 1)
		case p.Algorithm == halt.LeakyBucket:
			capacity = n64(p.Limit + 1)
		}
		full := s.small("C*W", mul(capacity, w))
		cost := mul(n64(c.Cost), w)
		saturated := lesser(most, mul(l, n64(span(10*365*24*time.Hour))))
		debt := was.debt
		if debt.Cmp(full) > 0 {
			debt = lesser(debt, saturated)
		}
		debt = s.small("debt", positive(sub(debt, mul(n64(t-was.at), l))))
		before := debt
		fits = add(debt, cost).Cmp(full) <= 0
		switch {
		case binding && fits && free:
			if c.Mode != halt.Peek && c.Cost > 0 {
				debt, wrote = s.small("debt + n*W", add(debt, cost)), true
			}
			if p.Algorithm == halt.LeakyBucket && c.Mode != halt.Shadow && c.Cost > 0 {
				d.Delay = time.Duration(ceil(before, l)*tick) * time.Microsecond
			}
		case c.Mode == halt.Debit && c.Cost > 0:
			if debt.Cmp(saturated) < 0 {
				debt = lesser(add(debt, cost), saturated)
			}
			wrote = true
		case c.Mode == halt.Credit && p.Algorithm == halt.TokenBucket:
			undrained := positive(sub(mul(n64(c.Taken), w), mul(n64(max(0, t-int64(c.At)/tick)), l)))
			if back := lesser(debt, lesser(cost, undrained)); back.Sign() > 0 {
				debt, wrote = sub(debt, back), true
			}
		}
		if !fits {
			wait = ceil(sub(add(debt, cost), full), l)
		}
		d.Remaining = new(big.Int).Div(positive(sub(full, debt)), w).Int64()
		reset = ceil(debt, l)
		drained = debt

	case halt.FixedWindow:
		start, end := int64(0), int64(0)
		if p.Window != 0 {
			start = t / span(p.Window) * span(p.Window)
			end = start + span(p.Window)
		} else {
			e := p.Period.Edges(d.At)
			start, end = int64(e[1])/tick, int64(e[2])/tick
		}
		count := positive(new(big.Int))
		if n := was.counts[start]; n != nil {
			count = n
		}
		fits = add(count, n64(c.Cost)).Cmp(n64(p.Limit)) <= 0
		switch {
		case binding && fits && free && c.Mode != halt.Peek && c.Cost > 0:
			count, wrote = add(count, n64(c.Cost)), true
		case c.Mode == halt.Debit && c.Cost > 0:
			count, wrote = lesser(add(count, n64(c.Cost)), most), true
		case c.Mode == halt.Credit:
			if at := int64(c.At) / tick; start <= at && at < end && count.Sign() > 0 && c.Cost > 0 {
				count, wrote = positive(sub(count, n64(c.Cost))), true
			}
		}
		wait = end - t
		d.Remaining = positive(sub(n64(p.Limit), count)).Int64()
		if count.Sign() > 0 {
			reset = end - t
		}
		if wrote {
			was.counts = map[int64]*big.Int{start: s.small("count", count)}
		}

	default:
		subs := int64(10)
		if p.Precision != 0 {
			subs = int64(p.Precision)
		}
		width := ceil(n64(span(p.Window)), n64(subs))
		i := t / width
		sum := func(from int64) *big.Int {
			all := new(big.Int)
			for j, n := range was.counts {
				if j >= from && j <= i {
					all.Add(all, n)
				}
			}
			return s.small("sum", all)
		}
		change := func(j int64, by *big.Int) {
			if was.counts[j] == nil {
				was.counts[j] = new(big.Int)
			}
			was.counts[j] = add(was.counts[j], by)
			wrote = true
		}
		fits = add(sum(i-subs), n64(c.Cost)).Cmp(n64(p.Limit)) <= 0
		for k := i - subs + 1; !fits && k <= i+1; k++ {
			if wait = (k+subs)*width - t; add(sum(k), n64(c.Cost)).Cmp(n64(p.Limit)) <= 0 {
				break
			}
		}
		switch {
		case binding && fits && free && c.Mode != halt.Peek && c.Cost > 0:
			change(i, n64(c.Cost))
		case c.Mode == halt.Debit && c.Cost > 0:
			if by := sub(lesser(add(sum(i-subs), n64(c.Cost)), most), sum(i-subs)); by.Sign() > 0 {
				change(i, by)
			}
		case c.Mode == halt.Credit:
			if j := int64(c.At) / width / tick; j >= i-subs && j <= i && was.counts[j] != nil {
				if by := lesser(was.counts[j], n64(c.Cost)); by.Sign() > 0 {
					change(j, new(big.Int).Neg(by))
				}
			}
		}
		d.Remaining = positive(sub(n64(p.Limit), sum(i-subs))).Int64()
		for j, n := range was.counts {
			if n.Sign() > 0 && j >= i-subs {
				reset = max(reset, (j+subs+1)*width-t)
			}
		}
	}

	d.Allowed = !binding || fits && free
	never := c.Cost > p.Capacity()
	if binding && c.Mode != halt.Peek && !fits && free && !never && p.Block > 0 {
		until, wrote = t+span(p.Block), true
	}
	duration := func(ticks int64) time.Duration { return time.Duration(ticks*tick) * time.Microsecond }
	if until > 0 {
		d.Blocked, d.Remaining = true, 0
		reset = max(reset, until-t)
	}
	d.ResetAfter = duration(reset)
	if !d.Allowed {
		if fits {
			wait = 0
		}
		if until > 0 {
			wait = max(wait, until-t)
		}
		switch {
		case never:
			d.RetryAfter = halt.Never
		case p.Algorithm == halt.InFlight:
			d.RetryAfter = time.Second
			if until > 0 {
				d.RetryAfter = max(time.Second, duration(until-t))
			}
		default:
			d.RetryAfter = duration(wait)
		}
	}
	if wrote {
		s.at, s.until, s.debt, s.counts = t, until, drained, was.counts
	}
	return d
}

// TestSpec: Decide equals the account of it in numbers without bounds, to the field, over random traces of all modes,
// with policies that change, at modest numbers and at the edge of what is valid.
func TestSpec(t *testing.T) {
	t.Parallel()
	forAlgorithms(t, func(t *testing.T, a halt.Algorithm) {
		forSeeds(t, 400, func(t *testing.T, rng *rand.Rand) {
			p := anyPolicy(rng, a)
			w, s := &world{now: epoch + halt.Instant(rng.Int64N(1<<42))}, newSpec(t)
			var taken []halt.Charge
			for i := range 100 {
				c := halt.Charge{Policy: p, Key: "k", Cost: cost(rng, &p), Mode: pick(rng, halt.Take, halt.Take, halt.Take, halt.Peek, halt.Shadow, halt.Debit)}
				if c.Mode == halt.Debit || rng.IntN(10) == 0 {
					c.Cost = pick(rng, c.Cost, 1, 1, 1<<52, 1<<53+1, 1<<63-1)
				}
				if len(taken) > 0 && rng.IntN(4) == 0 {
					j := rng.IntN(len(taken))
					c.Mode, c.At, c.Taken = halt.Credit, taken[j].At, taken[j].Taken
					c.Cost = 1 + rng.Int64N(c.Taken)
					taken = append(taken[:j], taken[j+1:]...)
				}
				got, want := decide(&c, w), s.decide(&c, w.now)
				if got != want {
					t.Fatalf("step %d, %s of %d under %s:\nDecide %+v\nspec   %+v", i, c.Mode, c.Cost, describe(&p), got, want)
				}
				for _, n := range append([]int64{w.s.At, w.s.Used, w.s.Window, w.s.Until}, w.s.Counts...) {
					if n < 0 || n >= 1<<53 {
						t.Fatalf("under %s the state has come to %+v", describe(&p), w.s)
					}
				}
				if c.Mode == halt.Take && got.Allowed && c.Cost > 0 {
					taken = append(taken, halt.Charge{At: got.At, Taken: c.Cost})
				}
				w.now += gap(rng, &p)
				switch rng.IntN(40) {
				case 0:
					w.now -= halt.Instant(rng.Int64N(9_900_000))
				case 1:
					w.now -= halt.Instant(rng.Int64N(60_000_000))
				case 2:
					w.now += micros(10 * 365 * day)
				}
				p = another(rng, p)
			}
			if _, err := algorithm.Parse(w.s.Append(nil), &p); err != nil && w.s.At != 0 {
				t.Fatalf("under %s the state %+v has no binary form: %v", describe(&p), w.s, err)
			}
		})
	})
}
