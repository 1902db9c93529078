package haltmongo_test

import (
	"context"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	halt "github.com/halt-dev/halt/core"
	haltmongo "github.com/halt-dev/halt/stores/mongodb"
)

// Two replicas of a service, each with a client of its own, share the budgets of their callers.
func Example() {
	ctx := context.Background()
	policy := halt.Policy{Name: "api", Limit: 3, Window: time.Hour}
	for replica := range 2 {
		client, err := mongo.Connect(options.Client().ApplyURI(serverURI()))
		if err != nil {
			fmt.Println(err)
			return
		}
		defer func() { _ = client.Disconnect(ctx) }()
		store, err := haltmongo.New(client.Database("halt_example").Collection("limits"), &haltmongo.Options{Timeout: time.Minute})
		if err != nil {
			fmt.Println(err)
			return
		}
		if err := store.EnsureIndexes(ctx); err != nil { // documents that matter no longer are removed
			fmt.Println(err)
			return
		}
		limiter := halt.New(store, nil)
		if replica == 0 {
			if err := limiter.Reset(ctx, policy, "alice"); err != nil { // of an earlier run
				fmt.Println(err)
				return
			}
		}
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
