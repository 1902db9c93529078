//go:build !race

package guard_test

import (
	"context"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
)

// allocations are those of Enter and Leave with a store that does nothing, rounded down: the memory for keys is allocated
// for several requests at once.
func allocations(t *testing.T, rules ...guard.Rule[*request]) float64 {
	t.Helper()
	g, err := guard.New(halt.New(charges(nil), nil), guard.Config[*request]{Rules: rules})
	if err != nil {
		t.Fatal(err)
	}
	ctx, r := context.Background(), &request{user: "ann", account: "acme"}
	return testing.AllocsPerRun(1000, func() {
		p := g.Enter(ctx, r)
		if _, denied := p.Denied(); denied {
			t.Fatal("denied")
		}
		p.Leave(guard.Outcome{Status: 200})
	})
}

func TestAllocsOfAPass(t *testing.T) {
	bucket := halt.Policy{Name: "api", Limit: 100, Window: time.Minute}
	account := guard.By("account", func(r *request) string { return r.account })
	for _, test := range []struct {
		name  string
		rules []guard.Rule[*request]
		most  float64
	}{
		{"one rule", []guard.Rule[*request]{{Policy: bucket, Key: byUser()}}, 0},
		{"a key of two", []guard.Rule[*request]{{Policy: bucket, Key: byUser().And(account)}}, 0},
		{"three rules", []guard.Rule[*request]{
			{Policy: bucket, Key: byUser()}, {Policy: fixed("b", 1), Key: account}, {Policy: fixed("c", 1), Key: guard.Everyone[*request]()},
		}, 0},
		{"merged", []guard.Rule[*request]{{Policy: bucket, Key: byUser()}, {Policy: bucket, Key: byUser(), Cost: costs(2)}}, 0},
		{"settled as reserved", []guard.Rule[*request]{{Policy: fixed("b", 1), Key: byUser(), Settle: guard.ChargeOn[*request](200)}}, 0},
	} {
		if got := allocations(t, test.rules...); got > test.most {
			t.Errorf("%s: %v allocations, want at most %v", test.name, got, test.most)
		}
	}
}
