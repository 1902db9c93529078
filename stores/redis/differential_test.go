package haltredis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/algorithm"
	"github.com/halt-dev/halt/core/combine"
	"github.com/halt-dev/halt/core/storetest"
)

// The script against the arithmetic that it repeats: thousands of batches of random calls, with limits, costs and clocks up to
// the largest there are. What the script leaves in Redis is what the next batch starts from, and decisions have to stay those
// of states that never left this process.
func TestDifferential(t *testing.T) {
	seed, _ := strconv.ParseUint(os.Getenv("HALT_SEED"), 10, 64)
	batches := 2000
	if testing.Short() {
		batches = 200
	}
	s, client, _ := newStore(t, &patient)
	clock := storetest.NewClock(start)
	s.now = clock.Now
	calls := 0
	for round := range uint64(4) {
		flush(t, client)
		d := &differential{t: t, s: s, rng: rand.New(rand.NewPCG(seed, round)), states: map[string]*algorithm.State{}}
		d.invent()
		for range batches / 4 {
			if d.rng.IntN(10) == 0 {
				d.invent()
			}
			now := clock.Advance(d.pause())
			if now < 0 || now > 1<<52 {
				clock.Set(halt.InstantOf(start))
				flush(t, client)
				clear(d.states)
				now = clock.Now()
			}
			calls += d.batch(now)
		}
	}
	t.Logf("%d calls (HALT_SEED=%d)", calls, seed)
}

type differential struct {
	t        *testing.T
	s        *Store
	rng      *rand.Rand
	policies []halt.Policy
	states   map[string]*algorithm.State
	taken    []halt.Charge // credits for what was taken
	names    int
	now      halt.Instant
	over     map[string]bool // what is as never seen since the batch's last change
}

func pick[T any](rng *rand.Rand, from ...T) T { return from[rng.IntN(len(from))] }

// invent makes policies: of each shape two, which share their budgets.
func (d *differential) invent() {
	d.policies, d.taken = d.policies[:0], d.taken[:0]
	for len(d.policies) < 20 {
		d.names++
		p := halt.Policy{
			Name: fmt.Sprint("p", d.names), Algorithm: halt.Algorithm(d.rng.IntN(5)),
			Window: pick(d.rng, time.Millisecond, 977*time.Millisecond, time.Second, time.Minute, time.Hour, 24*time.Hour, 24*time.Hour+time.Second,
				3650*24*time.Hour, time.Duration(1+d.rng.Int64N(60_000_000))*time.Microsecond),
		}
		if p.Algorithm >= halt.SlidingWindow {
			p.Precision = pick(d.rng, 0, 1, 3, 10, 59, 60)
		}
		if p.Algorithm == halt.FixedWindow && d.rng.IntN(3) == 0 {
			p.Window = 0
			p.Period = halt.Period{Unit: halt.Unit(1 + d.rng.IntN(5)), Zone: pick(d.rng, "", "America/Sao_Paulo", "Australia/Lord_Howe")}
		}
		for range 2 {
			q := p
			q.Limit = pick(d.rng, 1, 2, 7, 100, 255, 256, 65535, 65536, 1<<32-1, 1<<32, 1<<40, 1<<52-1, 1+d.rng.Int64N(1<<52-1))
			if p.Algorithm <= halt.LeakyBucket {
				q.Burst = pick(d.rng, 0, 1, 5, q.Limit/2+1, 1<<20, 1+d.rng.Int64N(1<<50))
			}
			q.Block = pick(d.rng, 0, 0, p.Tick(), time.Hour, 3650*24*time.Hour)
			if q.Validate() == nil {
				d.policies = append(d.policies, q)
			}
		}
	}
}

// pause returns how far the clock moves, often not at all, sometimes back.
func (d *differential) pause() time.Duration {
	return pick(d.rng, 0, 0, time.Microsecond, time.Duration(d.rng.Int64N(int64(time.Second))), time.Duration(d.rng.Int64N(int64(time.Hour))),
		-time.Duration(d.rng.Int64N(int64(12*time.Second))), 10*time.Second, -10*time.Second, -10*time.Second-time.Microsecond,
		pick(d.rng, 24*time.Hour, 400*24*time.Hour)).Truncate(time.Microsecond)
}

// cost returns a cost, which may be beyond all bounds.
func (d *differential) cost(p *halt.Policy) int64 {
	c := p.Capacity()
	return pick(d.rng, 0, 1, 1, 2, c, c-1, c/2, c/3+1, c+1, 1+d.rng.Int64N(c), 1<<52, 1<<53-1, 1<<53+1, 1<<63-1)
}

func (d *differential) charge() halt.Charge {
	p := pick(d.rng, d.policies...)
	c := p.Charge(pick(d.rng, "k", "l"), d.cost(&p))
	switch n := d.rng.IntN(12); {
	case n < 6:
	case n < 8:
		c.Mode = halt.Peek
	case n < 9:
		c.Mode = halt.Shadow
	case n < 10:
		c.Mode, c.Shadow = halt.Debit, d.rng.IntN(4) == 0
	case n < 11: // of a take that never was
		w := max(halt.Instant(p.Window.Microseconds()), 1)
		c.Mode, c.Taken = halt.Credit, max(c.Cost, d.cost(&p))
		c.At = max(0, pick(d.rng, d.now, d.now-d.now%w, d.now-d.now%w+w, d.now-d.now%w-1, d.now-halt.Instant(d.rng.Int64N(int64(2*w))), 0, 1<<53))
	case len(d.taken) > 0:
		c = pick(d.rng, d.taken...)
		c.Cost = pick(d.rng, c.Taken, c.Taken/2, c.Taken-c.Taken/3)
	}
	return c
}

// together is a call of a batch, with what became of it.
type together struct {
	charges   []halt.Charge
	decisions []halt.Decision
	err       error
}

func newTogether(cs []halt.Charge) *together {
	return &together{charges: cs, decisions: make([]halt.Decision, len(cs))}
}

// batch makes a batch of calls, and compares all decisions. It returns how many calls there were.
func (d *differential) batch(now halt.Instant) int {
	d.over, d.now = map[string]bool{}, now
	var calls []*together
	for range 1 + d.rng.IntN(150) {
		var cs []halt.Charge
		n := 1
		if d.rng.IntN(4) == 0 {
			n += d.rng.IntN(6)
		}
		seen := map[string]bool{}
		for range n {
			c := d.charge()
			if key := halt.StorageKey("", c); !seen[key] {
				seen[key] = true
				cs = append(cs, c)
			}
		}
		for range pick(d.rng, 1, 1, 1, 4) { // the same again, in a row
			calls = append(calls, newTogether(cs))
		}
		if len(cs) > 1 {
			continue
		}
		for range pick(d.rng, 0, 0, 0, 0, 8) { // and on other keys
			cs = slices.Clone(cs)
			cs[0].Key = fmt.Sprint("m", d.rng.IntN(20))
			for range pick(d.rng, 1, 1, 1, 3) {
				calls = append(calls, newTogether(cs))
			}
		}
	}
	d.s.clock.Learn(now) // or calls on periods would be sent twice, and come last
	d.send(calls)
	// Those of several charges come last in a batch.
	slices.SortStableFunc(calls, func(a, b *together) int { return min(len(a.charges), 2) - min(len(b.charges), 2) })
	for i, w := range calls {
		if w.err != nil {
			d.t.Fatalf("call %d, %+v: %v", i, w.charges, w.err)
		}
		d.compare(w, now)
	}
	for key, over := range d.over {
		if over { // a store may forget it, and the clock may step back
			delete(d.states, key)
		}
	}
	return len(calls)
}

// send makes one batch of the calls, in their order: they wait behind one that is held up.
func (d *differential) send(calls []*together) {
	g := gate{flight: newFlight(d.s), held: make(chan struct{}), open: make(chan struct{})}
	c := combine.New(combine.Options{Timeout: time.Minute, MaxBatch: mostCalls, InFlight: 1},
		func() combine.Sender[*way, own] { return g })
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = c.Take(context.Background(), d.s.single, nil, nil, own{})
	})
	<-g.held
	waits := make(chan struct{})
	for _, w := range calls {
		wg.Go(func() {
			w.err = c.Take(waiting{context.Background(), waits}, d.s.single, w.charges, w.decisions, own{})
		})
		<-waits
	}
	close(g.open)
	wg.Wait()
}

// gate is a sender that holds up a batch of no charges until it is opened.
type gate struct {
	*flight
	held, open chan struct{}
}

func (g gate) Send(ctx context.Context, w *way, calls []*call) {
	if len(calls[0].Charges) > 0 {
		g.flight.Send(ctx, w, calls)
		return
	}
	close(g.held)
	<-g.open
	calls[0].Answer(nil)
}

// compare decides the call here and compares.
func (d *differential) compare(w *together, now halt.Instant) {
	n := len(w.charges)
	states, changed, want := make([]algorithm.State, n), make([]bool, n), make([]halt.Decision, n)
	for i, c := range w.charges {
		if s := d.states[halt.StorageKey("", c)]; s != nil {
			states[i] = *s
		}
	}
	algorithm.DecideAll(w.charges, states, now, want, changed)
	for i, c := range w.charges {
		if w.decisions[i] != want[i] {
			d.t.Fatalf("%+v at %d: %+v, want %+v", c, now, w.decisions[i], want[i])
		}
		if changed[i] {
			s := states[i]
			d.states[halt.StorageKey("", c)] = &s
			d.over[halt.StorageKey("", c)] = want[i].ResetAfter == 0
		}
		if c.Mode == halt.Take && c.Cost > 0 && halt.Decisions(want).Allowed() && len(d.taken) < 50 {
			c.Mode, c.At, c.Taken = halt.Credit, want[i].At, c.Cost
			d.taken = append(d.taken, c)
		}
	}
}
