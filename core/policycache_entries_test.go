package halt_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	halt "github.com/halt-dev/halt/core"
)

func TestPolicyCacheEvicts(t *testing.T) {
	const room, keys, hot = 2000, 50_000, 100 // a million keys show the same, in 20 times the time
	loads := 0
	last := make(chan int, 1) // orders the loads, so that they may count
	c := halt.NewPolicyCache(func(_ context.Context, key int) (halt.Policy, error) {
		last <- key
		loads++
		<-last
		return plan(int64(key) + 1), nil
	}, &halt.PolicyCacheOptions{MaxEntries: room, LoadTimeout: time.Minute})
	get := func(key int) {
		if p, err := c.Get(t.Context(), key); err != nil || p.Limit != int64(key)+1 {
			t.Fatalf("Get(%d) = limit %d, %v", key, p.Limit, err)
		}
	}
	hotLoads := 0
	for i := hot; i < keys; i++ {
		get(i)
		if i%1000 == 0 {
			before := loads
			for k := range hot {
				get(k)
			}
			hotLoads += loads - before
		}
	}
	if hotLoads > 2*hot {
		t.Errorf("the %d keys in use were loaded %d times during the flood", hot, hotLoads)
	}
	if loads != keys-hot+hotLoads {
		t.Errorf("%d loads of %d keys", loads, keys)
	}
	// What is kept: walking back, a key that isn't loaded was kept since before the walk.
	kept, recent := 0, 0
	for i := keys - 1; i >= 0; i-- {
		before := loads
		if get(i); loads == before {
			kept++
			if i >= keys-room/2 {
				recent++
			}
		}
	}
	if kept > room || recent < room*2/5 {
		t.Errorf("%d entries were kept, of room for %d; %d of the last %d", kept, room, recent, room/2)
	}
}

func TestPolicyCacheEvictsExpiredFirst(t *testing.T) {
	cacheCase(t, &halt.PolicyCacheOptions{MaxEntries: 3}, func(t *testing.T, c *halt.PolicyCache[string], db *planDB) {
		wantPlan(t, c, "ann", 1)
		wantPlan(t, c, "bob", 2)
		db.set(func() { db.err = errNoSuchUser })
		wantFailure(t, c, "eve", errNoSuchUser, 0)
		db.set(func() { db.err = nil })
		pass(cacheRetry)
		wantPlan(t, c, "dan", 4) // in place of the failure, which is over
		for _, key := range []string{"ann", "bob", "dan"} {
			if p, err := c.Get(t.Context(), key); err != nil || p.Limit == 0 {
				t.Errorf("%s: %v", key, err)
			}
		}
		wantLoads(t, db, 4)
		wantPlan(t, c, "gus", 5) // in place of one of the others
		wantPlan(t, c, "gus", 5)
	})
}

func TestPolicyCacheKeepsWhatIsLoaded(t *testing.T) {
	cacheCase(t, &halt.PolicyCacheOptions{MaxEntries: 1}, func(t *testing.T, c *halt.PolicyCache[string], db *planDB) {
		hang := make(chan struct{})
		db.set(func() { db.hang = hang })
		go func() { _, _ = c.Get(t.Context(), "ann") }()
		synctest.Wait()
		db.set(func() { db.hang = nil })
		for i := range int64(10) { // come and go meanwhile
			wantPlan(t, c, strconv.FormatInt(i, 10), 2+i)
		}
		close(hang)
		synctest.Wait()
		wantPlan(t, c, "ann", 1)
		wantLoads(t, db, 11)
	})
}

// A framework may reuse the memory that its strings point to.
func TestPolicyCacheOwnsItsKeys(t *testing.T) {
	type userID string
	synctest.Test(t, func(t *testing.T) {
		loads := 0
		c := halt.NewPolicyCache(func(_ context.Context, id userID) (halt.Policy, error) {
			loads++
			return plan(int64(len(id))), nil
		}, nil)
		buf := []byte("anna")
		alias := userID(unsafe.String(&buf[0], len(buf)))
		if _, err := c.Get(t.Context(), alias); err != nil {
			t.Fatal(err)
		}
		copy(buf, "hugo")
		for _, id := range []userID{"anna", alias} {
			if _, err := c.Get(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}
		if loads != 2 {
			t.Errorf("%d loads, want 1 for anna and 1 for hugo", loads)
		}
	})
	type user struct {
		ids [2]any
		_   struct{}
		own struct{ tenant userID }
	}
	synctest.Test(t, func(t *testing.T) {
		asked := make(chan user, 2)
		c := halt.NewPolicyCache(func(_ context.Context, u user) (halt.Policy, error) {
			time.Sleep(time.Second / 2) //nolint:forbidigo // the bubble's clock
			asked <- u
			return plan(1), nil
		}, nil)
		buf := []byte("anna")
		alias := userID(unsafe.String(&buf[0], len(buf)))
		key := func(id userID) (u user) {
			u.ids, u.own.tenant = [2]any{id, 7}, id
			return u
		}
		if _, err := c.Get(t.Context(), key(alias)); err != nil {
			t.Fatal(err)
		}
		copy(buf, "hugo")
		if _, err := c.Get(t.Context(), key("anna")); err != nil {
			t.Fatal(err)
		}
		if u := <-asked; u != key("anna") || len(asked) > 0 {
			t.Errorf("a load of %v, and %d more, want one of anna", u, len(asked))
		}
	})
}

// A test's bubble starts at the same time as the one before it: for a cache that both use, the clock steps back.
func TestPolicyCacheClockStepsBack(t *testing.T) {
	var c *halt.PolicyCache[string]
	db := new(planDB)
	synctest.Test(t, func(t *testing.T) {
		c = halt.NewPolicyCache(db.load, nil)
		pass(24 * time.Hour)
		wantPlan(t, c, "ann", 1)
		db.set(func() { db.err = errNoSuchUser })
		wantFailure(t, c, "bob", errNoSuchUser, 0)
		db.set(func() { db.err = nil })
	})
	synctest.Test(t, func(t *testing.T) {
		wantPlan(t, c, "ann", 3)
		wantPlan(t, c, "bob", 4)
		wantPlan(t, c, "bob", 4)
	})
}

func TestPolicyCacheNaNKeys(t *testing.T) {
	c := halt.NewPolicyCache(func(context.Context, float64) (halt.Policy, error) { return plan(1), nil },
		&halt.PolicyCacheOptions{MaxEntries: 2})
	nan := 0.0
	nan /= nan
	for range 100 { // never found again, but no harm
		if _, err := c.Get(t.Context(), nan); err != nil {
			t.Fatal(err)
		}
		c.Invalidate(nan)
	}
}

// After an Invalidate nobody sees what was before it, whatever runs at the time.
func TestPolicyCacheRace(t *testing.T) {
	const keys, changes = 40, 300
	var plans [keys]atomic.Int64 // the database: the key's current limit
	for i := range plans {
		plans[i].Store(1)
	}
	c := halt.NewPolicyCache(func(_ context.Context, key int) (halt.Policy, error) {
		limit := plans[key].Load()
		for range rand.IntN(20) {
			runtime.Gosched()
		}
		switch rand.IntN(10) {
		case 0:
			return halt.Policy{}, errNoSuchUser
		case 1:
			panic("no such user")
		}
		return plan(limit), nil
	}, &halt.PolicyCacheOptions{TTL: time.Microsecond, Stale: time.Hour, MaxEntries: keys / 2, LoadTimeout: time.Minute})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range changes {
				key := rand.IntN(keys)
				var invalidated int64
				if rand.IntN(3) == 0 {
					invalidated = plans[key].Add(1)
					c.Invalidate(key)
				}
				p, err := c.Get(t.Context(), key)
				switch {
				case err != nil && !errors.Is(err, halt.ErrPolicyLoad):
					t.Error(err)
				case err == nil && p.Limit < invalidated:
					t.Errorf("saw plan %d after the change to %d", p.Limit, invalidated)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkPolicyCacheHit(b *testing.B) {
	ctx := context.Background()
	load := func(context.Context, string) (halt.Policy, error) { return plan(1), nil }
	keys := make([]string, 1024)
	c := halt.NewPolicyCache(load, &halt.PolicyCacheOptions{TTL: time.Hour})
	for i := range keys {
		keys[i] = "user-" + strconv.Itoa(i)
		if _, err := c.Get(ctx, keys[i]); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("one key", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = c.Get(ctx, keys[0])
		}
	})
	b.Run("keys", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			_, _ = c.Get(ctx, keys[i%len(keys)])
			i++
		}
	})
	b.Run("keys in parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for i := rand.IntN(len(keys)); pb.Next(); i++ {
				_, _ = c.Get(ctx, keys[i%len(keys)])
			}
		})
	})
}
