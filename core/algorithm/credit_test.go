package algorithm_test

import (
	"math/rand/v2"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// event is what became of one charge in a trace: enough to repeat it.
type event struct {
	c     halt.Charge
	at    halt.Instant
	given int64 // how much of a Take was given back later
}

// TestCreditDominance: what was admitted would have been admitted too had the credited Takes, or the credited part of
// each, never been. It holds while Limit and state stay, and no Debit saturates.
func TestCreditDominance(t *testing.T) {
	t.Parallel()
	forAlgorithms(t, func(t *testing.T, a halt.Algorithm) {
		credits := 0
		forSeeds(t, 800, func(t *testing.T, rng *rand.Rand) {
			p := modest(rng, a)
			w := &world{now: epoch + halt.Instant(rng.Int64N(1<<40))}
			var events []event
			var open []int // Takes that may be given back
			for range 80 {
				switch {
				case len(open) > 0 && rng.IntN(3) == 0:
					k := rng.IntN(len(open))
					e := &events[open[k]]
					open = append(open[:k], open[k+1:]...)
					e.given = 1 + rng.Int64N(e.c.Cost)
					c := e.c
					c.Mode, c.At, c.Taken, c.Cost = halt.Credit, e.at, e.c.Cost, e.given
					before := w.peek(p, 0)
					d := decide(&c, w)
					if d.Remaining > before.Remaining+c.Cost || d.Remaining < before.Remaining {
						t.Fatalf("%s: a Credit of %d left %d of %d", describe(&p), c.Cost, d.Remaining, before.Remaining)
					}
					if a == halt.LeakyBucket && d.Remaining != before.Remaining {
						t.Fatalf("%s: a leaky bucket gave back: %+v", describe(&p), d)
					}
					credits++
				case rng.IntN(12) == 0:
					c := halt.Charge{Policy: p, Key: "k", Cost: 1 + rng.Int64N(3), Mode: halt.Debit}
					events = append(events, event{c: c, at: decide(&c, w).At})
				default:
					c := p.Charge("k", cost(rng, &p))
					if d := decide(&c, w); d.Allowed && c.Cost > 0 {
						open = append(open, len(events))
						events = append(events, event{c: c, at: d.At})
					}
				}
				if rng.IntN(3) == 0 {
					w.now += gap(rng, &p) / 3
				}
				if rng.IntN(20) == 0 {
					w.back(rng)
				}
			}
			without := new(world)
			for _, e := range events {
				without.now = e.at
				if e.c.Cost -= e.given; e.c.Cost == 0 {
					continue
				}
				if d := decide(&e.c, without); !d.Allowed {
					t.Fatalf("%s: a Take of %d was admitted only because of a Credit: %+v", describe(&p), e.c.Cost, d)
				}
			}
		})
		if credits == 0 {
			t.Error("no Credits")
		}
	})
}

// TestCreditOfStrangers: a Credit after a loss of the state or a Reset gives back at most its cost, and never makes a
// budget larger than it is.
func TestCreditOfStrangers(t *testing.T) {
	t.Parallel()
	forAlgorithms(t, func(t *testing.T, a halt.Algorithm) {
		forSeeds(t, 300, func(t *testing.T, rng *rand.Rand) {
			p := anyPolicy(rng, a)
			w := &world{now: epoch}
			for range 20 {
				w.take(p, cost(rng, &p))
				w.now += gap(rng, &p) / 5
				before := w.peek(p, 0)
				c := halt.Charge{Policy: p, Key: "k", Mode: halt.Credit, Taken: pick(rng, p.Capacity(), 1<<50, 1<<63-1)}
				c.Cost = 1 + rng.Int64N(c.Taken)
				c.At = pick(rng, 0, 1, w.now, w.now+1_000_000, w.now-micros(windowOf(&p))/2, 1<<50)
				d := decide(&c, w)
				if d.Remaining-before.Remaining > c.Cost || d.Remaining > p.Capacity() || d.Remaining < before.Remaining || !d.Allowed {
					t.Fatalf("%s: a Credit of %d, taken at %d: %+v, before it %+v", describe(&p), c.Cost, c.At, d, before)
				}
			}
			if n := p.Capacity(); w.take(p, n).Allowed && w.take(p, 1).Allowed {
				t.Fatalf("%s admits more than its capacity", describe(&p))
			}
		})
	})
}

// TestClock: a clock that steps back is clamped to the state's, and a state more than 10 s ahead counts as never seen.
func TestClock(t *testing.T) {
	t.Parallel()
	forAlgorithms(t, func(t *testing.T, a halt.Algorithm) {
		forSeeds(t, 300, func(t *testing.T, rng *rand.Rand) {
			p := anyPolicy(rng, a)
			tick := tickOf(&p)
			w := &world{now: epoch}
			w.wander(rng, p, 5)
			c := halt.Charge{Policy: p, Key: "k", Cost: 1, Mode: halt.Debit}
			decide(&c, w)
			at := halt.Instant(w.s.At) * tick // a Debit of a saturated window changes nothing
			n := cost(rng, &p)
			w.now = at
			want := w.peek(p, n)

			w.now = at - 10_000_000
			if got := w.peek(p, n); got != want {
				t.Fatalf("%s, 10 s back: %+v, not %+v", describe(&p), got, want)
			}
			w.now = at - 10_000_000 - tick
			fresh := world{now: w.now}
			if got, want := w.peek(p, n), fresh.peek(p, n); got != want {
				t.Fatalf("%s, a tick more than 10 s back: %+v, not %+v", describe(&p), got, want)
			}
			if d := w.take(p, n); d.At > w.now {
				t.Fatalf("%s, a Take more than 10 s back: %+v", describe(&p), d)
			}
			if x, y := w.s, fresh.take(p, n); y.Allowed && n > 0 && (x.At != fresh.s.At || x.Used != fresh.s.Used || x.Window != fresh.s.Window) {
				t.Fatalf("%s, a Take more than 10 s back left %+v, not %+v", describe(&p), x, fresh.s)
			}
		})
	})
}

// TestCarryOver: a changed Limit, Burst or Block keeps what was spent.
func TestCarryOver(t *testing.T) {
	t.Parallel()
	forAlgorithms(t, func(t *testing.T, a halt.Algorithm) {
		forSeeds(t, 300, func(t *testing.T, rng *rand.Rand) {
			p := modest(rng, a)
			p.Block = 0
			w := &world{now: epoch}
			spent := int64(0)
			for range 5 { // at one instant, so that nothing drains
				if n := cost(rng, &p); w.take(p, n).Allowed {
					spent += n
				}
				q := p
				for q == p {
					q = another(rng, p)
				}
				d := w.peek(q, 0)
				if want := max(0, q.Capacity()-spent); d.Remaining != want || d.Limit != q.Limit {
					t.Fatalf("%s: %d spent, then under %s: %+v", describe(&p), spent, describe(&q), d)
				}
				if over := spent > q.Capacity(); over == d.Allowed {
					t.Fatalf("%s: %d spent, then under %s: %+v", describe(&p), spent, describe(&q), d)
				}
			}
		})
	})
}

// TestFreshKey: a key not seen for years neither overflows nor is anything but fresh.
func TestFreshKey(t *testing.T) {
	t.Parallel()
	for _, a := range algorithms {
		for _, later := range []time.Duration{30 * 365 * day, 200 * 365 * day} {
			p := halt.Policy{Name: "p", Algorithm: a, Limit: 1 << 51, Window: time.Millisecond}
			if a <= halt.LeakyBucket {
				p.Limit = 1 << 41
			}
			w := &world{now: epoch}
			w.take(p, p.Capacity())
			w.now += halt.Instant(later.Microseconds())
			if d := w.take(p, p.Capacity()); !d.Allowed || d.Remaining != 0 {
				t.Errorf("%s, %v later: %+v", a, later, d)
			}
		}
	}
}
