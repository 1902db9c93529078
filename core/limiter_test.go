package halt_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
)

// noon is when the tests' clocks start.
var noon = time.Date(2026, time.March, 14, 12, 0, 0, 0, time.UTC)

// scripted is a store that does what a test tells it to, or else what the model does.
type scripted struct {
	*storetest.Model
	mu   sync.Mutex
	take func(cs []halt.Charge) error // nil, or nil returned: go on
	all  [][]halt.Charge              // calls that came here
}

func (s *scripted) Take(ctx context.Context, cs []halt.Charge, ds []halt.Decision) error {
	s.mu.Lock()
	s.all = append(s.all, append([]halt.Charge(nil), cs...))
	take := s.take
	s.mu.Unlock()
	if take != nil {
		if err := take(cs); err != nil {
			return err
		}
	}
	return s.Model.Take(ctx, cs, ds)
}

func (s *scripted) Reset(ctx context.Context, p halt.Policy, key string) error {
	if s.take != nil {
		if err := s.take(nil); err != nil {
			return err
		}
	}
	return s.Model.Reset(ctx, p, key)
}

func (s *scripted) calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

func modelled(take func(cs []halt.Charge) error) (*halt.Limiter, *scripted, *storetest.Clock) {
	clock := storetest.NewClock(noon)
	s := &scripted{Model: storetest.NewModel(clock.Now), take: take}
	return halt.New(s, nil), s, clock
}

func must[T any](t *testing.T) func(v T, err error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

var perMinute = halt.Policy{Name: "per-minute", Limit: 3, Window: time.Minute, Algorithm: halt.SlidingWindow}

func TestLimiterAllow(t *testing.T) {
	t.Parallel()
	ctx, ok := t.Context(), must[halt.Decision](t)
	l, _, clock := modelled(nil)
	for left := int64(2); left >= 0; left-- {
		if d := ok(l.Allow(ctx, perMinute, "k")); !d.Allowed || d.Remaining != left || d.Limit != 3 || d.At != clock.Now() {
			t.Fatalf("%d left: %+v", left, d)
		}
	}
	if d := ok(l.Allow(ctx, perMinute, "k")); d.Allowed || d.RetryAfter <= 0 {
		t.Fatalf("a fourth: %+v", d)
	}
	if d := ok(l.Peek(ctx, perMinute, "k")); d.Allowed || d.Mode != halt.Peek {
		t.Fatalf("a Peek: %+v", d)
	}
	if d := ok(l.AllowN(ctx, perMinute, "k", 0)); !d.Allowed {
		t.Fatalf("a cost of 0: %+v", d)
	}
	if err := l.Reset(ctx, perMinute, "k"); err != nil {
		t.Fatal(err)
	}
	if d := ok(l.AllowN(ctx, perMinute, "k", 3)); !d.Allowed || d.Remaining != 0 {
		t.Fatalf("after a Reset: %+v", d)
	}
	if d := ok(l.AllowN(ctx, perMinute, "l", 4)); d.Allowed || d.RetryAfter != halt.Never {
		t.Fatalf("more than ever fits: %+v", d)
	}
	if d := ok(l.AllowN(ctx, perMinute, "l", 3)); !d.Allowed {
		t.Fatalf("another key: %+v", d)
	}
}

func TestLimiterAllowAll(t *testing.T) {
	t.Parallel()
	ctx, ok := t.Context(), must[halt.Decisions](t)
	l, s, _ := modelled(nil)
	small := halt.Policy{Name: "small", Limit: 1, Window: time.Hour, Algorithm: halt.FixedWindow}
	shadow := halt.Charge{Policy: small, Key: "k", Cost: 1, Mode: halt.Shadow}
	leaky := halt.Policy{Name: "leaky", Limit: 1, Window: time.Second, Algorithm: halt.LeakyBucket, Burst: 5}
	ds := ok(l.AllowAll(ctx, perMinute.Charge("k", 1), small.Charge("k", 1), shadow, leaky.Charge("k", 1)))
	if !ds.Allowed() || ds.RetryAfter() != 0 || ds.Delay() != 0 || len(ds) != 4 {
		t.Fatalf("%+v", ds)
	}
	ds = ok(l.AllowAll(ctx, perMinute.Charge("k", 1), shadow, leaky.Charge("k", 1)))
	if !ds.Allowed() || ds[1].Allowed || ds.Delay() != time.Second || ds.RetryAfter() != 0 {
		t.Fatalf("a refused shadow: %+v", ds)
	}
	ds = ok(l.AllowAll(ctx, perMinute.Charge("k", 2), small.Charge("k", 1), leaky.Charge("l", 99)))
	if ds.Allowed() || ds.RetryAfter() != halt.Never || ds[1].RetryAfter != 59*time.Minute+60*time.Second {
		t.Fatalf("refused for two reasons: %+v", ds)
	}
	before := s.calls()
	if ds = ok(l.AllowAll(ctx)); !ds.Allowed() || len(ds) != 0 || s.calls() != before {
		t.Fatalf("no charges: %+v", ds)
	}
	if _, err := l.AllowAll(ctx, perMinute.Charge("k", 1), perMinute.Charge("k", 2)); !errors.Is(err, halt.ErrInvalidCharge) || strings.Contains(err.Error(), `"k"`) {
		t.Fatalf("one budget twice: %v", err)
	}
	if _, err := l.AllowAll(ctx, perMinute.Charge("k", 1), perMinute.Charge("l", 1)); err != nil {
		t.Fatalf("one policy, two keys: %v", err)
	}
}

// TestLimiterInvalid: what is wrong is found before the store is asked.
func TestLimiterInvalid(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	l, s, _ := modelled(nil)
	bad := halt.Policy{Name: "bad", Limit: -3, Window: time.Second}
	for what, f := range map[string]func() error{
		"Allow":   func() error { _, err := l.Allow(ctx, bad, "k"); return err },
		"Peek":    func() error { _, err := l.Peek(ctx, bad, "k"); return err },
		"Reset":   func() error { return l.Reset(ctx, bad, "k") },
		"Wait":    func() error { return l.Wait(ctx, bad, "k") },
		"Reserve": func() error { _, err := l.Reserve(ctx, bad, "k", 1); return err },
		"Do":      func() error { return l.Do(ctx, &halt.Call{Charges: []halt.Charge{bad.Charge("k", 1)}}) },
	} {
		if err := f(); !errors.Is(err, halt.ErrInvalidPolicy) || halt.ErrorKind(err) != "invalid_policy" {
			t.Errorf("%s of an invalid policy: %v", what, err)
		}
	}
	for what, f := range map[string]func() error{
		"no key":            func() error { _, err := l.Allow(ctx, perMinute, ""); return err },
		"a negative cost":   func() error { _, err := l.AllowN(ctx, perMinute, "k", -1); return err },
		"Reset without key": func() error { return l.Reset(ctx, perMinute, "") },
		"a negative wait":   func() error { return l.WaitN(ctx, perMinute, "k", -1) },
		"reserving a Debit": func() error {
			_, err := l.ReserveAll(ctx, halt.Charge{Policy: perMinute, Key: "k", Mode: halt.Debit})
			return err
		},
		"reserving a Credit": func() error {
			_, err := l.ReserveAll(ctx, halt.Charge{Policy: perMinute, Key: "k", Mode: halt.Credit})
			return err
		},
	} {
		if err := f(); !errors.Is(err, halt.ErrInvalidCharge) || halt.ErrorKind(err) != "invalid_charge" {
			t.Errorf("%s: %v", what, err)
		}
	}
	if s.calls() != 0 {
		t.Errorf("the store was asked: %+v", s.all)
	}
}

func TestLimiterUnlimited(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	l, s, _ := modelled(nil)
	free := halt.Policy{Name: "free", Plan: "staff", Limit: halt.Unlimited}
	d := must[halt.Decision](t)(l.AllowN(ctx, free, "k", 1<<60))
	if !d.Allowed || d.Limit != halt.Unlimited || d.Remaining != math.MaxInt64 || s.calls() != 0 {
		t.Fatalf("alone: %+v, %d calls", d, s.calls())
	}
	if err := l.Reset(ctx, free, "k"); err != nil || l.Wait(ctx, free, "k") != nil {
		t.Fatal(err)
	}
	small := halt.Policy{Name: "small", Limit: 1, Window: time.Hour}
	other := free
	other.Name = "free2"
	for _, admitted := range []bool{true, false} {
		ds := must[halt.Decisions](t)(l.AllowAll(ctx, free.Charge("k", 1), small.Charge("k", 1), other.Charge("k", 1), perMinute.Charge("k", 1)))
		if ds.Allowed() != admitted || ds[0].Limit != halt.Unlimited || ds[1].Limit != 1 || ds[2].Limit != halt.Unlimited || ds[3].Limit != 3 || ds[3].Remaining != 2 {
			t.Fatalf("mixed: %+v", ds)
		}
	}
	for _, cs := range s.all {
		if len(cs) != 2 || cs[0].Policy.Name != "small" || cs[1].Policy.Name != "per-minute" {
			t.Fatalf("the store was asked for %+v", cs)
		}
	}
	if _, err := l.Allow(ctx, halt.Policy{Limit: halt.Unlimited}, "k"); !errors.Is(err, halt.ErrInvalidPolicy) {
		t.Errorf("without a name: %v", err)
	}
	if _, err := l.Allow(ctx, free, ""); !errors.Is(err, halt.ErrInvalidCharge) {
		t.Errorf("without a key: %v", err)
	}
}

// TestLimiterErrors: a store's error comes out as one of the kinds, and matches its cause.
func TestLimiterErrors(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	cause := errors.New("dial tcp 10.0.0.7:6379: connection refused")
	for _, c := range []struct {
		err, kind error
		label     string
	}{
		{cause, halt.ErrStore, "store"},
		{fmt.Errorf("reading: %w", context.DeadlineExceeded), halt.ErrDeadline, "deadline"},
		{context.Canceled, halt.ErrStore, "store"},
		{fmt.Errorf("swap: %w", halt.ErrContention), halt.ErrContention, "contention"},
		{&halt.StoreError{Kind: halt.ErrCorrupt, Cause: cause}, halt.ErrCorrupt, "corrupt"},
	} {
		s := &scripted{Model: storetest.NewModel(nil), take: func([]halt.Charge) error { return c.err }}
		l := halt.New(s, &halt.Options{Observers: []halt.Observer{silent{}}})
		_, single := l.Allow(ctx, perMinute, "k")
		ds, several := l.AllowAll(ctx, perMinute.Charge("k", 1), perMinute.Charge("l", 1))
		for _, err := range []error{single, several, l.Reset(ctx, perMinute, "k"), l.Wait(ctx, perMinute, "k")} {
			if !errors.Is(err, c.kind) || !errors.Is(err, c.err) || halt.ErrorKind(err) != c.label {
				t.Errorf("%v came out as %v (%s)", c.err, err, halt.ErrorKind(err))
			}
		}
		if ds != nil {
			t.Errorf("decisions beside an error: %+v", ds)
		}
	}
	if halt.ErrorKind(nil) != "" || halt.ErrorKind(cause) != "other" || halt.ErrorKind(context.Canceled) != "canceled" {
		t.Error("ErrorKind")
	}
	if s := (&halt.StoreError{Kind: halt.ErrStore}).Error(); s != halt.ErrStore.Error() {
		t.Errorf("without a cause: %s", s)
	}
}

// silent observes nothing, and keeps failures from slog.
type silent struct{}

func (silent) Start(ctx context.Context, _ *halt.Event) context.Context { return ctx }
func (silent) End(context.Context, *halt.Event)                         {}

// A caller who leaves is no failure of the store.
func TestLimiterCanceled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range []error{context.Canceled, &halt.StoreError{Kind: halt.ErrStore, Cause: context.Canceled}} {
		l := halt.New(&scripted{Model: storetest.NewModel(nil), take: func([]halt.Charge) error { return err }}, nil)
		if _, got := l.Allow(ctx, hourly, "k"); halt.ErrorKind(got) != "canceled" {
			t.Errorf("%v became %v, of kind %q", err, got, halt.ErrorKind(got))
		}
	}
}

// TestLimiterRemembersValid: a policy that was checked is not checked again, and no other passes for it.
func TestLimiterRemembersValid(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	l, _, _ := modelled(nil)
	good := halt.Policy{Name: "good", Limit: 9, Window: time.Hour, Algorithm: halt.FixedWindow, Plan: "free"}
	bad := []halt.Policy{
		{},
		{Name: "go:d", Limit: 9, Window: time.Hour, Algorithm: halt.FixedWindow, Plan: "free"},
		{Limit: 9, Window: time.Hour, Algorithm: halt.FixedWindow, Plan: "free"},
	}
	for _, spoil := range []func(*halt.Policy){
		func(p *halt.Policy) { p.Limit = 0 },
		func(p *halt.Policy) { p.Window = 0 },
		func(p *halt.Policy) { p.Period.Unit = halt.Day },
		func(p *halt.Policy) { p.Period.Zone = "UTC" },
		func(p *halt.Policy) { p.Algorithm = halt.InFlight + 1 },
		func(p *halt.Policy) { p.Burst = 1 },
		func(p *halt.Policy) { p.Precision = 1 },
		func(p *halt.Policy) { p.Block = -1 },
	} {
		p := good
		spoil(&p)
		bad = append(bad, p)
	}
	c := halt.Call{Charges: make([]halt.Charge, 1)}
	for i, p := range bad {
		for range 2 {
			c.Charges[0] = p.Charge("k", 1)
			if err := l.Do(ctx, &c); !errors.Is(err, halt.ErrInvalidPolicy) {
				t.Errorf("Do, policy %d: %v", i, err)
			}
			if _, err := l.Allow(ctx, p, "k"); !errors.Is(err, halt.ErrInvalidPolicy) {
				t.Errorf("Allow, policy %d: %v", i, err)
			}
		}
		c.Charges[0] = good.Charge("k", 0)
		if err := l.Do(ctx, &c); err != nil || c.Decisions[0].Limit != 9 {
			t.Errorf("after policy %d: %v, %+v", i, err, c.Decisions)
		}
		if d := must[halt.Decision](t)(l.AllowN(ctx, good, "k", 0)); d.Limit != 9 {
			t.Errorf("after policy %d: %+v", i, d)
		}
		// What is not the policy's is checked each time.
		c.Charges[0] = good.Charge("", 1)
		if err := l.Do(ctx, &c); !errors.Is(err, halt.ErrInvalidCharge) {
			t.Errorf("no key: %v", err)
		}
		if _, err := l.AllowN(ctx, good, "k", -1); !errors.Is(err, halt.ErrInvalidCharge) {
			t.Errorf("a negative cost: %v", err)
		}
	}
}

// forgetful is a store that decides nothing, such as one around another that swallows its error.
type forgetful struct{ halt.Store }

func (forgetful) Take(context.Context, []halt.Charge, []halt.Decision) error { return nil }

// TestLimiterForgets: where a store fails to write a decision, that on another's charge is not taken for it.
func TestLimiterForgets(t *testing.T) {
	t.Parallel()
	ctx, one := t.Context(), must[halt.Decision](t)
	l, s, _ := modelled(nil)
	broken := halt.New(forgetful{s}, nil)
	c := halt.Call{Charges: []halt.Charge{hourly.Charge("ann", 1), perMinute.Charge("ann", 1)}}
	for range 20 { // the race detector's pool drops some of what is put back
		one(l.AllowN(ctx, hourly, "ann", 0))
		if d := one(broken.Allow(ctx, hourly, "bob")); d != (halt.Decision{}) {
			t.Fatalf("of one charge: %+v", d)
		}
	}
	for _, l := range []*halt.Limiter{l, broken} {
		if err := l.Do(ctx, &c); err != nil {
			t.Fatal(err)
		}
	}
	if ds := c.Decisions; ds.Allowed() || ds[0] != (halt.Decision{}) || ds[1] != (halt.Decision{}) {
		t.Errorf("of two: %+v", ds)
	}
}

// TestLimiterDo: a Call is used again and again, its slices with it.
func TestLimiterDo(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	l, _, _ := modelled(nil)
	var c halt.Call
	wide := halt.Policy{Name: "wide", Limit: 1000, Window: time.Hour}
	free := halt.Policy{Name: "free", Limit: halt.Unlimited}
	for i := range 50 {
		n := i%4 + 1
		c.Charges = c.Charges[:0]
		for j := range n {
			if i%3 == 0 && j == 1 {
				c.Charges = append(c.Charges, free.Charge("k", 1))
			} else {
				c.Charges = append(c.Charges, wide.Charge(fmt.Sprint(i, j), int64(j)))
			}
		}
		if err := l.Do(ctx, &c); err != nil {
			t.Fatal(err)
		}
		if len(c.Decisions) != n {
			t.Fatalf("%d decisions on %d charges", len(c.Decisions), n)
		}
		for j, d := range c.Decisions {
			want := 1000 - int64(j)
			if c.Charges[j].Policy.Limit == halt.Unlimited {
				want = math.MaxInt64
			}
			if !d.Allowed || d.Remaining != want {
				t.Fatalf("call %d, charge %d: %+v", i, j, d)
			}
		}
	}
	at := &c.Decisions[:cap(c.Decisions)][0]
	if err := l.Do(ctx, &c); err != nil || at != &c.Decisions[0] {
		t.Errorf("the decisions' memory is not used again, %v", err)
	}
}

func TestNewRejects(t *testing.T) {
	t.Parallel()
	for what, f := range map[string]func(){
		"no store":       func() { halt.New(nil, nil) },
		"a nil observer": func() { halt.New(storetest.NewModel(nil), &halt.Options{Observers: []halt.Observer{nil}}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", what)
				}
			}()
			f()
		}()
	}
}

// TestLimiterConcurrent: a crowd on one key, through calls that come from the pool.
func TestLimiterConcurrent(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	l := halt.New(storetest.NewModel(nil), nil)
	day := halt.Policy{Name: "day", Limit: 200, Window: 1000 * time.Hour, Algorithm: halt.SlidingWindow}
	var wg sync.WaitGroup
	var mu sync.Mutex
	admitted := 0
	for range 16 {
		wg.Go(func() {
			for range 50 {
				d, err := l.Allow(ctx, day, "k")
				if err != nil {
					t.Error(err)
				}
				if d.Allowed {
					mu.Lock()
					admitted++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if admitted != 200 {
		t.Errorf("admitted %d of 200", admitted)
	}
}
