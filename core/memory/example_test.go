package memory_test

import (
	"context"
	"fmt"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

func Example() {
	limiter := halt.New(memory.New(nil), nil)
	policy := halt.Policy{Name: "api", Limit: 100, Window: time.Hour, Burst: 3}

	for range 4 {
		d, err := limiter.Allow(context.Background(), policy, "user:42")
		if err != nil {
			panic(err) // the policy or the charge is invalid: the memory store itself never fails
		}
		fmt.Println(d.Allowed, d.Remaining)
	}
	// Output:
	// true 2
	// true 1
	// true 0
	// false 0
}

func ExampleNew() {
	// At 48 bytes each, five million keys are about 240 MB when full.
	store := memory.New(&memory.Options{MaxKeys: 5_000_000})
	fmt.Println(store.Name(), store.Len())
	// Output: memory 0
}
