package haltmemcached_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	halt "github.com/halt-dev/halt/core"
	haltmemcached "github.com/halt-dev/halt/stores/memcached"
)

// Two replicas of a service, each with connections of its own, share the budgets of their callers.
func Example() {
	ctx := context.Background()
	policy := halt.Policy{Name: "api", Limit: 3, Window: time.Hour}
	for replica := range 2 {
		store, err := haltmemcached.New([]string{serverAddr()}, nil)
		if err != nil {
			fmt.Println(err)
			return
		}
		defer store.Close()
		limiter := halt.New(store, nil)
		for range 2 {
			d, err := limiter.Allow(ctx, policy, "alice")
			if err != nil {
				fmt.Println(err)
				return
			}
			fmt.Printf("replica %d: allowed %t, %d left\n", replica, d.Allowed, d.Remaining)
		}
	}
	// Output:
	// replica 0: allowed true, 2 left
	// replica 0: allowed true, 1 left
	// replica 1: allowed true, 0 left
	// replica 1: allowed false, 0 left
}

// Several servers, over TLS.
func ExampleNew() {
	dialer := new(tls.Dialer)
	store, err := haltmemcached.New([]string{"cache-1:11211", "cache-2:11211"}, &haltmemcached.Options{
		Prefix:  "shop:limits:",
		Timeout: 50 * time.Millisecond,
		Dial:    dialer.DialContext,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	fmt.Println(store.Name())
	// Output: memcached
}
