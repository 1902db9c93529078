package haltredis_test

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	halt "github.com/halt-dev/halt/core"
	haltredis "github.com/halt-dev/halt/stores/redis"
)

// Two replicas of a service, each with a client of its own, share the budgets of their callers.
func Example() {
	ctx := context.Background()
	policy := halt.Policy{Name: "api", Limit: 3, Window: time.Hour}
	for replica := range 2 {
		client := redis.NewClient(&redis.Options{Addr: serverAddr()})
		defer client.Close()
		store, err := haltredis.New(client, nil)
		if err != nil {
			fmt.Println(err)
			return
		}
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

// On a cluster every call on one key is one atomic step, however many policies it has.
func ExampleNew_cluster() {
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: []string{"10.0.0.1:6379", "10.0.0.2:6379", "10.0.0.3:6379"},
		// For the calls that go through the cluster's client, when keys move.
		ReadTimeout:           200 * time.Millisecond,
		ContextTimeoutEnabled: true,
	})
	defer client.Close()
	store, err := haltredis.New(client, &haltredis.Options{Prefix: "shop:limits:", Timeout: 50 * time.Millisecond})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(store.Name())
	// Output: redis
}
