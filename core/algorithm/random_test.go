package algorithm_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
	_ "time/tzdata" // calendar quotas do not depend on the machine

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/algorithm"
)

// long makes the random tests go on for some hundred times as long.
var long = flag.Bool("halt.long", false, "run the property tests for long")

// epoch is when traces start, in µs: on no edge.
const epoch = halt.Instant(1_773_500_966_535_897)

const day = 24 * time.Hour

var algorithms = []halt.Algorithm{
	halt.TokenBucket, halt.LeakyBucket, halt.FixedWindow, halt.SlidingWindow, halt.InFlight,
}

// forSeeds runs f for n seeds, or many more.
func forSeeds(t *testing.T, n int, f func(t *testing.T, rng *rand.Rand)) {
	t.Helper()
	if *long {
		n *= 300
	}
	if testing.Short() {
		n = n/4 + 1
	}
	for seed := range n {
		f(t, rand.New(rand.NewPCG(uint64(seed), 11)))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func forAlgorithms(t *testing.T, f func(t *testing.T, a halt.Algorithm), as ...halt.Algorithm) {
	t.Helper()
	if len(as) == 0 {
		as = algorithms
	}
	for _, a := range as {
		t.Run(a.String(), func(t *testing.T) {
			t.Parallel()
			f(t, a)
		})
	}
}

func pick[T any](rng *rand.Rand, from ...T) T { return from[rng.IntN(len(from))] }

// modest returns a valid policy of small numbers, of any tick, mostly without a Block.
func modest(rng *rand.Rand, a halt.Algorithm) halt.Policy {
	for {
		p := halt.Policy{
			Name: "p", Algorithm: a, Limit: pick[int64](rng, 1, 2, 3, 5, 7, 10, 20),
			Window: pick(rng, time.Millisecond, 3*time.Millisecond, 10_007*time.Microsecond, time.Second, time.Minute, 61*time.Second,
				time.Hour+time.Millisecond, day, day+time.Second, 7*day),
		}
		if a == halt.FixedWindow && rng.IntN(4) == 0 {
			p.Window = 0
			p.Period = halt.Period{Unit: pick(rng, halt.Hour, halt.Day, halt.Week, halt.Month), Zone: pick(rng, "", "Europe/Berlin", "America/St_Johns")}
		}
		if rng.IntN(4) == 0 {
			p.Block = pick(rng, time.Second, time.Minute, 30*time.Hour)
		}
		if rebursted(rng, &p) {
			return p
		}
	}
}

// extreme returns a valid policy of numbers at the edge of what is valid.
func extreme(rng *rand.Rand, a halt.Algorithm) halt.Policy {
	for {
		p := halt.Policy{
			Name: "p", Algorithm: a,
			Limit:  pick[int64](rng, 1, 2, 3, 1<<20+7, 1<<31, 1<<32-1, 1<<40, 1<<51+1, 1<<52-2, 1<<52-1, rng.Int64N(1<<52-1)+1, rng.Int64N(1<<36)+1),
			Window: pick(rng, time.Millisecond, 999*time.Millisecond, time.Minute, time.Minute+time.Millisecond, day, day+time.Second, 3649*day, 3650*day),
			Block:  pick(rng, 0, 0, time.Second, 3650*day),
		}
		if a == halt.FixedWindow && rng.IntN(4) == 0 {
			p.Window = 0
			p.Period = halt.Period{Unit: pick(rng, halt.Hour, halt.Day, halt.Week, halt.Month, halt.Year), Zone: pick(rng, "", "Asia/Kathmandu")}
		}
		if rebursted(rng, &p) {
			return p
		}
	}
}

// rebursted gives p another Burst or Precision, and tells whether it is valid.
func rebursted(rng *rand.Rand, p *halt.Policy) bool {
	switch p.Algorithm {
	case halt.TokenBucket:
		p.Burst = pick(rng, 0, 0, 1, 2, p.Limit/2+1, p.Limit*2, 1<<52/max(1, int64(p.Window/p.Tick()))-1)
	case halt.LeakyBucket:
		p.Burst = pick(rng, 0, -1, 1, 3, p.Limit/2+1, 1<<52/max(1, int64(p.Window/p.Tick()))-2)
	case halt.SlidingWindow, halt.InFlight:
		p.Precision = pick(rng, 0, 1, 2, 7, 10, 60)
	default: // a fixed window has neither
	}
	return p.Validate() == nil
}

// another returns p, or p with another Limit, Burst or Block: a change that carries over.
func another(rng *rand.Rand, p halt.Policy) halt.Policy {
	if rng.IntN(3) != 0 {
		return p
	}
	for {
		q := p
		switch rng.IntN(3) {
		case 0:
			q.Limit = pick(rng, 1, 2, p.Limit+1, p.Limit*2, p.Limit/2+1, p.Limit/1000+1)
		case 1:
			q.Block = pick(rng, 0, 0, 3*time.Second, day)
		}
		precision := q.Precision
		ok := rebursted(rng, &q)
		if q.Precision = precision; ok {
			return q
		}
	}
}

func ticks(p *halt.Policy, d time.Duration) int64 { return int64(d / p.Tick()) }

// µs of one tick of the policy.
func tickOf(p *halt.Policy) halt.Instant { return halt.Instant(p.Tick().Microseconds()) }

func micros(d time.Duration) halt.Instant { return halt.Instant(d.Microseconds()) }

// windowOf returns the policy's window, or about its period.
func windowOf(p *halt.Policy) time.Duration {
	if p.Window == 0 {
		return []time.Duration{0, time.Hour, day, 7 * day, 30 * day, 365 * day}[p.Period.Unit]
	}
	return p.Window
}

func clone(s algorithm.State) algorithm.State {
	s.Counts = slices.Clone(s.Counts)
	return s
}

// world is one key's state and the time.
type world struct {
	s         algorithm.State
	now, high halt.Instant
}

// back sets the clock back, never to 10 s before the latest that it has shown.
func (w *world) back(rng *rand.Rand) {
	w.high = max(w.high, w.now)
	w.now = max(w.now-halt.Instant(rng.Int64N(9_000_000)), w.high-8_900_000)
}

func (w *world) do(p halt.Policy, m halt.Mode, cost int64) halt.Decision {
	d, _ := algorithm.Decide(&halt.Charge{Policy: p, Key: "k", Cost: cost, Mode: m}, &w.s, w.now)
	return d
}

func (w *world) take(p halt.Policy, cost int64) halt.Decision { return w.do(p, halt.Take, cost) }
func (w *world) peek(p halt.Policy, cost int64) halt.Decision { return w.do(p, halt.Peek, cost) }

// fork returns a world of the same state that goes its own way.
func (w *world) fork() *world { return &world{s: clone(w.s), now: w.now, high: w.high} }

// wander lets some traffic happen: Takes, Peeks, Debits and the passing of time, now and then a step back of the clock.
func (w *world) wander(rng *rand.Rand, p halt.Policy, steps int) {
	for range steps {
		m := pick(rng, halt.Take, halt.Take, halt.Take, halt.Peek, halt.Debit)
		w.do(p, m, cost(rng, &p))
		w.now += gap(rng, &p)
		if rng.IntN(20) == 0 {
			w.back(rng)
		}
	}
}

// cost returns what a charge may cost: often little, at times more than fits.
func cost(rng *rand.Rand, p *halt.Policy) int64 {
	c := p.Capacity()
	return pick(rng, 1, 1, 1, 2, 0, c, c/2, c/3+1, rng.Int64N(c)+1, c+1)
}

// gap returns µs between two calls.
func gap(rng *rand.Rand, p *halt.Policy) halt.Instant {
	w := windowOf(p)
	return micros(pick(rng, 0, 0, 0, p.Tick(), w/time.Duration(min(p.Limit, 1<<40)), w/time.Duration(min(p.Limit, 1<<40))*3,
		w/10, w, time.Duration(rng.Int64N(int64(w))), time.Duration(rng.Int64N(int64(w)/8+1))))
}

func describe(p *halt.Policy) string { return fmt.Sprintf("%+v", *p) }
