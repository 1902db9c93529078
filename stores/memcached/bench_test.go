package haltmemcached

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// Decisions of 64 goroutines on one hot key and on ten thousand, beside the cheapest atomic write there is, an increment
// through the same connections. They take turns, so that a busy machine slows all alike.
func BenchmarkConcurrent(b *testing.B) {
	var writes atomic.Int64
	s, _ := newStore(b, &Options{Timeout: 10 * time.Second, Dial: counting(&writes)}, "-m", "256")
	l := halt.New(s, nil)
	bucket := halt.Policy{Name: "api", Limit: 1_000_000_000, Window: time.Hour}
	sliding := halt.Policy{Name: "api", Algorithm: halt.SlidingWindow, Limit: 1_000_000_000, Window: time.Hour}
	allow := func(p halt.Policy) func(key string) error {
		return func(key string) error {
			_, err := l.Allow(context.Background(), p, key)
			return err
		}
	}
	for _, keys := range []int{10_000, 1} {
		names := make([]string, keys)
		for i := range names {
			names[i] = "user:" + strconv.Itoa(10_000_000+i)
		}
		for round := range 3 {
			b.Run(fmt.Sprintf("keys=%d/round=%d/incr", keys, round), func(b *testing.B) { crowd(b, &writes, names, s.increment) })
			b.Run(fmt.Sprintf("keys=%d/round=%d/token", keys, round), func(b *testing.B) { crowd(b, &writes, names, allow(bucket)) })
			b.Run(fmt.Sprintf("keys=%d/round=%d/sliding", keys, round), func(b *testing.B) { crowd(b, &writes, names, allow(sliding)) })
		}
	}
}

// crowd calls f b.N times in 64 goroutines, with one of the keys each time.
func crowd(b *testing.B, writes *atomic.Int64, keys []string, f func(key string) error) {
	b.Helper()
	took := make([]time.Duration, b.N)
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ReportAllocs()
	writes.Store(0)
	b.ResetTimer()
	for range 64 {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= b.N {
					return
				}
				begun := time.Now()
				if err := f(keys[i*7919%len(keys)]); err != nil {
					b.Error(err)
					return
				}
				took[i] = time.Since(begun)
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "decisions/s")
	b.ReportMetric(float64(writes.Load())/float64(b.N), "writes/op")
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// increment adds 1 to a counter of the key.
func (s *Store) increment(key string) error {
	v, h := s.register.serverOf(key)
	x := v.newExchange()
	x.send = append(x.send, "ma "...)
	x.send = append(x.send, key...)
	x.send = append(x.send, " N0 v\r\n"...)
	if err := v.do(context.Background(), h, x, 0); err != nil {
		return err
	}
	defer x.release()
	if x.replies[0].status != statusValue {
		return x.replies[0].failure()
	}
	return nil
}

// One decision after the other, and one increment.
func BenchmarkSerial(b *testing.B) {
	s, _ := newStore(b, &Options{Timeout: 10 * time.Second})
	l := halt.New(s, nil)
	p := halt.Policy{Name: "api", Limit: 1_000_000_000, Window: time.Hour}
	b.Run("incr", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			if err := s.increment("user:10000000"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("token", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			if _, err := l.Allow(context.Background(), p, "user:10000000"); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// counting returns a Dial that counts what is written.
func counting(writes *atomic.Int64) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		var d net.Dialer
		c, err := d.DialContext(ctx, network, addr)
		return &countingConn{c, writes}, err
	}
}

type countingConn struct {
	net.Conn
	writes *atomic.Int64
}

func (c *countingConn) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(b)
}
