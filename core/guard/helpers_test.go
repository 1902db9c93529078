package guard_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
	"github.com/halt-dev/halt/core/storetest"
)

// request is what these guards limit: a protocol of its own.
type request struct {
	user, account, route string
	cost                 int64
	status               int // what its handler will answer
}

func byUser() guard.Key[*request] {
	return guard.By("user", func(r *request) string { return r.user })
}

// never is a function that must not be asked.
func never[T any](t *testing.T, what string) func(*request) T {
	return func(*request) (v T) {
		t.Helper()
		t.Errorf("%s was asked", what)
		return v
	}
}

// recorder is a Store that keeps the calls that another gets, and fails if told to.
type recorder struct {
	halt.Store
	mu    sync.Mutex
	calls [][]halt.Charge
	fail  func(cs []halt.Charge) error
}

func (s *recorder) Take(ctx context.Context, cs []halt.Charge, ds []halt.Decision) error {
	s.mu.Lock()
	s.calls = append(s.calls, slices.Clone(cs))
	fail := s.fail
	s.mu.Unlock()
	if fail != nil {
		if err := fail(cs); err != nil {
			return err
		}
	}
	return s.Store.Take(ctx, cs, ds)
}

// taken returns the calls since it was asked last.
func (s *recorder) taken() [][]halt.Charge {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls
	s.calls = nil
	return calls
}

func (s *recorder) failWith(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = func([]halt.Charge) error { return err }
	if err == nil {
		s.fail = nil
	}
}

// world is a limiter on the model, with its clock in the test's hand, and what OnError was told.
type world struct {
	t       *testing.T
	clock   *storetest.Clock
	store   *recorder
	limiter *halt.Limiter

	mu   sync.Mutex
	errs []error
}

func newWorld(t *testing.T) *world {
	t.Helper()
	clock := storetest.NewClock(time.Date(2025, 6, 2, 12, 0, 0, 0, time.UTC))
	store := &recorder{Store: storetest.NewModel(clock.Now)}
	return &world{t: t, clock: clock, store: store, limiter: halt.New(store, nil)}
}

func (w *world) onError(_ *request, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.errs = append(w.errs, err)
}

// told returns what OnError was told since it was asked last.
func (w *world) told() []error {
	w.mu.Lock()
	defer w.mu.Unlock()
	errs := w.errs
	w.errs = nil
	return errs
}

// quiet fails the test if OnError was told anything.
func (w *world) quiet() {
	w.t.Helper()
	for _, err := range w.told() {
		w.t.Errorf("OnError was told: %v", err)
	}
}

// ruleError checks that OnError was told exactly one RuleError, of this rule, that matches err.
func (w *world) ruleError(rule int, err error) {
	w.t.Helper()
	told := w.told()
	var re *guard.RuleError
	if len(told) != 1 || !errors.As(told[0], &re) || re.Rule != rule || !errors.Is(told[0], err) {
		w.t.Errorf("OnError was told %v, want one RuleError of Rules[%d] that is: %v", told, rule, err)
	}
}

// guard returns a guard that tells w its errors.
func (w *world) guard(c guard.Config[*request]) *guard.Guard[*request] {
	w.t.Helper()
	if c.OnError == nil {
		c.OnError = w.onError
	}
	g, err := guard.New(w.limiter, c)
	if err != nil {
		w.t.Fatal(err)
	}
	return g
}

func (w *world) rules(rules ...guard.Rule[*request]) *guard.Guard[*request] {
	w.t.Helper()
	return w.guard(guard.Config[*request]{Rules: rules})
}

// serve sends a request through a guard, as package guard's documentation has it, and returns its denial and whether its
// handler ran, which answers r.status, or 200.
func serve(ctx context.Context, g *guard.Guard[*request], r *request, handle func(ctx context.Context)) (d guard.Denial, ran bool) {
	p := g.Enter(ctx, r)
	if p == nil {
		if handle != nil {
			handle(ctx)
		}
		return d, true
	}
	outcome := guard.Outcome{Status: 500}
	defer func() { p.Leave(outcome) }()
	if denial, denied := p.Denied(); denied {
		return denial, false
	}
	if err := p.Wait(); err != nil {
		outcome = guard.Outcome{Status: guard.StatusClientClosed, Err: err}
		return d, false
	}
	if handle != nil {
		handle(p.Context())
	}
	outcome.Status = 200
	if r.status != 0 {
		outcome.Status = r.status
	}
	return d, true
}

// admit serves requests that have to be admitted.
func (w *world) admit(g *guard.Guard[*request], rs ...*request) {
	w.t.Helper()
	for i, r := range rs {
		if d, ran := serve(w.t.Context(), g, r, nil); !ran {
			w.t.Fatalf("request %d, %+v, was denied: %+v", i, *r, d)
		}
	}
}

// deny serves a request that has to be denied for this reason.
func (w *world) deny(g *guard.Guard[*request], r *request, want guard.Reason) guard.Denial {
	w.t.Helper()
	d, ran := serve(w.t.Context(), g, r, nil)
	if ran {
		w.t.Fatalf("request %+v was admitted", *r)
	}
	if d.Reason != want {
		w.t.Fatalf("request %+v was denied for %v, want %v", *r, d.Reason, want)
	}
	return d
}

// remaining tells what key has left under p; with shadow, on the budget of shadow rules.
func (w *world) remaining(p halt.Policy, key string, shadow bool) int64 {
	w.t.Helper()
	c := halt.Charge{Policy: p, Key: key, Mode: halt.Peek}
	if shadow {
		c.Mode = halt.Shadow // of cost 0: it spends nothing
	}
	ds := make([]halt.Decision, 1)
	if err := w.store.Store.Take(context.Background(), []halt.Charge{c}, ds); err != nil {
		w.t.Fatal(err)
	}
	return ds[0].Remaining
}

func (w *world) wantRemaining(p halt.Policy, key string, want int64) {
	w.t.Helper()
	if got := w.remaining(p, key, false); got != want {
		w.t.Errorf("%s has %d left of %s, want %d", key, got, p.Name, want)
	}
}

func fixed(name string, limit int64) halt.Policy {
	return halt.Policy{Name: name, Limit: limit, Window: time.Hour, Algorithm: halt.FixedWindow}
}

func inFlight(limit int64) halt.Policy {
	return halt.Policy{Name: "inside", Limit: limit, Window: time.Minute, Algorithm: halt.InFlight}
}
