package halt_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
)

// single is a store that decides one charge at a time, and lets a test step in before each.
type single struct {
	model  *storetest.Model
	before func(n int, c halt.Charge) error // n counts from 0
	mu     sync.Mutex
	seen   []halt.Charge
}

func (s *single) one(ctx context.Context, c halt.Charge) (halt.Decision, error) {
	s.mu.Lock()
	n := len(s.seen)
	s.seen = append(s.seen, c)
	s.mu.Unlock()
	if s.before != nil {
		if err := s.before(n, c); err != nil {
			return halt.Decision{}, err
		}
	}
	return s.model.One(ctx, c)
}

func (s *single) take(t *testing.T, cs ...halt.Charge) (halt.Decisions, error) {
	t.Helper()
	ds := make(halt.Decisions, len(cs))
	err := halt.TakeEach(t.Context(), cs, ds, s.one)
	return ds, err
}

// modes returns the modes of what was asked, in order.
func (s *single) modes() (modes []halt.Mode) {
	for _, c := range s.seen {
		modes = append(modes, c.Mode)
	}
	return modes
}

func (s *single) left(t *testing.T, c halt.Charge) int64 {
	t.Helper()
	c.Mode, c.Cost = halt.Peek, 0
	return must[halt.Decision](t)(s.model.One(t.Context(), c)).Remaining
}

func newSingle() (*single, *storetest.Clock) {
	clock := storetest.NewClock(noon)
	return &single{model: storetest.NewModel(clock.Now)}, clock
}

func window(name string, limit int64) halt.Policy {
	return halt.Policy{Name: name, Limit: limit, Window: 1000 * time.Hour, Algorithm: halt.FixedWindow}
}

// TestTakeEachAlone: a single charge is asked once, with no look first.
func TestTakeEachAlone(t *testing.T) {
	t.Parallel()
	s, _ := newSingle()
	ds, err := s.take(t, window("a", 1).Charge("k", 1), halt.Charge{Policy: window("b", 1), Key: "k", Cost: 5, Mode: halt.Debit})
	if err != nil || !ds.Allowed() || !slices.Equal(s.modes(), []halt.Mode{halt.Take, halt.Debit}) {
		t.Errorf("%v %+v, %v", s.modes(), ds, err)
	}
}

// TestTakeEachOrder: all are looked at, then taken in order, leaky buckets last; the rest follows.
func TestTakeEachOrder(t *testing.T) {
	t.Parallel()
	s, _ := newSingle()
	leaky := halt.Policy{Name: "leaky", Limit: 5, Window: time.Hour, Algorithm: halt.LeakyBucket}
	cs := []halt.Charge{
		{Policy: window("shadow", 1), Key: "k", Cost: 1, Mode: halt.Shadow},
		leaky.Charge("k", 1), window("own", 1).Charge("k", 1),
		{Policy: window("peek", 1), Key: "k", Cost: 1, Mode: halt.Peek},
		window("shared", 1).Charge("all", 1),
		{Policy: window("debit", 1), Key: "k", Cost: 2, Mode: halt.Debit},
	}
	ds, err := s.take(t, cs...)
	if err != nil || !ds.Allowed() {
		t.Fatalf("%+v, %v", ds, err)
	}
	for i, m := range s.modes()[:4] {
		if m != halt.Peek {
			t.Errorf("call %d is a %s", i, m)
		}
	}
	var order []string
	for _, c := range s.seen[4:] {
		order = append(order, c.Policy.Name)
	}
	if want := []string{"own", "peek", "shared", "leaky", "shadow", "debit"}; !slices.Equal(order, want) {
		t.Errorf("%q", order)
	}
	for i, c := range cs {
		if ds[i].Mode != c.Mode {
			t.Errorf("decision %d is on a %s, not a %s", i, ds[i].Mode, c.Mode)
		}
	}
}

// TestTakeEachRefused: after a refusal in the first look nothing is taken, and only blocks are written.
func TestTakeEachRefused(t *testing.T) {
	t.Parallel()
	s, _ := newSingle()
	own, shared, blocks := window("own", 1), window("shared", 9), window("blocks", 1)
	blocks.Block = time.Hour
	for _, p := range []halt.Policy{own, blocks} {
		if _, err := s.take(t, p.Charge("k", 1)); err != nil {
			t.Fatal(err)
		}
	}
	s.seen = nil
	ds, err := s.take(t, own.Charge("k", 1), blocks.Charge("k", 1), shared.Charge("all", 1))
	if err != nil || ds.Allowed() || ds[0].Blocked || !ds[1].Blocked || !ds[2].Allowed || ds[2].Remaining != 9 || ds[2].Mode != halt.Take {
		t.Errorf("%+v, %v", ds, err)
	}
	if want := []halt.Mode{halt.Peek, halt.Peek, halt.Peek, halt.Take}; !slices.Equal(s.modes(), want) {
		t.Errorf("%v", s.modes())
	}
	s.seen = nil
	ds, err = s.take(t, blocks.Charge("k", 1), window("wide", 1).Charge("k", 2), shared.Charge("all", 1))
	if err != nil || ds.RetryAfter() != halt.Never || len(s.seen) != 3 {
		t.Errorf("blocked already: %v %+v, %v", s.modes(), ds, err)
	}
	if n := s.left(t, shared.Charge("all", 0)); n != 9 {
		t.Errorf("the shared budget has %d left", n)
	}
}

// TestTakeEachLate: somebody else is quicker between the look and the Takes. What was taken is given back.
func TestTakeEachLate(t *testing.T) {
	t.Parallel()
	s, _ := newSingle()
	a, b, c := window("a", 5), window("b", 5), window("c", 1)
	leaky := halt.Policy{Name: "leaky", Limit: 5, Window: time.Hour, Algorithm: halt.LeakyBucket}
	s.before = func(n int, _ halt.Charge) error {
		if n == 4 { // after four Peeks
			_, err := s.model.One(t.Context(), c.Charge("all", 1))
			return err
		}
		return nil
	}
	ds, err := s.take(t, leaky.Charge("k", 1), a.Charge("k", 2), b.Charge("k", 3), c.Charge("all", 1))
	if err != nil || ds.Allowed() || ds[3].Allowed || ds[3].RetryAfter == 0 {
		t.Fatalf("%+v, %v", ds, err)
	}
	want := []halt.Mode{halt.Peek, halt.Peek, halt.Peek, halt.Peek, halt.Take, halt.Take, halt.Take, halt.Credit, halt.Credit}
	if !slices.Equal(s.modes(), want) {
		t.Errorf("%v", s.modes())
	}
	for _, p := range []halt.Policy{a, b, leaky} {
		if n := s.left(t, p.Charge("k", 0)); n != p.Capacity() {
			t.Errorf("%s: %d left", p.Name, n)
		}
	}
	for i, p := range []halt.Policy{leaky, a, b} { // as a Peek would read
		if d := ds[i]; d.Mode != halt.Take || !d.Allowed || d.Remaining != p.Capacity() || d.ResetAfter != 0 {
			t.Errorf("%s: %+v", p.Name, d)
		}
	}
}

// TestTakeEachBlockLate: a charge that has come to fit when its block is to be written is given back: its call is refused.
func TestTakeEachBlockLate(t *testing.T) {
	t.Parallel()
	s, clock := newSingle()
	p, q := halt.Policy{Name: "p", Limit: 1, Window: time.Second, Algorithm: halt.FixedWindow, Block: time.Minute}, window("q", 5)
	if _, err := s.take(t, p.Charge("k", 1)); err != nil {
		t.Fatal(err)
	}
	s.before = func(n int, _ halt.Charge) error {
		if n == 3 {
			clock.Advance(2 * time.Second)
		}
		return nil
	}
	ds, err := s.take(t, p.Charge("k", 1), q.Charge("k", 1))
	if err != nil || ds.Allowed() || ds[0].Blocked {
		t.Fatalf("%+v, %v", ds, err)
	}
	if n, m := s.left(t, p.Charge("k", 0)), s.left(t, q.Charge("k", 0)); n != 1 || m != 5 {
		t.Errorf("%d and %d left", n, m)
	}
}

// TestTakeEachErrors: an error at any step is the call's. What was taken before it is given back, even if the caller
// has gone.
func TestTakeEachErrors(t *testing.T) {
	t.Parallel()
	a, b, c := window("a", 5), window("b", 5), window("c", 5)
	fault := errors.New("fault")
	for at := range 9 {
		s, _ := newSingle()
		ctx, cancel := context.WithCancel(t.Context())
		s.before = func(n int, c halt.Charge) error {
			if n == at && c.Mode != halt.Credit {
				cancel()
				return fault
			}
			return nil
		}
		cs := []halt.Charge{a.Charge("k", 1), b.Charge("k", 1), c.Charge("k", 1), {Policy: a, Key: "s", Cost: 1, Mode: halt.Shadow}, {Policy: a, Key: "d", Cost: 1, Mode: halt.Debit}}
		err := halt.TakeEach(ctx, cs, make([]halt.Decision, len(cs)), s.one)
		cancel()
		// The other two looks may tell that the caller has gone.
		if failed := at < 8; (err != nil) != failed || failed && at > 2 && !errors.Is(err, fault) {
			t.Errorf("a fault at call %d: %v", at, err)
		}
		for _, p := range []halt.Policy{a, b, c} {
			want := int64(5)
			if at >= 6 { // all were taken
				want = 4
			}
			if n := s.left(t, p.Charge("k", 0)); n != want {
				t.Errorf("a fault at call %d: %d of %s left, not %d", at, n, p.Name, want)
			}
		}
	}
	// A Credit that errs is not sent again.
	s, _ := newSingle()
	credits := 0
	s.before = func(n int, c halt.Charge) error {
		if c.Mode == halt.Credit {
			credits++
		}
		if n == 5 || c.Mode == halt.Credit {
			return fault
		}
		return nil
	}
	if _, err := s.take(t, a.Charge("k", 1), b.Charge("k", 1), c.Charge("k", 1)); !errors.Is(err, fault) || credits != 2 {
		t.Errorf("%v, %d Credits", err, credits)
	}
}

// TestTakeEachConcurrent: under contention it may refuse falsely; it never admits too much, and what it refused is not
// spent in the end.
func TestTakeEachConcurrent(t *testing.T) {
	t.Parallel()
	s, _ := newSingle()
	ps := []halt.Policy{window("a", 40), window("b", 60), window("c", 30), {Name: "d", Limit: 50, Window: 1000 * time.Hour, Algorithm: halt.SlidingWindow}}
	spent := make([]atomic.Int64, len(ps))
	var wg sync.WaitGroup
	for g := range 32 {
		rng := rand.New(rand.NewPCG(uint64(g), 8))
		wg.Go(func() {
			for range 20 {
				order := rng.Perm(len(ps))[:1+rng.IntN(len(ps))]
				var cs []halt.Charge
				for _, i := range order {
					cs = append(cs, ps[i].Charge("all", 1+rng.Int64N(2)))
				}
				ds := make(halt.Decisions, len(cs))
				if err := halt.TakeEach(t.Context(), cs, ds, s.one); err != nil {
					t.Error(err)
				}
				if ds.Allowed() {
					for k, i := range order {
						spent[i].Add(cs[k].Cost)
					}
				}
			}
		})
	}
	wg.Wait()
	for i, p := range ps {
		n := spent[i].Load()
		if left := s.left(t, p.Charge("all", 0)); n > p.Limit || left != p.Limit-n {
			t.Errorf("%s admitted %d of %d, and has %d left", p.Name, n, p.Limit, left)
		}
	}
}

// TestTakeEachLikeOneStep: for a caller alone it is the same as one step.
func TestTakeEachLikeOneStep(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(9, 9))
	clock := storetest.NewClock(noon)
	each, whole := &single{model: storetest.NewModel(clock.Now)}, storetest.NewModel(clock.Now)
	var ps []halt.Policy
	for i := range 6 {
		ps = append(ps, halt.Policy{
			Name: fmt.Sprint("p", i), Limit: 1 + rng.Int64N(4), Window: time.Second, Algorithm: halt.Algorithm(i % 5), Block: time.Duration(i/4) * time.Second,
		})
	}
	for range 3000 {
		var cs []halt.Charge
		for _, i := range rng.Perm(len(ps))[:1+rng.IntN(4)] {
			cs = append(cs, halt.Charge{Policy: ps[i], Key: "k", Cost: rng.Int64N(3), Mode: halt.Mode(rng.IntN(4))})
		}
		want := make(halt.Decisions, len(cs))
		if err := whole.Take(t.Context(), cs, want); err != nil {
			t.Fatal(err)
		}
		if got, err := each.take(t, cs...); err != nil || !slices.Equal(got, want) {
			t.Fatalf("%+v: %+v, not %+v, %v", cs, got, want, err)
		}
		each.seen = nil
		clock.Advance(time.Duration(rng.IntN(400)) * time.Millisecond)
	}
}
