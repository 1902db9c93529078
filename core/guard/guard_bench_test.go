package guard_test

import (
	"context"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
)

// BenchmarkPass is Enter and Leave with a store that does nothing: what the guard itself costs.
func BenchmarkPass(b *testing.B) {
	bucket := halt.Policy{Name: "api", Limit: 100, Window: time.Minute}
	account := guard.By("account", func(r *request) string { return r.account })
	for _, bench := range []struct {
		name  string
		rules []guard.Rule[*request]
	}{
		{"static", []guard.Rule[*request]{{Policy: bucket, Key: byUser()}}},
		{"and", []guard.Rule[*request]{{Policy: bucket, Key: byUser().And(account)}}},
		{"resolved", []guard.Rule[*request]{{Resolve: resolves(bucket), Key: byUser()}}},
		{"three", []guard.Rule[*request]{
			{Policy: bucket, Key: byUser()}, {Policy: fixed("b", 1), Key: account}, {Policy: fixed("c", 1), Key: guard.Everyone[*request]()},
		}},
		{"inflight", []guard.Rule[*request]{{Policy: inFlight(10), Key: byUser()}}},
		{"settled", []guard.Rule[*request]{{Policy: fixed("b", 1), Key: byUser(), Settle: guard.ChargeOn[*request](401)}}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			g, err := guard.New(halt.New(charges(nil), nil), guard.Config[*request]{Rules: bench.rules})
			if err != nil {
				b.Fatal(err)
			}
			ctx, r := context.Background(), &request{user: "ann", account: "acme"}
			b.ReportAllocs()
			for b.Loop() {
				g.Enter(ctx, r).Leave(guard.Outcome{Status: 200})
			}
		})
	}
}
