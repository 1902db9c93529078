package haltmongo

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	halt "github.com/halt-dev/halt/core"
)

// benchPolicies are one of each algorithm, that never refuse.
func benchPolicies() map[string]halt.Policy {
	return map[string]halt.Policy{
		"token":   {Name: "api", Limit: 1_000_000_000, Window: time.Hour},
		"fixed":   {Name: "api", Algorithm: halt.FixedWindow, Limit: 1_000_000_000, Window: time.Hour},
		"sliding": {Name: "api", Algorithm: halt.SlidingWindow, Limit: 1_000_000_000, Window: time.Hour},
	}
}

// Decisions of 64 goroutines, on one hot key and on ten thousand, beside the cheapest write that is a decision's equal: a
// findOneAndUpdate that increments a counter, with upsert, by the same client and with the same write concern.
func BenchmarkConcurrent(b *testing.B) {
	client := connect(b, ExampleURI)
	for _, keys := range []int{1, 10_000} {
		names := make([]string, keys)
		for i := range names {
			names[i] = "user:" + strconv.Itoa(10_000_000+i)
		}
		b.Run(fmt.Sprintf("keys=%d/inc", keys), func(b *testing.B) {
			c := newCollection(b, client)
			c = c.Clone(options.Collection().SetWriteConcern(writeconcern.Majority()))
			inc := bson.D{field("$inc", bson.D{field("n", int64(1))})}
			crowd(b, func(ctx context.Context, i int) error {
				_, err := c.FindOneAndUpdate(ctx, bson.D{field("_id", names[i*7919%keys])}, inc,
					options.FindOneAndUpdate().SetUpsert(true).SetReturnDocument(options.After)).Raw()
				if mongo.IsDuplicateKeyError(err) || err == mongo.ErrNoDocuments { //nolint:errorlint // as it comes
					return nil
				}
				return err
			})
		})
		for _, name := range []string{"token", "fixed", "sliding"} {
			p := benchPolicies()[name]
			b.Run(fmt.Sprintf("keys=%d/%s", keys, name), func(b *testing.B) {
				l := halt.New(open(b, newCollection(b, client), &patient), nil)
				crowd(b, func(ctx context.Context, i int) error {
					_, err := l.Allow(ctx, p, names[i*7919%keys])
					return err
				})
			})
		}
	}
}

// crowd lets 64 goroutines do something b.N times together.
func crowd(b *testing.B, do func(ctx context.Context, i int) error) {
	b.Helper()
	var next atomic.Int64
	took := make([]time.Duration, b.N)
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= b.N {
					return
				}
				began := time.Now()
				if err := do(context.Background(), i); err != nil {
					b.Error(err)
					return
				}
				took[i] = time.Since(began)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "decisions/s")
	b.ReportMetric(float64(took[b.N*99/100].Microseconds())/1000, "p99-ms")
}

// What the client's part of a decision costs, but for the driver's.
func BenchmarkPlan(b *testing.B) {
	for _, name := range []string{"token", "fixed", "sliding"} {
		p := benchPolicies()[name]
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			c := p.Charge("user:10000000", 1)
			w := &call{Charges: []halt.Charge{c}, Decisions: make([]halt.Decision, 1)}
			var batch batch
			var plans plans
			for range b.N {
				batch.arrange([]*call{w})
				batch.order(0)
				if _, _, err := plans.of(&batch, newDocumentID(&c), serverClock); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
