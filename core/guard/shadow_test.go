package guard_test

import (
	"context"
	"errors"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
)

func TestShadowRuleNeverDenies(t *testing.T) {
	w := newWorld(t)
	p := fixed("api", 2)
	g := w.rules(guard.Rule[*request]{Policy: p, Key: byUser(), Shadow: true})
	for range 5 {
		w.admit(g, &request{user: "ann"})
	}
	w.wantRemaining(p, "user:ann", 2) // the real budget is untouched
	if got := w.remaining(p, "user:ann", true); got != 0 {
		t.Errorf("the shadow budget has %d left, want 0", got)
	}
	w.quiet()
}

func TestShadowRuleNeverDelays(t *testing.T) {
	w := newWorld(t)
	leaky := halt.Policy{Name: "queue", Limit: 1, Window: time.Minute, Algorithm: halt.LeakyBucket, Burst: 5}
	g := w.rules(guard.Rule[*request]{Policy: leaky, Key: byUser(), Shadow: true})
	for range 4 {
		p := g.Enter(t.Context(), &request{user: "ann"})
		if d := p.Delay(); d != 0 {
			t.Errorf("a shadow rule delays by %v", d)
		}
		p.Leave(guard.Outcome{Status: 200})
	}
}

// A real rule and a shadow rule of one policy and key stay apart, and the real one's refusal leaves the shadow's in place.
func TestShadowRuleBesideARealOne(t *testing.T) {
	w := newWorld(t)
	p, tighter := fixed("api", 2), fixed("api", 1)
	g := w.rules(
		guard.Rule[*request]{Policy: p, Key: byUser()},
		guard.Rule[*request]{Policy: tighter, Key: byUser(), Shadow: true},
	)
	w.admit(g, &request{user: "ann"}, &request{user: "ann"})
	d := w.deny(g, &request{user: "ann"}, guard.QuotaExceeded)
	if d.Policy != p || len(d.Violated) != 1 {
		t.Errorf("the denial is %+v, want the real rule's alone", d)
	}
}

func TestShadowRulesFailuresRefuseNobody(t *testing.T) {
	broken := errors.New("no database")
	fails := func(err error) func(context.Context, *request) (halt.Policy, error) {
		return func(context.Context, *request) (halt.Policy, error) { return fixed("api", 1), err }
	}
	for _, test := range []struct {
		name string
		rule guard.Rule[*request]
		want error
	}{
		{"no key", guard.Rule[*request]{Policy: fixed("api", 1), Key: byUser()}, guard.ErrNoKey},
		{"key panics", guard.Rule[*request]{Policy: fixed("api", 1), Key: guard.By("user", func(*request) string { panic(1) })}, guard.ErrPanic},
		{"cost panics", guard.Rule[*request]{Policy: fixed("api", 1), Key: guard.Everyone[*request](), Cost: func(*request) int64 { panic(1) }}, guard.ErrPanic},
		{"negative cost", guard.Rule[*request]{Policy: fixed("api", 1), Key: guard.Everyone[*request](), Cost: func(*request) int64 { return -1 }}, guard.ErrNegativeCost},
		{"resolver errs", guard.Rule[*request]{Key: guard.Everyone[*request](), Resolve: fails(broken)}, broken},
		{"resolver panics", guard.Rule[*request]{Key: guard.Everyone[*request](), Resolve: func(context.Context, *request) (halt.Policy, error) { panic(1) }}, guard.ErrPanic},
		{"invalid policy", guard.Rule[*request]{Key: guard.Everyone[*request](), Resolve: func(context.Context, *request) (halt.Policy, error) { return halt.Policy{}, nil }}, halt.ErrInvalidPolicy},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, closed := range []bool{false, true} {
				w := newWorld(t)
				test.rule.Shadow = true
				other := fixed("other", 5)
				g := w.guard(guard.Config[*request]{FailClosed: closed, Rules: []guard.Rule[*request]{
					test.rule, {Policy: other, Key: guard.Everyone[*request]()},
				}})
				w.admit(g, &request{})
				w.ruleError(0, test.want)
				w.wantRemaining(other, "everyone", 4)
				if calls := w.store.taken(); len(calls) != 1 || len(calls[0]) != 1 {
					t.Errorf("the store got %v, want the other rule's charge", calls)
				}
			}
		})
	}
}

// A shadow rule with a Settle corrects the shadow budget, and blocks there only.
func TestShadowRuleSettles(t *testing.T) {
	w := newWorld(t)
	p := fixed("logins", 2)
	p.Block = 10 * time.Minute
	g := w.rules(guard.Rule[*request]{Policy: p, Key: byUser(), Settle: guard.ChargeOn[*request](401), Shadow: true})
	w.admit(g, &request{user: "ann"}, &request{user: "ann", status: 401})
	if got := w.remaining(p, "user:ann", true); got != 1 {
		t.Fatalf("the shadow budget has %d left after one failure and one success, want 1", got)
	}
	w.admit(g, &request{user: "ann", status: 401})
	c := halt.Charge{Policy: p, Key: "user:ann", Mode: halt.Shadow}
	ds, err := w.limiter.AllowAll(t.Context(), c)
	if err != nil || !ds[0].Blocked {
		t.Errorf("the shadow budget is %+v, %v, want blocked", ds, err)
	}
	w.admit(g, &request{user: "ann"})
	w.wantRemaining(p, "user:ann", 2)
	w.quiet()
}

// What a shadow rule reserved for a request that another rule then refused is given back: nothing happened.
func TestShadowRuleOfADeniedRequest(t *testing.T) {
	for name, shadow := range map[string]guard.Rule[*request]{
		"settled":   {Policy: fixed("seen", 5), Key: byUser(), Settle: func(_ *request, o guard.Outcome) int64 { return o.Reserved }, Shadow: true},
		"in flight": {Policy: inFlight(5), Key: byUser(), Shadow: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			g := w.rules(guard.Rule[*request]{Policy: fixed("api", 1), Key: byUser()}, shadow)
			w.admit(g, &request{user: "ann"})
			before := w.remaining(shadow.Policy, "user:ann", true)
			w.deny(g, &request{user: "ann"}, guard.QuotaExceeded)
			if got := w.remaining(shadow.Policy, "user:ann", true); got != before {
				t.Errorf("a denied request took the shadow budget from %d to %d", before, got)
			}
		})
	}
}
