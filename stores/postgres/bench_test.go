package haltpostgres

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

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

// Decisions of 64 goroutines, on one hot key and on ten thousand, beside the cheapest atomic write there is: an
// UPDATE … RETURNING of a counter, which is prepared, through the same pool. The two take turns, a slice each, so that whatever
// else the machine does slows both down. All rows are there before.
func BenchmarkConcurrent(b *testing.B) {
	schema := schemaName(b)
	pool := connect(b, dsn)
	s := open(b, pool, &Options{Schema: schema, Timeout: 30 * time.Second})
	l := halt.New(s, nil)
	counter := newCounter(b, pool, schema)
	for _, keys := range []int{1, 10_000} {
		names := make([]string, keys)
		for i := range names {
			names[i] = "user:" + strconv.Itoa(10_000_000+i)
		}
		counter.fill(b, names)
		for _, name := range []string{"token", "leaky", "fixed", "sliding"} {
			p := benchPolicies()[name]
			b.Run(fmt.Sprintf("keys=%d/%s", keys, name), func(b *testing.B) {
				allow := func(i int) error { _, err := l.Allow(context.Background(), p, names[i*7919%keys]); return err }
				crowd(b, keys, allow)
				b.ResetTimer()
				var halts, updates []time.Duration
				var halting, updating time.Duration
				const slice = 2000
				for done := 0; done < b.N; done += slice {
					n := min(slice, b.N-done)
					begin := time.Now()
					halts = append(halts, crowd(b, n, func(i int) error { return allow(done + i) })...)
					between := time.Now()
					updates = append(updates, crowd(b, n, func(i int) error { return counter.increment(names[(done+i)*7919%keys]) })...)
					halting, updating = halting+between.Sub(begin), updating+time.Since(between)
				}
				b.StopTimer()
				rate := func(d time.Duration) float64 { return float64(b.N) / d.Seconds() }
				p99 := func(took []time.Duration) float64 {
					slices.Sort(took)
					return float64(took[len(took)*99/100].Microseconds())
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(rate(halting), "decisions/s")
				b.ReportMetric(rate(updating), "UPDATEs/s")
				b.ReportMetric(rate(halting)/rate(updating), "ratio")
				b.ReportMetric(p99(halts), "p99-µs")
				b.ReportMetric(p99(updates), "UPDATE-p99-µs")
			})
		}
	}
}

// counter is what a service would write by hand, and as fast as it gets.
type counter struct {
	pool  *pgxpool.Pool
	table string
}

func newCounter(b *testing.B, pool *pgxpool.Pool, schema string) *counter {
	b.Helper()
	c := &counter{pool: pool, table: schema + ".counters"}
	_, err := pool.Exec(context.Background(), "CREATE TABLE "+c.table+" (key text PRIMARY KEY, n bigint NOT NULL) WITH (fillfactor = 70)")
	if err != nil {
		b.Fatal(err)
	}
	return c
}

func (c *counter) fill(b *testing.B, names []string) {
	b.Helper()
	_, err := c.pool.Exec(context.Background(), "INSERT INTO "+c.table+" SELECT unnest($1::text[]), 0 ON CONFLICT DO NOTHING", names)
	if err != nil {
		b.Fatal(err)
	}
}

func (c *counter) increment(key string) error {
	var n int64
	return c.pool.QueryRow(context.Background(), "UPDATE "+c.table+" SET n = n + 1 WHERE key = $1 RETURNING n", key).Scan(&n)
}

// crowd calls f once for each number below n, by 64 goroutines, and returns how long each call took.
func crowd(b *testing.B, n int, f func(i int) error) []time.Duration {
	b.Helper()
	took := make([]time.Duration, n)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				begin := time.Now()
				if err := f(i); err != nil {
					b.Error(err)
					return
				}
				took[i] = time.Since(begin)
			}
		})
	}
	wg.Wait()
	return took
}

// One decision after the other, and one UPDATE after the other.
func BenchmarkSerial(b *testing.B) {
	schema := schemaName(b)
	pool := connect(b, dsn)
	s := open(b, pool, &Options{Schema: schema, Timeout: 10 * time.Second})
	l := halt.New(s, nil)
	counter := newCounter(b, pool, schema)
	counter.fill(b, []string{"user:10000000"})
	b.Run("UPDATE", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			if err := counter.increment("user:10000000"); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, name := range []string{"token", "fixed", "sliding"} {
		p := benchPolicies()[name]
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				if _, err := l.Allow(context.Background(), p, "user:10000000"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
