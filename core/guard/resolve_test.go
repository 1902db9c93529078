package guard_test

import (
	"cmp"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
)

type resolver = func(context.Context, *request) (halt.Policy, error)

func TestResolveFindsThePolicyOfEachRequest(t *testing.T) {
	w := newWorld(t)
	free, pro := fixed("plan", 1), fixed("plan", 3)
	pro.Plan = "pro"
	g := w.rules(guard.Rule[*request]{Key: byUser(), Resolve: func(_ context.Context, r *request) (halt.Policy, error) {
		switch r.user {
		case "ann":
			return pro, nil
		case "root":
			return halt.Policy{Name: "plan", Limit: halt.Unlimited}, nil
		}
		return free, nil
	}})
	ann, bob, root := &request{user: "ann"}, &request{user: "bob"}, &request{user: "root"}
	w.admit(g, ann, bob, ann, ann, root, root, root, root)
	if d := w.deny(g, ann, guard.QuotaExceeded); d.Policy != pro {
		t.Errorf("ann was denied by %+v", d.Policy)
	}
	if d := w.deny(g, bob, guard.QuotaExceeded); d.Policy != free {
		t.Errorf("bob was denied by %+v", d.Policy)
	}
	for _, call := range w.store.taken() {
		if call[0].Key == "user:root" {
			t.Error("the store was asked about an unlimited request")
		}
	}
	w.quiet()
}

// However a Resolve fails, its rule alone is skipped, or the request refused with FailClosed, and the next one served.
func TestResolveFails(t *testing.T) {
	broken := errors.New("no database")
	for _, test := range []struct {
		name    string
		resolve resolver
		want    error
		settle  func(*request, guard.Outcome) int64
	}{
		{name: "error", resolve: func(context.Context, *request) (halt.Policy, error) { return fixed("plan", 1), broken }, want: broken},
		{name: "panic", resolve: func(context.Context, *request) (halt.Policy, error) { panic("secret") }, want: guard.ErrPanic},
		{name: "zero policy", resolve: func(context.Context, *request) (halt.Policy, error) { return halt.Policy{}, nil }, want: halt.ErrInvalidPolicy},
		{name: "invalid policy", resolve: func(context.Context, *request) (halt.Policy, error) { return fixed("no such name!", 0), nil }, want: halt.ErrInvalidPolicy},
		{
			name: "bucket with a Settle",
			resolve: func(context.Context, *request) (halt.Policy, error) {
				return halt.Policy{Name: "b", Limit: 1, Window: time.Second}, nil
			},
			want: halt.ErrInvalidPolicy, settle: guard.ChargeOn[*request](200),
		},
		{
			name: "leaky bucket with a Settle",
			resolve: func(context.Context, *request) (halt.Policy, error) {
				return halt.Policy{Name: "b", Limit: 1, Window: time.Second, Algorithm: halt.LeakyBucket}, nil
			},
			want: halt.ErrInvalidPolicy, settle: guard.ChargeOn[*request](200),
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			other, fine := fixed("other", 10), fixed("fine", 10)
			rules := []guard.Rule[*request]{
				{Policy: other, Key: byUser()},
				{Key: byUser(), Settle: test.settle, Resolve: func(ctx context.Context, r *request) (halt.Policy, error) {
					if r.user == "bob" {
						return fine, nil
					}
					return test.resolve(ctx, r)
				}},
			}
			open := w.guard(guard.Config[*request]{Rules: rules})
			w.admit(open, &request{user: "ann"})
			w.ruleError(1, test.want)
			w.wantRemaining(other, "user:ann", 9)

			closed := w.guard(guard.Config[*request]{Rules: rules, FailClosed: true})
			if d := w.deny(closed, &request{user: "ann"}, guard.Unavailable); d.Status() != 503 || d.RetrySeconds() != 0 {
				t.Errorf("denied with %d, retry after %d s", d.Status(), d.RetrySeconds())
			}
			w.ruleError(1, test.want)
			w.wantRemaining(other, "user:ann", 9)
			w.admit(closed, &request{user: "bob"})
			w.quiet()
		})
	}
}

func TestResolveOutlastsItsTime(t *testing.T) {
	for name, timeout := range map[string]time.Duration{"default": 0, "given": 3 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				c := guard.Config[*request]{ResolveTimeout: timeout, Rules: []guard.Rule[*request]{{
					Key: byUser(), Resolve: func(ctx context.Context, _ *request) (halt.Policy, error) {
						<-ctx.Done()
						return halt.Policy{}, ctx.Err()
					},
				}}}
				start := time.Now()
				w.admit(w.guard(c), &request{user: "ann"})
				if want := cmp.Or(timeout, 2*time.Second); time.Since(start) != want {
					t.Errorf("the request waited for %v", time.Since(start))
				}
				w.ruleError(0, context.DeadlineExceeded)
				c.FailClosed = true
				w.deny(w.guard(c), &request{user: "ann"}, guard.Unavailable)
				w.ruleError(0, context.DeadlineExceeded)
			})
		})
	}
}

func TestResolveGetsTheRequestsContext(t *testing.T) {
	type key struct{}
	w := newWorld(t)
	g := w.rules(guard.Rule[*request]{Key: byUser(), Resolve: func(ctx context.Context, _ *request) (halt.Policy, error) {
		if ctx.Value(key{}) != "value" {
			t.Error("the context is another")
		}
		return fixed("plan", 10), ctx.Err()
	}})
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
	if _, ran := serve(ctx, g, &request{user: "ann"}, nil); !ran {
		t.Fatal("denied")
	}
	cancel()
	serve(ctx, g, &request{user: "ann"}, nil)
	w.ruleError(0, context.Canceled)
}

// Who hangs up makes resolvers, and stores, fail. That must not get a request past its limits.
func TestHangingUpIsNoWayPastTheLimits(t *testing.T) {
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	for name, rule := range map[string]guard.Rule[*request]{
		"a resolver": {Key: byUser(), Resolve: func(ctx context.Context, _ *request) (halt.Policy, error) { return fixed("plan", 10), ctx.Err() }},
		"the store":  {Policy: fixed("api", 10), Key: byUser()},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			d, ran := serve(canceled, w.rules(rule), &request{user: "ann"}, nil)
			if ran || d.Reason != guard.Unavailable {
				t.Errorf("ran: %v, denial %+v, want unavailable", ran, d)
			}
			if len(w.told()) == 0 {
				t.Error("OnError was told nothing")
			}
		})
	}
	t.Run("but a shadow rule's failure stays without effect", func(t *testing.T) {
		w := newWorld(t)
		g := w.rules(guard.Rule[*request]{Shadow: true, Key: byUser(), Resolve: func(ctx context.Context, _ *request) (halt.Policy, error) {
			return halt.Policy{}, ctx.Err()
		}})
		if _, ran := serve(canceled, g, &request{user: "ann"}, nil); !ran {
			t.Error("denied")
		}
	})
}

func TestRegistryAndCacheResolve(t *testing.T) {
	w := newWorld(t)
	reg, err := halt.NewRegistry(fixed("api", 1))
	if err != nil {
		t.Fatal(err)
	}
	cache := halt.NewPolicyCache(func(_ context.Context, user string) (halt.Policy, error) { return fixed("plan-"+user, 2), nil }, nil)
	g := w.rules(
		guard.Rule[*request]{Key: byUser(), Resolve: func(context.Context, *request) (halt.Policy, error) { return reg.Get("api") }},
		guard.Rule[*request]{Key: byUser(), Resolve: func(ctx context.Context, r *request) (halt.Policy, error) { return cache.Get(ctx, r.user) }},
	)
	ann := &request{user: "ann"}
	w.admit(g, ann)
	w.deny(g, ann, guard.QuotaExceeded)
	if err := reg.Set(fixed("api", 10)); err != nil { // live change: what was used carries over
		t.Fatal(err)
	}
	w.admit(g, ann)
	w.wantRemaining(fixed("api", 10), "user:ann", 8)
	if d := w.deny(g, ann, guard.QuotaExceeded); d.Policy.Name != "plan-ann" {
		t.Errorf("denied by %s", d.Policy.Name)
	}
	reg.Remove("api")
	w.deny(g, ann, guard.QuotaExceeded)
	w.ruleError(0, halt.ErrUnknownPolicy)
}

// A resolver that does not look at its context is late all the same, and what it returns is not used.
func TestResolveIgnoresItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.deny(w.guard(guard.Config[*request]{FailClosed: true, ResolveTimeout: time.Millisecond, Rules: []guard.Rule[*request]{{
			Key: byUser(), Resolve: func(context.Context, *request) (halt.Policy, error) {
				time.Sleep(time.Second) //nolint:forbidigo // the bubble's clock
				return fixed("late", 1), nil
			},
		}}}), &request{user: "ann"}, guard.Unavailable)
		w.ruleError(0, context.DeadlineExceeded)
	})
}
