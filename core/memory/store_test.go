package memory_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
	"github.com/halt-dev/halt/core/storetest"
)

var _ halt.Store = (*memory.Store)(nil)

func must(t *testing.T, ok bool, format string, args ...any) {
	t.Helper()
	if !ok {
		t.Fatalf(format, args...)
	}
}

func take(t *testing.T, s *memory.Store, c halt.Charge) halt.Decision {
	t.Helper()
	d, err := storetest.TakeOne(context.Background(), s, c)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestNew(t *testing.T) {
	s := memory.New(nil)
	must(t, s.Name() == "memory", "Name is %q", s.Name())
	must(t, s.Len() == 0, "Len is %d", s.Len())
	defer func() {
		if recover() == nil {
			t.Error("New took a negative MaxKeys")
		}
	}()
	memory.New(&memory.Options{MaxKeys: -1})
}

// A limiter's test under synctest as users write it: an hour passes at once.
func TestAnHourPassesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limiter := halt.New(memory.New(nil), nil)
		policy := halt.Policy{Name: "reports", Limit: 10, Window: time.Hour}
		ask := func() halt.Decision {
			d, err := limiter.Allow(t.Context(), policy, "alice")
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
		for range 10 {
			must(t, ask().Allowed, "refused within the limit")
		}
		d := ask()
		must(t, !d.Allowed && d.RetryAfter == 6*time.Minute, "the eleventh: %+v", d)

		time.Sleep(d.RetryAfter - time.Millisecond) //nolint:forbidigo // the bubble's clock
		must(t, !ask().Allowed, "admitted a tick too early")
		time.Sleep(time.Millisecond) //nolint:forbidigo // the bubble's clock
		must(t, ask().Allowed, "refused when it said to retry")

		time.Sleep(time.Hour) //nolint:forbidigo // the bubble's clock
		for range 10 {
			must(t, ask().Allowed, "refused within the limit, an hour later")
		}
		if err := limiter.WaitN(t.Context(), policy, "alice", 10); err != nil {
			t.Fatal(err)
		}
	})
}

// Every part of the storage key makes a budget of its own.
func TestBudgetsAreApart(t *testing.T) {
	s := memory.New(nil)
	day := halt.Period{Unit: halt.Day}
	policies := []halt.Policy{
		{Name: "a", Limit: 1, Window: time.Hour},
		{Name: "b", Limit: 1, Window: time.Hour},
		{Name: "a", Limit: 1, Window: 2 * time.Hour},
		{Name: "a", Limit: 1, Window: time.Hour, Algorithm: halt.LeakyBucket, Burst: -1},
		{Name: "a", Limit: 1, Window: time.Hour, Algorithm: halt.FixedWindow},
		{Name: "a", Limit: 1, Window: time.Hour, Algorithm: halt.SlidingWindow},
		{Name: "a", Limit: 1, Window: time.Hour, Algorithm: halt.SlidingWindow, Precision: 11},
		{Name: "a", Limit: 1, Window: time.Hour, Algorithm: halt.InFlight},
		{Name: "a", Limit: 1, Period: day, Algorithm: halt.FixedWindow},
		{Name: "a", Limit: 1, Period: halt.Period{Unit: halt.Day, Zone: "Asia/Tokyo"}, Algorithm: halt.FixedWindow},
		{Name: "a", Limit: 1, Period: halt.Period{Unit: halt.Month}, Algorithm: halt.FixedWindow},
		{Name: "a", Limit: 1, Period: halt.Period{Unit: halt.Month, Anchor: 2}, Algorithm: halt.FixedWindow},
	}
	n := 0
	for _, mode := range []halt.Mode{halt.Take, halt.Shadow} {
		for _, p := range policies {
			for _, key := range []string{"k", "K"} {
				c := p.Charge(key, 1)
				c.Mode = mode
				must(t, take(t, s, c).Allowed, "%v of %q meets another under %+v", mode, key, p)
				must(t, !take(t, s, c).Allowed, "%v of %q doesn't meet itself under %+v", mode, key, p)
				n++
				must(t, s.Len() == n, "Len is %d, want %d", s.Len(), n)
			}
		}
	}
	same := []halt.Policy{
		{Name: "a", Limit: 1, Window: time.Hour, Algorithm: halt.SlidingWindow, Precision: 10, Plan: "free"},
		{Name: "a", Limit: 1, Period: halt.Period{Unit: halt.Day, Zone: "UTC"}, Algorithm: halt.FixedWindow},
		{Name: "a", Limit: 1, Period: halt.Period{Unit: halt.Month, Anchor: 1}, Algorithm: halt.FixedWindow},
		{Name: "a", Limit: 1, Burst: 1, Window: time.Hour, Block: time.Second},
	}
	for _, p := range same {
		must(t, !take(t, s, p.Charge("k", 1)).Allowed, "one budget in two spellings is two: %+v", p)
	}
}

func TestReset(t *testing.T) {
	for name, p := range policies() {
		t.Run(name, func(t *testing.T) {
			s := memory.New(nil)
			spend := func() {
				for _, mode := range []halt.Mode{halt.Take, halt.Shadow} {
					c := p.Charge("k", p.Capacity())
					c.Mode = mode
					must(t, take(t, s, c).Allowed, "%v of all is refused", mode)
					d := take(t, s, c)
					must(t, !d.Allowed && d.Blocked == (p.Block > 0), "%v of all again: %+v", mode, d)
				}
				must(t, s.Len() == 2, "Len is %d", s.Len())
			}
			spend()
			for range 2 {
				if err := s.Reset(context.Background(), p, "k"); err != nil {
					t.Fatal(err)
				}
				must(t, s.Len() == 0, "Len is %d after Reset", s.Len())
			}
			spend()
		})
	}
}

// What is given back entirely is forgotten at once, and what spends nothing is never kept.
func TestNothingIsKeptOfNothing(t *testing.T) {
	for name, p := range policies() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := memory.New(nil)
				for _, mode := range []halt.Mode{halt.Take, halt.Peek, halt.Shadow, halt.Debit} {
					c := p.Charge("k", 0)
					c.Mode = mode
					take(t, s, c)
				}
				must(t, s.Len() == 0, "Len is %d", s.Len())
				c := p.Charge("k", 1)
				d := take(t, s, c)
				must(t, s.Len() == 1, "Len is %d", s.Len())
				c.Mode, c.Taken, c.At = halt.Credit, 1, d.At
				take(t, s, c)
				want := 0
				if p.Algorithm == halt.LeakyBucket { // it gives nothing back
					want = 1
				}
				must(t, s.Len() == want, "Len is %d after a Credit of all", s.Len())
			})
		})
	}
}

// 64 goroutines on one key are admitted as often as the limit says, no more and no less, whatever else goes on.
func TestExactUnderConcurrency(t *testing.T) {
	const goroutines, each = 64, 50
	for _, p := range []halt.Policy{
		{Name: "token", Limit: 500, Window: 24 * time.Hour, Block: time.Second},
		{Name: "leaky", Limit: 500, Window: 24 * time.Hour, Burst: 499, Algorithm: halt.LeakyBucket},
		{Name: "fixed", Limit: 500, Window: 24 * time.Hour, Algorithm: halt.FixedWindow},
		{Name: "year", Limit: 500, Period: halt.Period{Unit: halt.Year}, Algorithm: halt.FixedWindow},
		{Name: "sliding", Limit: 500, Window: 24 * time.Hour, Algorithm: halt.SlidingWindow, Precision: 60},
		{Name: "inside", Limit: 500, Window: 24 * time.Hour, Algorithm: halt.InFlight},
	} {
		t.Run(p.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // whose clock stands still meanwhile: nothing drains
				l := halt.New(memory.New(nil), nil)
				var wg sync.WaitGroup
				admitted := make([]int, goroutines)
				for g := range goroutines {
					wg.Go(func() {
						for i := range each {
							if _, err := l.Allow(t.Context(), p, fmt.Sprintf("%d/%d", g, i)); err != nil {
								t.Error(err)
							}
							cs := []halt.Charge{p.Charge("hot", 1), p.Charge(fmt.Sprint(g), 1)}
							ds, err := l.AllowAll(t.Context(), cs[:1+i%2]...)
							if err != nil {
								t.Error(err)
							}
							if ds.Allowed() {
								admitted[g]++
							}
						}
					})
				}
				wg.Wait()
				sum := 0
				for _, n := range admitted {
					sum += n
				}
				must(t, sum == 500, "%d were admitted", sum)
			})
		})
	}
}

// Calls of the same charges in every order neither deadlock nor spend in part: all budgets of a call are spent alike.
func TestCallsAreAtomic(t *testing.T) {
	const goroutines, each, keys = 16, 200, 12
	synctest.Test(t, func(t *testing.T) {
		s := memory.New(nil)
		p := halt.Policy{Name: "p", Limit: 1000, Window: 24 * time.Hour, Algorithm: halt.FixedWindow}
		var wg sync.WaitGroup
		admitted := make([]int64, goroutines)
		for g := range goroutines {
			wg.Go(func() {
				cs := make([]halt.Charge, keys)
				ds := make(halt.Decisions, keys)
				for i := range each {
					for k := range cs {
						cs[k] = p.Charge(fmt.Sprint((k*(g%2*2-1)+i+keys)%keys), 1) // up or down, from everywhere
					}
					if err := s.Take(t.Context(), cs, ds); err != nil {
						t.Error(err)
					}
					for k := range ds {
						if ds[k].Remaining != ds[0].Remaining || ds[k].At != ds[0].At {
							t.Errorf("a call was decided in parts: %+v", ds)
						}
					}
					if ds.Allowed() {
						admitted[g]++
					}
				}
			})
		}
		wg.Wait()
		sum := int64(0)
		for _, n := range admitted {
			sum += n
		}
		must(t, sum == p.Limit, "%d were admitted", sum)
	})
}

// A call that no Limiter would have let through can panic. Its locks are free afterwards.
func TestPanicLeavesNoLock(t *testing.T) {
	s := memory.New(nil)
	bad := halt.Policy{Name: "p", Algorithm: halt.FixedWindow} // a window of 0
	for _, call := range []func(){
		func() { _, _ = storetest.TakeOne(context.Background(), s, bad.Charge("k", 1)) },
		func() {
			cs := []halt.Charge{bad.Charge("k", 1), bad.Charge("l", 1)}
			_ = s.Take(context.Background(), cs, make([]halt.Decision, 2))
		},
	} {
		func() {
			defer func() { must(t, recover() != nil, "a window of 0 was decided") }()
			call()
		}()
		for _, key := range []string{"k", "l"} { // would wait forever
			if err := s.Reset(context.Background(), bad, key); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestTakeOfNothing(t *testing.T) {
	if err := memory.New(nil).Take(context.Background(), nil, nil); err != nil {
		t.Fatal(err)
	}
}
