package haltredis

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	halt "github.com/halt-dev/halt/core"
)

// benchPolicies are one of each algorithm, that never refuse.
func benchPolicies() map[string]halt.Policy {
	return map[string]halt.Policy{
		"token":   {Name: "api", Limit: 1_000_000_000, Window: time.Hour},
		"leaky":   {Name: "api", Algorithm: halt.LeakyBucket, Limit: 1_000_000_000, Window: time.Hour},
		"fixed":   {Name: "api", Algorithm: halt.FixedWindow, Limit: 1_000_000_000, Window: time.Hour},
		"sliding": {Name: "api", Algorithm: halt.SlidingWindow, Limit: 1_000_000_000, Window: time.Hour},
	}
}

// Decisions of 64 goroutines: one hot key, and ten thousand keys.
func BenchmarkConcurrent(b *testing.B) {
	for _, keys := range []int{1, 10_000} {
		for _, name := range []string{"token", "leaky", "fixed", "sliding"} {
			p := benchPolicies()[name]
			b.Run(fmt.Sprintf("%s/keys=%d", name, keys), func(b *testing.B) {
				s, _, _ := newStore(b, &Options{Timeout: 10 * time.Second})
				l := halt.New(s, nil)
				names := make([]string, keys)
				for i := range names {
					names[i] = "user:" + strconv.Itoa(10_000_000+i)
				}
				var next atomic.Int64
				b.ReportAllocs()
				b.ResetTimer()
				var wg sync.WaitGroup
				for range 64 {
					wg.Go(func() {
						for {
							i := int(next.Add(1))
							if i > b.N {
								return
							}
							if _, err := l.Allow(context.Background(), p, names[i*7919%keys]); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "decisions/s")
			})
		}
	}
}

// One decision after the other, and the least that go-redis and a script cost.
func BenchmarkSerial(b *testing.B) {
	s, c, _ := newStore(b, &Options{Timeout: 10 * time.Second})
	l := halt.New(s, nil)
	ctx := context.Background()
	for _, name := range []string{"token", "fixed", "sliding"} {
		p := benchPolicies()[name]
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				if _, err := l.Allow(ctx, p, "user:10000000"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("return1", func(b *testing.B) {
		script := redis.NewScript("return 1")
		b.ReportAllocs()
		for range b.N {
			if err := script.Run(ctx, c, []string{"user:10000000"}).Err(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
