//go:build !race

package stats

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

// TestAllocNothing: a decision that the collector counts allocates nothing, whatever comes of it and however new the key is.
func TestAllocNothing(t *testing.T) {
	for _, show := range []bool{false, true} {
		c := New(&Options{ShowKeys: show})
		l := limiter(c)
		keys := make([]string, 20_000)
		for i := range keys {
			keys[i] = "user:" + strconv.Itoa(i)
			allow(t, l, perHour(1), keys[i], 1) // the store knows it now
		}
		free := halt.Policy{Name: "b", Plan: "free", Limit: 1_000_000, Window: time.Hour}
		allow(t, l, free, "x", 1)
		call := halt.Call{Charges: []halt.Charge{free.Charge("x", 1), perHour(1).Charge("x", 1)}, Route: "GET /x"}
		if err := l.Do(t.Context(), &call); err != nil {
			t.Fatal(err)
		}
		i := 0
		if n := testing.AllocsPerRun(10*len(keys), func() {
			_, _ = l.Allow(context.Background(), perHour(1), keys[i%len(keys)])
			_, _ = l.Allow(context.Background(), free, "x")
			_ = l.Do(context.Background(), &call)
			i++
		}); n != 0 {
			t.Errorf("ShowKeys %v: %v allocations", show, n)
		}
	}
}

// TestMemoryIsBounded counts ten million keys under as many names as there is room for, in a process of its own: what other
// tests leave to the garbage collector would be in the way.
func TestMemoryIsBounded(t *testing.T) {
	const keys, most, alone = 10_000_000, 2 << 20, "HALT_TEST_ALONE"
	if os.Getenv(alone) == "" {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestMemoryIsBounded$", "-test.v")
		child.Env = append(os.Environ(), alone+"=1")
		out, err := child.CombinedOutput()
		t.Logf("%s", out)
		if err != nil {
			t.Error(err)
		}
		return
	}
	runtime.GOMAXPROCS(64) // as many stripes as there can be
	for _, show := range []bool{false, true} {
		before := heap()
		c := New(&Options{ShowKeys: show, TopKeys: maxTopKeys})
		fill(c, keys)
		s := c.Snapshot()
		if s.Total.Allowed+s.Total.Refused != keys || len(s.TopRefused.Keys) != maxTopKeys {
			t.Errorf("%+v", s.Total)
		}
		used := heap() - before
		t.Logf("ShowKeys %v: %d KiB, with the snapshot, in %d stripes", show, used>>10, len(c.stripes))
		if used > most {
			t.Errorf("ShowKeys %v: %d bytes, more than %d", show, used, most)
		}
		c.mu.Lock()
		c.timer.Stop() // else it would keep the collector for a second or two
		c.mu.Unlock()
		runtime.KeepAlive(&s)
	}
}

// fill counts so many decisions, each on a key of its own.
func fill(c *Collector, keys int) {
	names := make([]string, 2*maxRoutes)
	for i := range names {
		names[i] = "/v1/some/rather/long/route/" + strconv.Itoa(i)
	}
	charges, decisions := make([]halt.Charge, 1), make(halt.Decisions, 1)
	events := make([]halt.Event, 64) // of many processors
	key := make([]byte, 0, 128)
	for i := range keys {
		key = append(key[:0], "organisation:some-long-name:user:some-even-longer-name-than-that:"...)
		key = strconv.AppendInt(key, int64(i), 10)
		charges[0] = halt.Policy{
			Name: names[i%(2*maxPolicies)][9:], Plan: names[i%7], Limit: 1, Window: time.Minute,
		}.Charge(string(key), 1)
		decisions[0] = halt.Decision{Allowed: i%2 == 0, Limit: 1}
		e := &events[i%len(events)]
		*e = halt.Event{Charges: charges, Decisions: decisions, Route: names[i%len(names)], Elapsed: time.Duration(i)}
		c.End(context.Background(), e)
	}
}

func median(fs []float64) float64 {
	slices.Sort(fs)
	return fs[len(fs)/2]
}

func heap() int64 {
	for range 5 { // what pools hold goes bit by bit
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkDecision measures a decision in memory without and with a collector, in turns of 2000, and reports the medians
// and their difference. Both see the same load of the machine.
func BenchmarkDecision(b *testing.B) {
	const turn = 2000
	plenty := halt.Policy{Name: "api", Limit: 120_000_000, Window: 24 * time.Hour, Burst: 50_000_000}
	for _, n := range []int{1, 10_000, 100_000, 1_000_000} {
		b.Run("keys="+strconv.Itoa(n), func(b *testing.B) {
			keys := make([]string, n)
			for i := range keys {
				keys[i] = "user:" + strconv.Itoa(10_000_000+i*7919%n)
			}
			o := &memory.Options{MaxKeys: 2 * n}
			limiters := []*halt.Limiter{
				halt.New(memory.New(o), nil), halt.New(memory.New(o), &halt.Options{Observers: []halt.Observer{New(nil)}}),
			}
			var took [2][]float64
			at := 0
			round := func() {
				for i, l := range limiters {
					start := time.Now()
					for j := range turn {
						_, _ = l.Allow(context.Background(), plenty, keys[(at+j)%n])
					}
					took[i] = append(took[i], float64(time.Since(start).Nanoseconds())/turn)
				}
				at += turn
			}
			for _, l := range limiters {
				for _, k := range keys { // the store knows them, and for hours
					_, _ = l.AllowN(context.Background(), plenty, k, 1_000_000)
				}
			}
			for b.Loop() {
				round()
			}
			plain, counted := median(took[0]), median(took[1])
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(plain, "ns/plain")
			b.ReportMetric(counted, "ns/counted")
			b.ReportMetric(counted-plain, "ns/more")
		})
	}
}

// BenchmarkParallel is a decision with a collector on all processors, of few keys and of many.
func BenchmarkParallel(b *testing.B) {
	plenty := halt.Policy{Name: "api", Limit: 120_000_000, Window: 24 * time.Hour, Burst: 50_000_000}
	for _, counted := range []bool{false, true} {
		b.Run("counted="+strconv.FormatBool(counted), func(b *testing.B) {
			o := &halt.Options{}
			if counted {
				o.Observers = []halt.Observer{New(nil)}
			}
			l := halt.New(memory.New(nil), o)
			b.RunParallel(func(pb *testing.PB) {
				key := "user:" + strconv.Itoa(int(time.Now().UnixNano()))
				for pb.Next() {
					_, _ = l.Allow(context.Background(), plenty, key)
				}
			})
		})
	}
}
