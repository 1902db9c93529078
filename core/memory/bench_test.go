package memory_test

import (
	"context"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
	"github.com/halt-dev/halt/core/storetest"
)

// keys returns n keys in random order.
func keys(n int) []string {
	ks := make([]string, n)
	for i, at := range rand.New(rand.NewPCG(1, 2)).Perm(n) {
		ks[i] = "user:" + strconv.Itoa(10_000_000+at)
	}
	return ks
}

// plenty is never refused, and its keys stay in debt for minutes: none expires meanwhile.
var plenty = halt.Policy{Name: "api", Limit: 120_000_000, Window: 24 * time.Hour, Burst: 50_000_000}

func BenchmarkAllow(b *testing.B) {
	for _, n := range []int{1, 10_000, 100_000, 1_000_000} {
		ks := keys(n)
		l := halt.New(memory.New(&memory.Options{MaxKeys: 2 * n}), nil)
		ctx := context.Background()
		for _, k := range ks {
			if _, err := l.AllowN(ctx, plenty, k, 1_000_000); err != nil {
				b.Fatal(err)
			}
		}
		b.Run("keys="+strconv.Itoa(n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := l.Allow(ctx, plenty, ks[i%n]); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("parallel/keys="+strconv.Itoa(n), func(b *testing.B) {
			b.ReportAllocs()
			var starts atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				for i := int(starts.Add(1)) * n / 7; pb.Next(); i++ {
					if _, err := l.Allow(ctx, plenty, ks[i%n]); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

func BenchmarkAlgorithms(b *testing.B) {
	for name, p := range policies() {
		b.Run(name, func(b *testing.B) {
			l := halt.New(memory.New(nil), nil)
			for b.Loop() {
				if _, err := l.Allow(context.Background(), p, "key"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAllowAll(b *testing.B) {
	s := memory.New(nil)
	cs := []halt.Charge{plenty.Charge("a", 1), plenty.Charge("b", 1), plenty.Charge("c", 1)}
	ds := make([]halt.Decision, len(cs))
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Take(context.Background(), cs, ds); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFlood is the cost of a key that was never seen, at the bound: each evicts another.
func BenchmarkFlood(b *testing.B) {
	s := memory.New(&memory.Options{MaxKeys: 100_000})
	p := halt.Policy{Name: "ip", Limit: 10, Window: time.Hour}
	key := make([]byte, 0, 32)
	for i := 0; b.Loop(); i++ {
		key = strconv.AppendInt(key[:0], int64(i), 10)
		if _, err := storetest.TakeOne(context.Background(), s, p.Charge(string(key), 1)); err != nil {
			b.Fatal(err)
		}
	}
}
