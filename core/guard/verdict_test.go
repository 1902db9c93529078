package guard_test

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
)

func TestVerdictsAccumulate(t *testing.T) {
	w := newWorld(t)
	outer := w.guard(guard.Config[*request]{Attach: true, Rules: []guard.Rule[*request]{
		{Policy: fixed("api", 100), Key: byUser()},
		{Policy: fixed("outer", 50), Key: byUser()},
	}})
	hidden := w.rules(guard.Rule[*request]{Policy: fixed("hidden", 5), Key: byUser()})
	inner := w.guard(guard.Config[*request]{Attach: true, Rules: []guard.Rule[*request]{
		{Policy: fixed("api", 10), Key: guard.Everyone[*request]()},
		{Policy: fixed("inner", 20), Key: byUser(), Cost: costs(2)},
		{Policy: fixed("inner", 3), Key: byUser(), Shadow: true},
	}})
	r := &request{user: "ann"}
	var kept guard.Verdict
	serve(t.Context(), outer, r, func(ctx context.Context) {
		before := guard.VerdictOf(ctx)
		serve(ctx, hidden, r, func(ctx context.Context) {
			serve(ctx, inner, r, func(ctx context.Context) { kept = guard.VerdictOf(ctx) })
		})
		if len(before.Charges) != 2 || len(guard.VerdictOf(ctx).Charges) != 2 {
			t.Error("the inner guard changed the outer's verdict")
		}
	})
	// After all have left and others have come: what was attached is the request's own.
	w.admit(outer, &request{user: "bob"})
	w.admit(inner, &request{user: "bob"})
	if len(kept.Charges) != 5 || len(kept.Decisions) != 5 {
		t.Fatalf("the verdict has %d charges and %d decisions, want 5", len(kept.Charges), len(kept.Decisions))
	}
	for name, want := range map[string][2]int64{"outer": {50, 49}, "api": {10, 9}, "inner": {20, 18}} {
		d, ok := kept.Of(name)
		if !ok || d.Limit != want[0] || d.Remaining != want[1] {
			t.Errorf("Of(%s) is %+v, %v, want limit and remaining %v", name, d, ok, want)
		}
	}
	if d, ok := kept.OfShadow("inner"); !ok || d.Mode != halt.Shadow || d.Limit != 3 {
		t.Errorf("OfShadow(inner) is %+v, %v", d, ok)
	}
	if d, ok := kept.OfShadow("outer"); ok {
		t.Errorf("OfShadow(outer) is %+v", d)
	}
	for _, c := range kept.Charges {
		if c.Key != "user:ann" && c.Key != "everyone" {
			t.Errorf("the verdict holds %s's charge", c.Key)
		}
	}
	if _, ok := kept.Of("hidden"); ok {
		t.Error("a guard without Attach is in the verdict")
	}
	w.quiet()
}

// Two guards behind one, side by side: neither writes into the other's verdict.
func TestVerdictsSideBySide(t *testing.T) {
	w := newWorld(t)
	attached := func(names ...string) *guard.Guard[*request] {
		c := guard.Config[*request]{Attach: true}
		for _, name := range names {
			c.Rules = append(c.Rules, guard.Rule[*request]{Policy: fixed(name, 100), Key: byUser()})
		}
		return w.guard(c)
	}
	names := strings.Split("abcdefghijklmnop", "") // at some lengths append leaves room
	for n := range names {
		serve(t.Context(), attached(names[:n+1]...), success, func(ctx context.Context) {
			left := attached("left").Enter(ctx, success)
			defer left.Leave(guard.Outcome{})
			first := guard.VerdictOf(left.Context())
			right := attached("right").Enter(ctx, success)
			defer right.Leave(guard.Outcome{})
			if right.Context(); first.Charges[n+1].Policy.Name != "left" {
				t.Errorf("behind %d rules, the left guard's verdict is overwritten", n+1)
			}
		})
	}
}

func TestVerdictOfNothing(t *testing.T) {
	v := guard.VerdictOf(context.Background())
	if _, ok := v.Of("api"); ok || len(v.Charges) != 0 {
		t.Errorf("%+v", v)
	}
}

func TestVerdictOfShadowAlone(t *testing.T) {
	w := newWorld(t)
	g := w.guard(guard.Config[*request]{Attach: true, Rules: []guard.Rule[*request]{{Policy: fixed("api", 1), Key: byUser(), Shadow: true}}})
	serve(t.Context(), g, success, func(ctx context.Context) {
		v := guard.VerdictOf(ctx)
		if _, ok := v.Of("api"); ok || len(v.Charges) != 1 {
			t.Errorf("%+v: a shadow rule's decision is there to be read, but not as the policy's", v)
		}
	})
}

func TestContextWithoutAttach(t *testing.T) {
	w := newWorld(t)
	g := w.rules(guard.Rule[*request]{Policy: fixed("api", 1), Key: byUser()})
	ctx := t.Context()
	p := g.Enter(ctx, success)
	defer p.Leave(guard.Outcome{})
	if p.Context() != ctx {
		t.Error("the context is another")
	}
}

func TestDenialsStatusAndSeconds(t *testing.T) {
	for _, test := range []struct {
		denial  guard.Denial
		status  int
		seconds int64
	}{
		{guard.Denial{Reason: guard.QuotaExceeded, RetryAfter: time.Nanosecond}, 429, 1},
		{guard.Denial{Reason: guard.QuotaExceeded, RetryAfter: time.Second}, 429, 1},
		{guard.Denial{Reason: guard.QuotaExceeded, RetryAfter: time.Second + time.Microsecond}, 429, 2},
		{guard.Denial{Reason: guard.QuotaExceeded, RetryAfter: halt.Never}, 429, 0},
		{guard.Denial{Reason: guard.QuotaExceeded, RetryAfter: halt.Never - 1}, 429, math.MaxInt64/int64(time.Second) + 1},
		{guard.Denial{Reason: guard.MissingKey}, 400, 0},
		{guard.Denial{Reason: guard.Unavailable}, 503, 0},
	} {
		if s, n := test.denial.Status(), test.denial.RetrySeconds(); s != test.status || n != test.seconds {
			t.Errorf("%+v: %d and %d s, want %d and %d s", test.denial, s, n, test.status, test.seconds)
		}
	}
	for r, want := range map[guard.Reason]string{0: "none", guard.QuotaExceeded: "quota exceeded", guard.MissingKey: "missing key", guard.Unavailable: "unavailable", 9: "unknown"} {
		if r.String() != want {
			t.Errorf("reason %d is %q, want %q", r, r, want)
		}
	}
}
