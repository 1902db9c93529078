package halt_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// One query per user and minute tells which plan applies; a rule's Resolve asks the cache. Both plans share a name, so
// that a user who upgrades keeps what has been used so far.
func ExamplePolicyCache() {
	loadPlan := func(_ context.Context, userID string) (halt.Policy, error) {
		fmt.Println("query the plan of", userID) // SELECT plan FROM users WHERE id = $1
		if userID == "ann" {
			return halt.Policy{Name: "api", Plan: "pro", Limit: 1000, Window: time.Minute}, nil
		}
		return halt.Policy{Name: "api", Plan: "free", Limit: 60, Window: time.Minute}, nil
	}
	plans := halt.NewPolicyCache(loadPlan, nil)

	userID := func(r *http.Request) string { return r.Header.Get("X-User") } // of an authenticated request
	resolve := func(ctx context.Context, r *http.Request) (halt.Policy, error) { return plans.Get(ctx, userID(r)) }

	for _, user := range []string{"ann", "bob", "ann"} {
		r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
		r.Header.Set("X-User", user)
		p, err := resolve(r.Context(), r)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(user, "may", p.Limit, "in", p.Window)
	}
	// Output:
	// query the plan of ann
	// ann may 1000 in 1m0s
	// query the plan of bob
	// bob may 60 in 1m0s
	// ann may 1000 in 1m0s
}

// A plan that has just changed takes effect with the next request.
func ExamplePolicyCache_Invalidate() {
	limit := int64(60) // in the database
	plans := halt.NewPolicyCache(func(context.Context, string) (halt.Policy, error) {
		return halt.Policy{Name: "api", Limit: limit, Window: time.Minute}, nil
	}, nil)
	ctx := context.Background()

	p, _ := plans.Get(ctx, "ann")
	fmt.Println(p.Limit)

	limit = 1000
	plans.Invalidate("ann")
	p, _ = plans.Get(ctx, "ann")
	fmt.Println(p.Limit)
	// Output:
	// 60
	// 1000
}
