package halt_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	halt "github.com/halt-dev/halt/core"
)

func TestPolicyCacheSlowLoad(t *testing.T) {
	t.Run("default", func(t *testing.T) {
		cacheCase(t, &halt.PolicyCacheOptions{Default: plan(99)}, func(t *testing.T, c *halt.PolicyCache[string], db *planDB) {
			hang := make(chan struct{})
			db.set(func() { db.hang = hang })
			wantPlanAfter(t, c, "ann", 99, cacheTimeout)
			wantPlan(t, c, "ann", 99) // who comes later doesn't wait again
			pass(2 * time.Second)
			close(hang)
			synctest.Wait()
			wantPlan(t, c, "ann", 1) // what came late is kept
			wantLoads(t, db, 1)
		})
	})
	t.Run("error", func(t *testing.T) {
		cacheCase(t, nil, func(t *testing.T, c *halt.PolicyCache[string], db *planDB) {
			hang := make(chan struct{})
			db.set(func() { db.hang = hang })
			go func() {
				time.Sleep(400 * time.Millisecond) //nolint:forbidigo // in a bubble
				wantFailure(t, c, "ann", context.DeadlineExceeded, 600*time.Millisecond)
			}()
			wantFailure(t, c, "ann", context.DeadlineExceeded, cacheTimeout)
			wantFailure(t, c, "ann", context.DeadlineExceeded, 0)
			synctest.Wait()
			close(hang)
			synctest.Wait()
			wantPlan(t, c, "ann", 1)
		})
	})
	t.Run("heeds its context", func(t *testing.T) {
		cacheCase(t, nil, func(t *testing.T, c *halt.PolicyCache[string], db *planDB) {
			db.set(func() { db.delay = time.Hour })
			wantFailure(t, c, "ann", context.DeadlineExceeded, cacheTimeout)
			synctest.Wait()
			wantFailure(t, c, "ann", context.DeadlineExceeded, 0) // remembered
			wantLoads(t, db, 1)
			db.set(func() { db.delay = 0 })
			pass(cacheRetry)
			wantPlan(t, c, "ann", 2)
		})
	})
}

func TestPolicyCacheHungLoad(t *testing.T) {
	cacheCase(t, nil, func(t *testing.T, c *halt.PolicyCache[string], db *planDB) {
		wantPlan(t, c, "ann", 1)
		hang := make(chan struct{})
		db.set(func() { db.hang = hang })
		pass(cacheTTL)
		for range 9 { // the known policy is returned at once while the load hangs
			for range 10 {
				wantPlan(t, c, "ann", 1)
			}
			pass(cacheStale / 10)
		}
		pass(cacheStale / 10)
		for range 100 { // and when it is too old, nobody waits
			wantFailure(t, c, "ann", context.DeadlineExceeded, 0)
			c.Invalidate("ann") // which doesn't start another one either
			pass(time.Second)
		}
		wantLoads(t, db, 2)
		db.set(func() { db.hang = nil })
		close(hang)
		synctest.Wait()
		wantPlan(t, c, "ann", 3) // not the second, which was begun before Invalidate
		if n := db.most; n != 1 {
			t.Errorf("%d loads of the key ran at once", n)
		}
	})
}

func TestPolicyCacheHungLoadsAreBounded(t *testing.T) {
	const bound, callers = 10_000, 11_000
	logged := cacheCase(t, &halt.PolicyCacheOptions{Default: plan(99_999)}, func(t *testing.T, c *halt.PolicyCache[string], db *planDB) {
		hang := make(chan struct{})
		db.set(func() { db.hang = hang })
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				if p, err := c.Get(t.Context(), strconv.Itoa(i)); err != nil || p.Limit != 99_999 {
					t.Errorf("Get = limit %d, %v", p.Limit, err)
				}
			})
		}
		wg.Wait()
		for i := range callers {
			wantPlanAfter(t, c, "x"+strconv.Itoa(i), 99_999, 0)
		}
		wantLoads(t, db, bound)
		db.set(func() { db.hang = nil })
		close(hang)
		synctest.Wait()
		for i := range callers { // those that found no room were not remembered as failures
			if p, err := c.Get(t.Context(), strconv.Itoa(i)); err != nil || p.Limit == 99_999 {
				t.Fatalf("Get = limit %d, %v", p.Limit, err)
			}
		}
		wantLoads(t, db, callers)
	})
	if !strings.Contains(logged, "reason=busy") {
		t.Errorf("logged: %s", logged)
	}
}

func TestPolicyCacheErrors(t *testing.T) {
	cacheCase(t, nil, func(t *testing.T, c *halt.PolicyCache[string], db *planDB) {
		db.set(func() { db.err = fmt.Errorf("users: %w", errNoSuchUser) })
		for range 100 {
			wantFailure(t, c, "ann", errNoSuchUser, 0)
		}
		pass(cacheRetry - 1)
		wantFailure(t, c, "ann", errNoSuchUser, 0)
		wantLoads(t, db, 1)
		pass(1)
		for range 100 {
			wantFailure(t, c, "ann", errNoSuchUser, 0)
		}
		wantLoads(t, db, 2)
		_, err := c.Get(t.Context(), "ann")
		if kind := halt.ErrorKind(err); kind != "policy_load" {
			t.Errorf("ErrorKind = %q", kind)
		}
		db.set(func() { db.err = nil })
		pass(cacheRetry)
		wantPlan(t, c, "ann", 3) // recovered
		wantLoads(t, db, 3)

		// A known policy outlives errors, until it is too old; the database sees one load in a second.
		db.set(func() { db.err = errNoSuchUser })
		pass(cacheTTL)
		for i := range int64(cacheStale / cacheRetry) {
			wantPlan(t, c, "ann", 3)
			wantPlan(t, c, "ann", 3)
			wantLoads(t, db, 4+i)
			pass(cacheRetry)
		}
		wantFailure(t, c, "ann", errNoSuchUser, 0)
		db.set(func() { db.err = nil })
		pass(cacheRetry)
		wantPlan(t, c, "ann", db.loads.Load()+1)
	})
	// With a Default, and a TTL shorter than a second.
	o := &halt.PolicyCacheOptions{TTL: 100 * time.Millisecond, Default: plan(99)}
	cacheCase(t, o, func(t *testing.T, c *halt.PolicyCache[string], db *planDB) {
		db.set(func() { db.err = errNoSuchUser })
		wantPlan(t, c, "ann", 99)
		wantPlan(t, c, "ann", 99)
		wantLoads(t, db, 1)
		db.set(func() { db.err = nil })
		pass(100 * time.Millisecond)
		wantPlan(t, c, "ann", 2)
	})
}

func TestPolicyCacheLoadPanics(t *testing.T) {
	cacheCase(t, nil, func(t *testing.T, c *halt.PolicyCache[string], db *planDB) {
		db.set(func() { db.after = func() (halt.Policy, error) { panic("the secret is swordfish") } })
		wantFailure(t, c, "ann", nil, 0)
		_, err := c.Get(t.Context(), "ann")
		var load *halt.LoadError
		if !errors.As(err, &load) || load.Panic != "the secret is swordfish" || !strings.Contains(load.Stack, "TestPolicyCacheLoadPanics") {
			t.Errorf("error = %#v; want one that holds the panic and where it was", err)
		}
		if strings.Contains(err.Error()+load.Stack, "swordfish") {
			t.Errorf("the panic's value is in the text: %v", err)
		}
		wantLoads(t, db, 1)

		pass(cacheRetry)
		db.set(func() { db.after = func() (halt.Policy, error) { runtime.Goexit(); return plan(1), nil } })
		wantFailure(t, c, "ann", nil, 0)
		wantLoads(t, db, 2)

		pass(cacheRetry)
		db.set(func() { db.after = nil })
		wantPlan(t, c, "ann", 3)
	})
}

func TestPolicyCacheInvalidPolicy(t *testing.T) {
	cacheCase(t, nil, func(t *testing.T, c *halt.PolicyCache[string], db *planDB) {
		db.set(func() { db.after = func() (halt.Policy, error) { return halt.Policy{}, nil } })
		wantFailure(t, c, "ann", halt.ErrInvalidPolicy, 0)
		wantFailure(t, c, "ann", halt.ErrInvalidPolicy, 0)
		wantLoads(t, db, 1)
		_, err := c.Get(t.Context(), "ann")
		if kind := halt.ErrorKind(err); kind != "invalid_policy" {
			t.Errorf("ErrorKind = %q", kind)
		}
		pass(cacheRetry)
		db.set(func() { db.after = func() (halt.Policy, error) { return plan(7), errNoSuchUser } })
		wantFailure(t, c, "ann", errNoSuchUser, 0) // an error counts, whatever comes with it
	})
}

// Failures that no caller sees reach the log: one line in ten seconds, with nothing of the error's text.
func TestPolicyCacheLogs(t *testing.T) {
	wantLines := func(got string, want ...string) {
		t.Helper()
		lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
		if strings.Contains(got, "swordfish") || len(lines) != len(want) {
			t.Fatalf("logged:\n%swant %d lines, without an error's text", got, len(want))
		}
		for i, w := range want {
			if !strings.Contains(lines[i], `level=WARN msg="halt: policy load failed" error=policy_load `+w) {
				t.Errorf("logged: %s\nwant: %s", lines[i], w)
			}
		}
	}
	secret := errors.New("dial 10.0.0.7: swordfish")
	wantLines(cacheCase(t, nil, func(t *testing.T, c *halt.PolicyCache[string], db *planDB) {
		wantPlan(t, c, "ann", 1)
		db.set(func() { db.err = secret })
		wantFailure(t, c, "bob", secret, 0) // who was told needs no log
		pass(cacheTTL)
		for range 11 { // stale
			wantPlan(t, c, "ann", 1)
			pass(time.Second)
		}
	}), "reason=error suppressed=0", "reason=error suppressed=9")
	wantLines(cacheCase(t, &halt.PolicyCacheOptions{Default: plan(99)}, func(t *testing.T, c *halt.PolicyCache[string], db *planDB) {
		hang := make(chan struct{})
		db.set(func() { db.hang = hang })
		wantPlanAfter(t, c, "ann", 99, cacheTimeout)
		close(hang)
		db.set(func() { db.after = func() (halt.Policy, error) { panic("swordfish") } })
		pass(10 * time.Second)
		wantPlan(t, c, "bob", 99)
	}), "reason=timeout suppressed=0", "reason=panic stack=")
}

// A caller's deadline may be sooner than the LoadTimeout, or the same: the Default is for both.
func TestPolicyCacheDefaultAtTheCallersDeadline(t *testing.T) {
	cacheCase(t, &halt.PolicyCacheOptions{Default: plan(7)}, func(t *testing.T, c *halt.PolicyCache[string], db *planDB) {
		db.set(func() { db.delay = time.Hour })
		for _, patience := range []time.Duration{cacheTimeout / 2, cacheTimeout} {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			if p, err := c.Get(ctx, "ann"); err != nil || p != plan(7) {
				t.Errorf("after %v: %v, %v", patience, p.Limit, err)
			}
			cancel()
		}
	})
}
