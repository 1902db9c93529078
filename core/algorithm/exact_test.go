package algorithm_test

import (
	"math/rand/v2"
	"reflect"
	"testing"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/algorithm"
)

func decide(c *halt.Charge, w *world) halt.Decision {
	d, _ := algorithm.Decide(c, &w.s, w.now)
	return d
}

// anyPolicy is modest or extreme.
func anyPolicy(rng *rand.Rand, a halt.Algorithm) halt.Policy {
	if rng.IntN(3) == 0 {
		return extreme(rng, a)
	}
	return modest(rng, a)
}

// TestRetryAfter: the same charge fits at At+RetryAfter and not one tick earlier.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	forAlgorithms(t, func(t *testing.T, a halt.Algorithm) {
		checked := 0
		forSeeds(t, 1500, func(t *testing.T, rng *rand.Rand) {
			p := anyPolicy(rng, a)
			w := &world{now: epoch}
			for range 10 {
				w.wander(rng, p, rng.IntN(8))
				p = another(rng, p)
				n := cost(rng, &p)
				m := pick(rng, halt.Take, halt.Peek)
				d := w.do(p, m, n)
				switch {
				case d.Allowed:
					if d.RetryAfter != 0 {
						t.Fatalf("allowed, with a RetryAfter: %+v", d)
					}
					continue
				case (n > p.Capacity()) != (d.RetryAfter == halt.Never):
					t.Fatalf("%s: a cost of %d has a RetryAfter of %v", describe(&p), n, d.RetryAfter)
				case d.RetryAfter == halt.Never || d.RetryAfter > 20*365*day:
					continue
				}
				checked++
				later := w.fork()
				if later.now = d.At + micros(d.RetryAfter); !later.peek(p, n).Allowed {
					t.Fatalf("%s: %d does not fit after its RetryAfter: %+v, then %+v", describe(&p), n, d, later.peek(p, n))
				}
				if later.now -= tickOf(&p); later.peek(p, n).Allowed {
					t.Fatalf("%s: %d fits a tick before its RetryAfter: %+v, then %+v", describe(&p), n, d, later.peek(p, n))
				}
			}
		})
		if checked < 50 {
			t.Errorf("checked only %d refusals", checked)
		}
	}, halt.TokenBucket, halt.LeakyBucket, halt.FixedWindow, halt.SlidingWindow)
}

// TestRetryAfterInFlight is a hint, unless a block makes it longer.
func TestRetryAfterInFlight(t *testing.T) {
	t.Parallel()
	p := halt.Policy{Name: "p", Algorithm: halt.InFlight, Limit: 1, Window: day}
	w := &world{now: epoch}
	w.take(p, 1)
	if d := w.take(p, 1); d.Allowed || d.RetryAfter.Seconds() != 1 {
		t.Errorf("%+v", d)
	}
	p.Block = day
	if d := w.take(p, 1); d.Allowed || d.RetryAfter != day {
		t.Errorf("%+v", d)
	}
	if d := w.take(p, 2); d.Allowed || d.RetryAfter != halt.Never {
		t.Errorf("%+v", d)
	}
}

// TestResetAfter: a state that is forgotten after ResetAfter changes nothing later, and a tick earlier it still counts.
func TestResetAfter(t *testing.T) {
	t.Parallel()
	forAlgorithms(t, func(t *testing.T, a halt.Algorithm) {
		forSeeds(t, 1500, func(t *testing.T, rng *rand.Rand) {
			p := anyPolicy(rng, a)
			w := &world{now: epoch}
			for range 6 {
				w.wander(rng, p, 1+rng.IntN(6))
				p = another(rng, p)
				m := pick(rng, halt.Take, halt.Peek, halt.Debit)
				d := w.do(p, m, cost(rng, &p))
				early, kept, forgot := w.fork(), w.fork(), new(world)
				kept.now = d.At + micros(d.ResetAfter)
				forgot.now = kept.now
				if d.ResetAfter > 0 {
					early.now = kept.now - tickOf(&p)
					if d := early.peek(p, 0); d.ResetAfter == 0 {
						t.Fatalf("%s: ResetAfter is longer than necessary", describe(&p))
					}
				}
				more := rand.New(rand.NewPCG(rng.Uint64(), 1))
				for i := range 20 {
					c := halt.Charge{Policy: p, Key: "k", Cost: cost(more, &p), Mode: pick(more, halt.Take, halt.Take, halt.Peek, halt.Debit, halt.Shadow)}
					if c.Mode == halt.Debit && i < 10 {
						c.Mode = halt.Take
					}
					if x, y := decide(&c, kept), decide(&c, forgot); x != y {
						t.Fatalf("%s: step %d after ResetAfter: %+v, had the state been forgotten: %+v", describe(&p), i, x, y)
					}
					g := gap(more, &p)
					kept.now, forgot.now = kept.now+g, forgot.now+g
				}
			}
		})
	})
}

// TestPeek: a Peek is allowed exactly when a Take is, and changes nothing; nor does a refusal, or a cost of 0.
func TestPeek(t *testing.T) {
	t.Parallel()
	forAlgorithms(t, func(t *testing.T, a halt.Algorithm) {
		forSeeds(t, 600, func(t *testing.T, rng *rand.Rand) {
			p := anyPolicy(rng, a)
			w := &world{now: epoch}
			for range 30 {
				w.wander(rng, p, rng.IntN(3))
				p = another(rng, p)
				n := cost(rng, &p)
				before := clone(w.s)
				peek := w.peek(p, n)
				if !reflect.DeepEqual(before, w.s) {
					t.Fatalf("%s: a Peek changed the state from %+v to %+v", describe(&p), before, w.s)
				}
				shadow := w.fork().do(p, halt.Shadow, n)
				d, changed := algorithm.Decide(&halt.Charge{Policy: p, Key: "k", Cost: n}, &w.s, w.now)
				if d.Allowed != peek.Allowed || shadow.Allowed != d.Allowed || shadow.Remaining != d.Remaining {
					t.Fatalf("%s: Peek %+v, Take %+v, Shadow %+v", describe(&p), peek, d, shadow)
				}
				if shadow.Delay != 0 {
					t.Fatalf("%s: a Shadow delays: %+v", describe(&p), shadow)
				}
				newly := d.Blocked && !peek.Blocked
				if want := d.Allowed && n > 0 || newly; changed != want || !changed && !reflect.DeepEqual(before, w.s) {
					t.Fatalf("%s: %d of %+v, changed %t, the state from %+v to %+v", describe(&p), n, d, changed, before, w.s)
				}
				if n > p.Capacity() && newly {
					t.Fatalf("%s: a cost that can't fit blocks", describe(&p))
				}
				if newly { // it blocks for exactly Block, and spends nothing
					if d.ResetAfter < p.Block || d.RetryAfter < p.Block {
						t.Fatalf("%s: a block with %+v", describe(&p), d)
					}
					end := w.fork()
					end.now = d.At + micros(p.Block)
					free := &world{s: before, now: end.now}
					if x, y := end.peek(p, n), free.peek(p, n); x != y {
						t.Fatalf("%s: after the block %+v, without it %+v", describe(&p), x, y)
					}
					if end.now -= tickOf(&p); !end.peek(p, 1).Blocked {
						t.Fatalf("%s: the block ends early", describe(&p))
					}
				}
			}
		})
	})
}
