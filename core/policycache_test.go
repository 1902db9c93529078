package halt_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// The defaults that the documentation states.
const (
	cacheTTL     = time.Minute
	cacheStale   = 10 * time.Minute
	cacheTimeout = time.Second
	cacheRetry   = time.Second
)

var errNoSuchUser = errors.New("no such user")

// plan is a policy that its Limit tells apart.
func plan(limit int64) halt.Policy {
	return halt.Policy{Name: "plan", Limit: limit, Window: time.Minute}
}

// planDB is a database of plans: its load returns as limit how many loads began before and including it.
type planDB struct {
	loads, running atomic.Int64

	mu    sync.Mutex
	most  int64         // that ran at once
	delay time.Duration // of a load that heeds its context
	hang  chan struct{} // a load waits for it, and ignores its context
	err   error
	after func() (halt.Policy, error) // what the load does in the end, instead
}

func (db *planDB) set(f func()) {
	db.mu.Lock()
	defer db.mu.Unlock()
	f()
}

func (db *planDB) load(ctx context.Context, _ string) (halt.Policy, error) {
	n := db.loads.Add(1)
	running := db.running.Add(1)
	defer db.running.Add(-1)
	db.mu.Lock()
	db.most = max(db.most, running)
	delay, hang, err, after := db.delay, db.hang, db.err, db.after
	db.mu.Unlock()
	if hang != nil {
		<-hang
	}
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return halt.Policy{}, errors.New("query cancelled") // as drivers do: not the context's error
		}
	}
	if after != nil {
		return after()
	}
	return plan(n), err
}

// cacheCase runs f in a bubble, with a cache on a database. It returns what was logged.
func cacheCase(t *testing.T, o *halt.PolicyCacheOptions, f func(t *testing.T, c *halt.PolicyCache[string], db *planDB)) string {
	t.Helper()
	var out bytes.Buffer
	before, writer, flags := slog.Default(), log.Writer(), log.Flags()
	slog.SetDefault(slog.New(slog.NewTextHandler(&out, nil)))
	defer func() {
		slog.SetDefault(before)
		log.SetOutput(writer) // which the other SetDefault had redirected
		log.SetFlags(flags)
	}()
	synctest.Test(t, func(t *testing.T) {
		db := new(planDB)
		f(t, halt.NewPolicyCache(db.load, o), db)
	})
	return out.String()
}

// wantPlan gets the policy of key, which must have that limit and come without waiting.
func wantPlan(t *testing.T, c *halt.PolicyCache[string], key string, limit int64) {
	t.Helper()
	wantPlanAfter(t, c, key, limit, 0)
	synctest.Wait() // for a load in the background, unless it takes its time
}

// wantPlanAfter is wantPlan for a Get that waits exactly that long.
func wantPlanAfter(t *testing.T, c *halt.PolicyCache[string], key string, limit int64, wait time.Duration) {
	t.Helper()
	start := time.Now()
	p, err := c.Get(t.Context(), key)
	if err != nil || p.Limit != limit {
		t.Errorf("Get(%q) = limit %d, %v; want limit %d", key, p.Limit, err, limit)
	}
	if took := time.Since(start); took != wait {
		t.Errorf("Get(%q) took %v, want %v", key, took, wait)
	}
}

// wantFailure gets the policy of key, which must fail after that wait, as ErrPolicyLoad and as target.
func wantFailure(t *testing.T, c *halt.PolicyCache[string], key string, target error, wait time.Duration) {
	t.Helper()
	start := time.Now()
	p, err := c.Get(t.Context(), key)
	var load *halt.LoadError
	if !errors.Is(err, halt.ErrPolicyLoad) || !errors.As(err, &load) || target != nil && !errors.Is(err, target) {
		t.Errorf("Get(%q) error = %v; want one that matches ErrPolicyLoad and %v", key, err, target)
	}
	if p != (halt.Policy{}) {
		t.Errorf("Get(%q) = %+v beside an error", key, p)
	}
	if took := time.Since(start); took != wait {
		t.Errorf("Get(%q) took %v, want %v", key, took, wait)
	}
}

func wantLoads(t *testing.T, db *planDB, want int64) {
	t.Helper()
	if n := db.loads.Load(); n != want {
		t.Errorf("%d loads, want %d", n, want)
	}
}

func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // in a bubble: advances its clock
	synctest.Wait()
}

func TestPolicyCacheFreshStaleExpired(t *testing.T) {
	cacheCase(t, nil, func(t *testing.T, c *halt.PolicyCache[string], db *planDB) {
		wantPlan(t, c, "ann", 1)
		pass(cacheTTL - 1)
		wantPlan(t, c, "ann", 1)
		wantLoads(t, db, 1)

		pass(1) // stale: the old one at once, exactly one load
		db.set(func() { db.delay = 100 * time.Millisecond })
		for range 100 {
			wantPlan(t, c, "ann", 1)
		}
		wantLoads(t, db, 2)
		pass(100 * time.Millisecond)
		wantPlan(t, c, "ann", 2) // and its age counts from its arrival
		pass(cacheTTL - 1)
		wantPlan(t, c, "ann", 2)
		wantLoads(t, db, 2)

		pass(1 + cacheStale - 1)
		wantPlan(t, c, "ann", 2)
		pass(100 * time.Millisecond)
		wantPlan(t, c, "ann", 3)

		pass(cacheTTL + cacheStale) // too old to use
		wantPlanAfter(t, c, "ann", 4, 100*time.Millisecond)
		wantPlanAfter(t, c, "bob", 5, 100*time.Millisecond)
		wantLoads(t, db, 5)
	})
}

func TestPolicyCacheOptions(t *testing.T) {
	o := &halt.PolicyCacheOptions{TTL: 3 * time.Second, Stale: 2 * time.Second, LoadTimeout: 5 * time.Second}
	cacheCase(t, o, func(t *testing.T, c *halt.PolicyCache[string], db *planDB) {
		db.set(func() { db.delay = 4 * time.Second })
		wantPlanAfter(t, c, "ann", 1, 4*time.Second)
		pass(3 * time.Second)
		wantPlan(t, c, "ann", 1)
		pass(2 * time.Second)
		wantPlanAfter(t, c, "ann", 2, 2*time.Second) // joins the load in the background
		wantLoads(t, db, 2)
	})
	// The largest values mean for ever, and nothing overflows.
	o = &halt.PolicyCacheOptions{TTL: halt.Never, Stale: halt.Never, LoadTimeout: halt.Never, MaxEntries: 1 << 40}
	cacheCase(t, o, func(t *testing.T, c *halt.PolicyCache[string], db *planDB) {
		db.set(func() { db.delay = 1000 * time.Hour })
		wantPlanAfter(t, c, "ann", 1, 1000*time.Hour)
		pass(100_000 * time.Hour)
		wantPlan(t, c, "ann", 1)
		wantLoads(t, db, 1)
	})
}

func TestPolicyCacheWiring(t *testing.T) {
	load := new(planDB).load
	for name, tt := range map[string]struct {
		load func(context.Context, string) (halt.Policy, error)
		o    halt.PolicyCacheOptions
		want []string
	}{
		"no load":         {nil, halt.PolicyCacheOptions{}, []string{"load"}},
		"negative":        {load, halt.PolicyCacheOptions{TTL: -1, Stale: -1, LoadTimeout: -1, MaxEntries: -1}, []string{"TTL", "Stale", "LoadTimeout", "MaxEntries"}},
		"invalid default": {load, halt.PolicyCacheOptions{TTL: -1, Default: halt.Policy{Name: "free"}}, []string{"TTL", "Default", "Limit", "Window"}},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				v := fmt.Sprint(recover())
				for _, w := range append(tt.want, "halt: NewPolicyCache") {
					if !strings.Contains(v, w) {
						t.Errorf("panicked with %q, which doesn't name %s", v, w)
					}
				}
			}()
			halt.NewPolicyCache(tt.load, &tt.o)
		})
	}
	halt.NewPolicyCache(load, &halt.PolicyCacheOptions{Default: halt.Policy{Name: "all", Limit: halt.Unlimited}})
}

func TestPolicyCacheCoalesces(t *testing.T) {
	cacheCase(t, nil, func(t *testing.T, c *halt.PolicyCache[string], db *planDB) {
		db.set(func() { db.delay = 500 * time.Millisecond })
		var wg sync.WaitGroup
		for i := range 1000 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 400 * time.Microsecond) //nolint:forbidigo // in a bubble
				if p, err := c.Get(t.Context(), "ann"); err != nil || p.Limit != 1 {
					t.Errorf("Get = limit %d, %v", p.Limit, err)
				}
			})
		}
		wg.Wait()
		wantLoads(t, db, 1)
	})
}

func TestPolicyCacheCallersContext(t *testing.T) {
	cacheCase(t, nil, func(t *testing.T, c *halt.PolicyCache[string], db *planDB) {
		db.set(func() { db.delay = 500 * time.Millisecond })
		ended, end := context.WithCancel(t.Context())
		end()
		if _, err := c.Get(ended, "ann"); !errors.Is(err, context.Canceled) || errors.Is(err, halt.ErrPolicyLoad) {
			t.Errorf("Get with an ended context = %v", err)
		}
		synctest.Wait()
		wantLoads(t, db, 0) // nobody would wait for it

		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		start := time.Now()
		if _, err := c.Get(ctx, "ann"); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, halt.ErrPolicyLoad) {
			t.Errorf("Get whose context ends = %v", err)
		}
		if took := time.Since(start); took != 100*time.Millisecond {
			t.Errorf("Get whose context ends took %v", took)
		}
		wantPlanAfter(t, c, "ann", 1, 400*time.Millisecond) // the load went on
		if p, err := c.Get(ended, "ann"); err != nil || p.Limit != 1 {
			t.Errorf("a known policy = limit %d, %v; needs no context", p.Limit, err)
		}
		pass(cacheTTL)
		if p, err := c.Get(ended, "ann"); err != nil || p.Limit != 1 {
			t.Errorf("a stale policy = limit %d, %v; needs no context", p.Limit, err)
		}
		pass(500 * time.Millisecond)
		wantPlan(t, c, "ann", 2)
	})
	synctest.Test(t, func(t *testing.T) {
		type private struct{}
		var ended context.Context
		c := halt.NewPolicyCache(func(ctx context.Context, _ string) (halt.Policy, error) {
			if v := ctx.Value(private{}); v != nil {
				t.Errorf("the load sees %v of one caller", v)
			}
			if d, ok := ctx.Deadline(); !ok || time.Until(d) != cacheTimeout {
				t.Errorf("the load's deadline is %v, %v", d, ok)
			}
			ended = ctx
			return plan(1), nil
		}, nil)
		wantPlan(t, c, "ann", 1)
		if _, err := c.Get(context.WithValue(t.Context(), private{}, "a token"), "bob"); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if ended.Err() == nil {
			t.Error("the context of a load that has returned goes on, and its timer with it")
		}
	})
}

func TestPolicyCacheInvalidate(t *testing.T) {
	cacheCase(t, nil, func(t *testing.T, c *halt.PolicyCache[string], db *planDB) {
		c.Invalidate("ann") // unknown: nothing to do
		wantPlan(t, c, "ann", 1)
		wantPlan(t, c, "bob", 2)
		c.Invalidate("ann")
		wantPlan(t, c, "ann", 3)
		wantPlan(t, c, "bob", 2)

		db.set(func() { db.err = errNoSuchUser })
		wantFailure(t, c, "eve", errNoSuchUser, 0)
		db.set(func() { db.err = nil })
		c.Invalidate("eve") // who has just signed up
		wantPlan(t, c, "eve", 5)
	})
	t.Run("during a load", func(t *testing.T) {
		cacheCase(t, nil, func(t *testing.T, c *halt.PolicyCache[string], db *planDB) {
			db.set(func() { db.delay = 400 * time.Millisecond })
			var wg sync.WaitGroup
			wg.Go(func() { wantPlanAfter(t, c, "ann", 1, 400*time.Millisecond) }) // began before: may see the old one
			pass(100 * time.Millisecond)
			c.Invalidate("ann")
			wantLoads(t, db, 1)
			for range 10 { // waits for the first, and then for its own
				wg.Go(func() { wantPlanAfter(t, c, "ann", 2, 700*time.Millisecond) })
			}
			wg.Wait()
			wantPlan(t, c, "ann", 2)
			wantLoads(t, db, 2)
			if n := db.most; n != 1 {
				t.Errorf("%d loads of the key ran at once", n)
			}
		})
	})
	t.Run("during a load in the background", func(t *testing.T) {
		cacheCase(t, nil, func(t *testing.T, c *halt.PolicyCache[string], db *planDB) {
			wantPlan(t, c, "ann", 1)
			pass(cacheTTL)
			db.set(func() { db.delay = 400 * time.Millisecond })
			wantPlan(t, c, "ann", 1)
			c.Invalidate("ann")
			pass(400 * time.Millisecond) // nobody waits: what came is dropped
			wantPlanAfter(t, c, "ann", 3, 400*time.Millisecond)
		})
	})
	t.Run("waits LoadTimeout in all", func(t *testing.T) {
		cacheCase(t, &halt.PolicyCacheOptions{Default: plan(99)}, func(t *testing.T, c *halt.PolicyCache[string], db *planDB) {
			db.set(func() { db.delay = 900 * time.Millisecond })
			go func() { _, _ = c.Get(t.Context(), "ann") }()
			synctest.Wait()
			c.Invalidate("ann")
			wantPlanAfter(t, c, "ann", 99, cacheTimeout)
			pass(800 * time.Millisecond)
			wantPlan(t, c, "ann", 2)
		})
	})
}
