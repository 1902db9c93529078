package guard_test

import (
	"context"
	"slices"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
)

func TestAllRulesAreOneCall(t *testing.T) {
	w := newWorld(t)
	narrow, wide := fixed("narrow", 1), fixed("wide", 5)
	g := w.rules(
		guard.Rule[*request]{Policy: wide, Key: guard.Everyone[*request]()},
		guard.Rule[*request]{Policy: narrow, Key: byUser()},
		guard.Rule[*request]{Policy: fixed("watched", 1), Key: byUser(), Shadow: true},
	)
	w.admit(g, &request{user: "ann"})
	calls := w.store.taken()
	if len(calls) != 1 || len(calls[0]) != 3 {
		t.Fatalf("the store got %v, want one call of three charges", calls)
	}
	if last := calls[0][2]; last.Key != "everyone" {
		t.Errorf("the last charge is that of %s: a key that all share has to come last", last.Key)
	}
	w.wantRemaining(wide, "everyone", 4)

	// Refused by one rule, a request spends nothing of another.
	d := w.deny(g, &request{user: "ann"}, guard.QuotaExceeded)
	w.wantRemaining(wide, "everyone", 4)
	if d.Policy != narrow || !slices.Equal(d.Violated, []string{"narrow"}) || d.Decision.Limit != 1 {
		t.Errorf("the denial is %+v, want that of narrow", d)
	}
	w.quiet()
}

func TestDenialIsOfTheLongestRefusal(t *testing.T) {
	w := newWorld(t)
	minute := halt.Policy{Name: "minute", Limit: 1, Window: time.Minute, Algorithm: halt.FixedWindow}
	day := halt.Policy{Name: "day", Limit: 1, Window: 24 * time.Hour, Algorithm: halt.FixedWindow}
	g := w.rules(
		guard.Rule[*request]{Policy: minute, Key: guard.Everyone[*request]()},
		guard.Rule[*request]{Policy: day, Key: byUser()},
		guard.Rule[*request]{Policy: minute, Key: byUser()},
	)
	w.admit(g, &request{user: "ann"})
	d := w.deny(g, &request{user: "ann"}, guard.QuotaExceeded)
	if d.Policy != day || d.RetryAfter != 12*time.Hour || d.RetrySeconds() != 12*3600 {
		t.Errorf("denied by %s for %v (%d s), want day, 12h", d.Policy.Name, d.RetryAfter, d.RetrySeconds())
	}
	if want := []string{"minute", "day"}; !slices.Equal(d.Violated, want) {
		t.Errorf("violated are %v, want %v: in the order of the rules, each name once", d.Violated, want)
	}
	if d.Status() != 429 {
		t.Errorf("status %d", d.Status())
	}
}

func TestCost(t *testing.T) {
	p := fixed("api", 10)
	t.Run("is what the rule says", func(t *testing.T) {
		w := newWorld(t)
		g := w.rules(guard.Rule[*request]{Policy: p, Key: byUser(), Cost: func(r *request) int64 { return r.cost }})
		w.admit(g, &request{user: "ann", cost: 7})
		w.wantRemaining(p, "user:ann", 3)
		w.deny(g, &request{user: "ann", cost: 4}, guard.QuotaExceeded)
		w.admit(g, &request{user: "ann", cost: 3})
	})
	t.Run("0 leaves the rule out, and asks nothing", func(t *testing.T) {
		w := newWorld(t)
		g := w.rules(
			guard.Rule[*request]{
				Key: guard.By("user", never[string](t, "the key")),
				Resolve: func(context.Context, *request) (halt.Policy, error) {
					t.Error("the policy was asked for")
					return p, nil
				},
				Cost:   func(*request) int64 { return 0 },
				Settle: func(*request, guard.Outcome) int64 { t.Error("Settle was asked"); return 0 },
			},
		)
		w.admit(g, &request{})
		if calls := w.store.taken(); len(calls) != 0 {
			t.Errorf("the store got %v", calls)
		}
	})
	t.Run("above the capacity never fits", func(t *testing.T) {
		w := newWorld(t)
		g := w.rules(guard.Rule[*request]{Policy: p, Key: byUser(), Cost: func(r *request) int64 { return r.cost }})
		d := w.deny(g, &request{user: "ann", cost: 11}, guard.QuotaExceeded)
		if d.RetryAfter != halt.Never || d.RetrySeconds() != 0 {
			t.Errorf("RetryAfter %v, %d s, want Never and nothing to say", d.RetryAfter, d.RetrySeconds())
		}
		w.wantRemaining(p, "user:ann", 10)
	})
	for name, cost := range map[string]func(*request) int64{
		"negative": func(*request) int64 { return -1 },
		"panics":   func(*request) int64 { panic("cost") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			want := map[string]error{"negative": guard.ErrNegativeCost, "panics": guard.ErrPanic}[name]
			other := fixed("other", 5)
			rules := []guard.Rule[*request]{{Policy: p, Key: byUser(), Cost: cost}, {Policy: other, Key: byUser()}}
			left := int64(4)
			if name == "negative" { // it may be the client's figure: never a way past the rule
				w.deny(w.guard(guard.Config[*request]{Rules: rules}), &request{user: "ann"}, guard.Unavailable)
				left = 5
			} else {
				w.admit(w.guard(guard.Config[*request]{Rules: rules}), &request{user: "ann"})
			}
			w.ruleError(0, want)
			w.wantRemaining(other, "user:ann", left)
			w.deny(w.guard(guard.Config[*request]{Rules: rules, FailClosed: true}), &request{user: "ann"}, guard.Unavailable)
			w.ruleError(0, want)
			w.wantRemaining(other, "user:ann", left)
		})
	}
}

func TestMissingKey(t *testing.T) {
	for name, key := range map[string]guard.Key[*request]{
		"plain":            byUser(),
		"both of an And":   byUser().And(guard.By("account", func(r *request) string { return r.account })),
		"second of an And": guard.By("route", func(r *request) string { return r.route }).And(byUser()),
		"neither of an Or": byUser().Or(guard.By("account", func(r *request) string { return r.account })),
	} {
		t.Run(name, func(t *testing.T) {
			for _, closed := range []bool{false, true} {
				w := newWorld(t)
				g := w.guard(guard.Config[*request]{FailClosed: closed, Rules: []guard.Rule[*request]{
					// No policy is looked up for a request that some rule has no key of, whichever comes first.
					{Key: guard.Everyone[*request](), Resolve: func(context.Context, *request) (halt.Policy, error) {
						t.Error("a policy was looked up for a request without a key")
						return fixed("looked-up", 1), nil
					}},
					{Policy: fixed("api", 10), Key: key},
				}})
				d := w.deny(g, &request{route: "/"}, guard.MissingKey)
				if d.Status() != 400 || d.Policy != (halt.Policy{Name: "api"}) || d.RetrySeconds() != 0 || d.Violated != nil {
					t.Errorf("the denial is %+v (%d), want 400 naming api", d, d.Status())
				}
				if calls := w.store.taken(); len(calls) != 0 {
					t.Errorf("the store got %v", calls)
				}
				w.ruleError(1, guard.ErrNoKey)
			}
		})
	}
}

func TestKeyThatPanics(t *testing.T) {
	w := newWorld(t)
	key := guard.By("user", func(*request) string { panic("key") })
	rules := []guard.Rule[*request]{{Policy: fixed("api", 10), Key: key.Or(byUser())}}
	w.admit(w.guard(guard.Config[*request]{Rules: rules}), &request{user: "ann"})
	w.ruleError(0, guard.ErrPanic)
	w.deny(w.guard(guard.Config[*request]{Rules: rules, FailClosed: true}), &request{user: "ann"}, guard.Unavailable)
	w.ruleError(0, guard.ErrPanic)
}

func TestDroppingOnesAPIKey(t *testing.T) {
	w := newWorld(t)
	p := fixed("api", 2)
	key := guard.By("apikey", func(r *request) string { return r.user }).Or(guard.By("ip", func(r *request) string { return r.account }))
	g := w.rules(guard.Rule[*request]{Policy: p, Key: key})
	// An API key that reads as an address meets no address's budget, nor does one that names the kind itself.
	for _, user := range []string{"192.0.2.1", "ip:192.0.2.1"} {
		w.admit(g, &request{user: user}, &request{user: user})
		w.deny(g, &request{user: user}, guard.QuotaExceeded)
	}
	w.wantRemaining(p, "ip:192.0.2.1", 2)
	// Who drops the key falls to the address, and shares it with all that come from there.
	w.admit(g, &request{account: "192.0.2.1"}, &request{account: "192.0.2.1"})
	w.deny(g, &request{account: "192.0.2.1"}, guard.QuotaExceeded)
	// A rule without Or answers 400 instead.
	strict := w.rules(guard.Rule[*request]{Policy: p, Key: byUser()})
	w.deny(strict, &request{account: "192.0.2.1"}, guard.MissingKey)
}

func TestUnlimited(t *testing.T) {
	w := newWorld(t)
	unlimited := halt.Policy{Name: "staff", Plan: "staff", Limit: halt.Unlimited}
	g := w.rules(guard.Rule[*request]{Policy: unlimited, Key: byUser(), Settle: guard.ChargeOn[*request](401)})
	for range 100 {
		w.admit(g, &request{user: "ann"})
	}
	if calls := w.store.taken(); len(calls) != 0 {
		t.Errorf("the store got %v", calls)
	}
}

func TestExempt(t *testing.T) {
	w := newWorld(t)
	p := fixed("api", 1)
	g := w.guard(guard.Config[*request]{
		Rules:  []guard.Rule[*request]{{Policy: p, Key: byUser()}},
		Exempt: func(r *request) bool { return r.route == "/healthz" },
	})
	for range 3 {
		w.admit(g, &request{route: "/healthz"}) // without a key at that
	}
	if calls := w.store.taken(); len(calls) != 0 {
		t.Errorf("the store got %v", calls)
	}
	w.admit(g, &request{user: "ann"})
	w.deny(g, &request{user: "ann"}, guard.QuotaExceeded)
}
