package storetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // calendar quotas do not depend on the machine

	halt "github.com/halt-dev/halt/core"
)

// start is when a trial begins where time is made: far from zero, and not on any edge.
var start = time.Date(2026, time.March, 14, 15, 9, 26, 535897*1000, time.UTC)

// trial is one case's go at a store: the store, and the replica that its answers are held against.
type trial struct {
	tb      testing.TB
	h       *Harness
	ctx     context.Context
	store   halt.Store
	replica *replica
	rng     *rand.Rand
	names   int
	made    time.Duration // how much time the trial has made to pass
}

func newTrial(tb testing.TB, h *Harness) *trial {
	tb.Helper()
	if h.Bubble {
		time.Sleep(time.Until(start)) //nolint:forbidigo // in a bubble, where it takes no time
	}
	seed, _ := strconv.ParseUint(os.Getenv("HALT_SEED"), 10, 64)
	e := &trial{
		tb: tb, h: h, ctx: tb.Context(), store: h.New(tb), rng: rand.New(rand.NewPCG(seed, 7)),
		replica: newReplica(h.Resolution, h.Atomic),
	}
	if e.store == nil {
		fail("New returned no store")
	}
	return e
}

// virtual tells whether time passes at once.
func (e *trial) virtual() bool { return e.h.Advance != nil || e.h.Bubble }

// times is how often to repeat what random traffic does n times where nothing is slow.
func (e *trial) times(n int) int {
	if !e.virtual() {
		n /= 4
	}
	if testing.Short() {
		n /= 4
	}
	return max(n, 1)
}

// name returns a policy's name that the trial has not used.
func (e *trial) name() string {
	e.names++
	return "policy-" + strconv.Itoa(e.names)
}

// still returns a policy under which nothing drains and no window ends while a case runs: windows of days and longer.
func (e *trial) still(a halt.Algorithm, limit int64) halt.Policy {
	p := halt.Policy{Name: e.name(), Algorithm: a, Limit: limit, Window: 100 * 24 * time.Hour}
	if a == halt.FixedWindow {
		p.Window = 1000 * 24 * time.Hour
	}
	if a == halt.LeakyBucket {
		if p.Burst = limit - 1; p.Burst == 0 {
			p.Burst = -1
		}
	}
	return p
}

// quick returns a policy whose windows pass while a case runs.
func (e *trial) quick(a halt.Algorithm, limit int64) halt.Policy {
	p := e.still(a, limit)
	p.Window = 80 * time.Millisecond
	if e.virtual() {
		p.Window = 20 * time.Second
	}
	return p
}

// take makes the call, holds its decisions against the replica's, and returns them.
func (e *trial) take(cs ...halt.Charge) halt.Decisions {
	ds, err := e.attempt(cs...)
	if err != nil {
		fail("Take of %s: %v", show(cs), err)
	}
	again, err := e.replica.follow(cs, ds)
	if err != nil {
		fail("Take of %s: %v", show(cs), err)
	}
	for _, c := range again {
		e.reset(c.Policy, c.Key)
	}
	return ds
}

// attempt makes the call and returns its error. The decisions are given some rubbish to write over.
func (e *trial) attempt(cs ...halt.Charge) (halt.Decisions, error) {
	before := slices.Clone(cs)
	ds := make(halt.Decisions, len(cs))
	for i := range ds {
		ds[i] = halt.Decision{Mode: 77, Allowed: true, Blocked: true, Limit: -7, Remaining: -7, ResetAfter: -7, RetryAfter: -7, Delay: -7, At: -7}
	}
	err := e.store.Take(e.ctx, cs, ds)
	if !slices.Equal(before, cs) {
		fail("Take changed its charges from %s to %s", show(before), show(cs))
	}
	return ds, err
}

// one is take of a single charge.
func (e *trial) one(c halt.Charge) halt.Decision { return e.take(c)[0] }

// peek returns what a Take of cost would be told.
func (e *trial) peek(c halt.Charge, cost int64) halt.Decision {
	return e.one(halt.Charge{Policy: c.Policy, Key: c.Key, Cost: cost, Mode: halt.Peek})
}

// spend takes c n times, and wants each allowed.
func (e *trial) spend(c halt.Charge, n int) (last halt.Decision) {
	for i := range n {
		if last = e.one(c); !last.Allowed {
			fail("of %d charges that fit, number %d was refused: %s, %+v", n, i+1, show([]halt.Charge{c}), last)
		}
	}
	return last
}

func (e *trial) reset(p halt.Policy, key string) {
	if err := e.store.Reset(e.ctx, p, key); err != nil {
		fail("Reset of %q: %v", short(key), err)
	}
	e.replica.forget(p, key)
}

// now returns what the store's clock shows, to 1 µs or its resolution.
func (e *trial) now() halt.Instant {
	p := halt.Policy{Name: "clock", Limit: 1, Window: time.Second}
	return e.one(halt.Charge{Policy: p, Key: "clock", Mode: halt.Peek}).At
}

// pass lets at least d pass: exactly d where time is made.
func (e *trial) pass(d time.Duration) {
	if e.made += d; e.made > 150*365*24*time.Hour {
		d = min(d, time.Minute)
	}
	switch {
	case d <= 0 && e.h.Advance == nil:
	case e.h.Advance != nil:
		e.h.Advance(e.tb, e.store, d)
		e.replica.passed(d)
	case e.h.Bubble:
		time.Sleep(d) //nolint:forbidigo // in a bubble, where it takes no time
		e.replica.passed(d)
	default:
		for from := e.now(); ; {
			since := time.Duration(e.now()-from) * time.Microsecond
			if since >= d+e.h.Resolution {
				return
			}
			t := time.NewTimer(d + e.h.Resolution - since)
			select {
			case <-t.C:
			case <-e.ctx.Done():
				fail("waiting for the store's clock to pass %v: %v", d, e.ctx.Err())
			}
		}
	}
}

// check fails the trial unless ok.
func (e *trial) check(ok bool, format string, args ...any) {
	if !ok {
		fail(format, args...)
	}
}

// show prints charges, the keys cut short.
func show(cs []halt.Charge) string {
	var b strings.Builder
	for i := range cs {
		c := cs[i]
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s %d of %q under %s", c.Mode, c.Cost, short(c.Key), showPolicy(&c.Policy))
		if c.Mode == halt.Credit {
			fmt.Fprintf(&b, " (of %d taken at %d)", c.Taken, c.At)
		}
		if c.Shadow {
			b.WriteString(" on the shadow")
		}
	}
	return b.String()
}

func showPolicy(p *halt.Policy) string {
	s := fmt.Sprintf("{%s: %s, %d per %v", p.Name, p.Algorithm, p.Limit, p.Window)
	if p.Period.Unit != halt.None {
		s += p.Period.String()
	}
	if p.Burst != 0 {
		s += fmt.Sprintf(", burst %d", p.Burst)
	}
	if p.Precision != 0 {
		s += fmt.Sprintf(", precision %d", p.Precision)
	}
	if p.Block != 0 {
		s += fmt.Sprintf(", block %v", p.Block)
	}
	return s + "}"
}

func short(key string) string {
	if len(key) > 40 {
		return key[:40] + "..."
	}
	return key
}

// algorithms are all there are.
var algorithms = []halt.Algorithm{
	halt.TokenBucket, halt.LeakyBucket, halt.FixedWindow, halt.SlidingWindow, halt.InFlight,
}
