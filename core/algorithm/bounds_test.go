package algorithm_test

import (
	"math/rand/v2"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// admitted is a Take that was allowed: when, in ticks, how much, and when it proceeds.
type admitted struct{ at, n, proceeds int64 }

// trace returns what a policy admitted of random Takes, among Peeks, now and then a Debit, and steps back of the clock.
// Debits only take from what is left for Takes, so the theorems hold for the Takes beside them.
func trace(rng *rand.Rand, p halt.Policy, steps int) []admitted {
	w := &world{now: epoch + halt.Instant(rng.Int64N(1<<40))}
	debits := rng.IntN(3) == 0
	crowded := rng.IntN(2) == 0
	var all []admitted
	for range steps {
		m := halt.Take
		switch n := rng.IntN(20); {
		case n < 3:
			m = halt.Peek
		case n == 3 && debits:
			m = halt.Debit
		}
		n := cost(rng, &p)
		if d := w.do(p, m, n); m == halt.Take && d.Allowed && n > 0 {
			at := int64(d.At / tickOf(&p))
			all = append(all, admitted{at, n, at + ticks(&p, d.Delay)})
		}
		g := gap(rng, &p)
		if crowded {
			g /= 7
		}
		w.now += g
		if rng.IntN(30) == 0 {
			w.back(rng)
		}
	}
	return all
}

func TestTokenBucketBound(t *testing.T) {
	t.Parallel()
	forSeeds(t, 400, func(t *testing.T, rng *rand.Rand) {
		p := modest(rng, halt.TokenBucket)
		w := ticks(&p, p.Window)
		all := trace(rng, p, 250)
		for i := range all {
			sum := int64(0)
			for j := i; j < len(all); j++ {
				sum += all[j].n
				if t0 := all[j].at - all[i].at; sum*w > p.Capacity()*w+t0*p.Limit {
					t.Fatalf("%s admitted %d within %d ticks", describe(&p), sum, t0)
				}
			}
		}
	})
}

func TestLeakyBucketBound(t *testing.T) {
	t.Parallel()
	forSeeds(t, 400, func(t *testing.T, rng *rand.Rand) {
		p := modest(rng, halt.LeakyBucket)
		w, burst := ticks(&p, p.Window), p.Capacity()-1
		all := trace(rng, p, 250)
		for i := range all {
			sum := int64(0)
			for j := i + 1; j < len(all); j++ {
				sum += all[j-1].n // what proceeded from i on, before j
				if t0 := all[j].proceeds - all[i].proceeds; sum*w >= (t0+1)*p.Limit {
					t.Fatalf("%s let %d proceed within %d ticks", describe(&p), sum, t0)
				}
			}
			waiting := int64(0)
			for k := range i + 1 {
				if all[k].proceeds > all[i].at {
					waiting += all[k].n
				}
			}
			if waiting > burst {
				t.Fatalf("%s keeps %d waiting, not at most %d", describe(&p), waiting, burst)
			}
		}
	})
}

func TestFixedWindowBound(t *testing.T) {
	t.Parallel()
	forSeeds(t, 400, func(t *testing.T, rng *rand.Rand) {
		p := modest(rng, halt.FixedWindow)
		sums := make(map[int64]int64)
		for _, a := range trace(rng, p, 250) {
			var window int64
			if p.Window != 0 {
				window = a.at / ticks(&p, p.Window)
			} else {
				window = int64(p.Period.Edges(halt.Instant(a.at) * tickOf(&p))[1])
			}
			if sums[window] += a.n; sums[window] > p.Limit {
				t.Fatalf("%s admitted %d within one window", describe(&p), sums[window])
			}
		}
	})
}

func TestSlidingWindowBound(t *testing.T) {
	t.Parallel()
	for _, a := range []halt.Algorithm{halt.SlidingWindow, halt.InFlight} {
		forSeeds(t, 300, func(t *testing.T, rng *rand.Rand) {
			p := modest(rng, a)
			w := ticks(&p, p.Window)
			all := trace(rng, p, 250)
			for i := range all {
				sum := int64(0)
				for j := i; j < len(all) && all[j].at-all[i].at < w; j++ {
					if sum += all[j].n; sum > p.Limit {
						t.Fatalf("%s admitted %d within %d ticks", describe(&p), sum, all[j].at-all[i].at+1)
					}
				}
			}
		})
	}
}

// TestInFlightBound: at most Limit are inside as long as no holder outlasts Window, and what a crashed holder held comes
// back after Window plus a sub-window.
func TestInFlightBound(t *testing.T) {
	t.Parallel()
	type holder struct {
		n     int64
		at    halt.Instant
		until halt.Instant // when it leaves, if it does not crash
		crash bool
	}
	forSeeds(t, 400, func(t *testing.T, rng *rand.Rand) {
		p := modest(rng, halt.InFlight)
		p.Block = 0
		tick := tickOf(&p)
		sub := (ticks(&p, p.Window)-1)/int64(p.SubWindows()) + 1
		longest := halt.Instant(int64(p.SubWindows())*sub+sub) * tick
		w := &world{now: epoch / tick * tick}
		var inside []holder
		for range 300 {
			still := inside[:0]
			sum := int64(0)
			for _, h := range inside {
				switch {
				case h.until > w.now, h.crash && w.now <= h.at+micros(p.Window):
					still = append(still, h)
					sum += h.n
				case h.crash: // it is gone, and told nobody
				default:
					c := halt.Charge{Policy: p, Key: "k", Cost: h.n, Taken: h.n, At: h.at, Mode: halt.Credit}
					w.do(p, halt.Peek, 1)
					decide(&c, w)
				}
			}
			inside = still
			n := 1 + rng.Int64N(p.Limit)
			before := w.peek(p, n)
			d := w.take(p, n)
			if d.Allowed != before.Allowed {
				t.Fatalf("Peek %+v, Take %+v", before, d)
			}
			if d.ResetAfter > time.Duration(longest)*time.Microsecond {
				t.Fatalf("%s: ResetAfter %v", describe(&p), d.ResetAfter)
			}
			if d.Allowed {
				if sum += n; sum > p.Limit {
					t.Fatalf("%s: %d are inside", describe(&p), sum)
				}
				stays := halt.Instant(rng.Int64N(int64(micros(p.Window))))
				inside = append(inside, holder{n: n, at: d.At, until: d.At + stays, crash: rng.IntN(8) == 0})
			}
			w.now += gap(rng, &p) / 4
		}
		w.now += longest + micros(p.Window)
		if d := w.take(p, p.Limit); !d.Allowed {
			t.Fatalf("%s: what crashed holders held never came back: %+v", describe(&p), d)
		}
	})
}

// TestSlidingWindowUtilisation: the price of never exceeding the limit, under overload.
func TestSlidingWindowUtilisation(t *testing.T) {
	t.Parallel()
	for precision, percent := range map[int]int64{10: 90, 60: 97} {
		p := halt.Policy{Name: "p", Algorithm: halt.SlidingWindow, Limit: 1000, Window: 6 * time.Second, Precision: precision}
		w := &world{now: epoch}
		sum := int64(0)
		for range 60_000 {
			if w.take(p, 1).Allowed {
				sum++
			}
			w.now += 1000
		}
		if want := 10 * p.Limit; sum*100 < want*percent || sum > want+p.Limit {
			t.Errorf("precision %d admitted %d of %d", precision, sum, want)
		}
	}
}
