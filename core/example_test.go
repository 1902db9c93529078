package halt_test

import (
	"context"
	"fmt"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

func Example() {
	limiter := halt.New(memory.New(nil), nil)
	perMinute := halt.Policy{Name: "api", Limit: 2, Window: time.Minute}

	for range 3 {
		d, err := limiter.Allow(context.Background(), perMinute, "user:42")
		if err != nil {
			fmt.Println("the store failed:", err)
			return
		}
		fmt.Println(d.Allowed, d.Remaining, d.RetryAfter.Round(time.Second))
	}
	// Output:
	// true 1 0s
	// true 0 0s
	// false 0 30s
}

// Two limits, decided as one: when the second refuses, the first spends nothing either.
func ExampleLimiter_AllowAll() {
	limiter := halt.New(memory.New(nil), nil)
	perUser := halt.Policy{Name: "per-user", Limit: 10, Window: time.Hour}
	perTeam := halt.Policy{Name: "per-team", Limit: 3, Window: time.Hour}
	ctx := context.Background()

	for range 2 {
		ds, err := limiter.AllowAll(ctx, perUser.Charge("ann", 2), perTeam.Charge("blue", 2))
		if err != nil {
			fmt.Println("the store failed:", err)
			return
		}
		fmt.Println(ds.Allowed(), "user has", ds[0].Remaining, "team has", ds[1].Remaining)
	}
	// Output:
	// true user has 8 team has 1
	// false user has 8 team has 1
}

// A budget of tokens, of which nobody knows beforehand how many a request takes.
func ExampleLimiter_Reserve() {
	limiter := halt.New(memory.New(nil), nil)
	tokens := halt.Policy{Name: "tokens", Limit: 10_000, Window: 24 * time.Hour, Algorithm: halt.SlidingWindow}
	ctx := context.Background()

	generate := func() (used int64, err error) {
		r, err := limiter.Reserve(ctx, tokens, "user:42", 4000)
		if err != nil || !r.Allowed() {
			return 0, err
		}
		defer func() { _ = r.Cancel(ctx) }() // gives all back, if it is not settled by then
		used = 1234                          // what the work really took
		return used, r.Settle(ctx, used)
	}
	used, err := generate()
	left, _ := limiter.Peek(ctx, tokens, "user:42")
	fmt.Println(used, err, left.Remaining)
	// Output: 1234 <nil> 8766
}

// A registry's policies can change while they are in use: the next request meets the new one, and what was used stays
// used.
func ExampleRegistry() {
	limiter := halt.New(memory.New(nil), nil)
	policies, err := halt.NewRegistry(halt.Policy{Name: "api", Limit: 2, Window: time.Hour})
	if err != nil {
		fmt.Println(err)
		return
	}
	allow := func() {
		p, err := policies.Get("api")
		if err != nil {
			fmt.Println(err)
			return
		}
		d, _ := limiter.Allow(context.Background(), p, "user:42")
		fmt.Println(d.Allowed, d.Remaining)
	}
	allow()
	allow()
	allow()
	err = policies.Set(halt.Policy{Name: "api", Limit: 10, Window: time.Hour})
	fmt.Println("raised:", err)
	allow()
	// Output:
	// true 1
	// true 0
	// false 0
	// raised: <nil>
	// true 7
}

func ExamplePolicy_Validate() {
	err := halt.Policy{Name: "no spaces", Limit: -5, Window: time.Microsecond}.Validate()
	fmt.Println(err)
	// Output:
	// halt: invalid policy "no spaces": Name must be 1 to 64 of A-Z a-z 0-9 . _ -; Limit must be 1 to 2^52-1, or Unlimited; Window must be 1ms to 10 years
}
