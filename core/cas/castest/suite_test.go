package castest_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/cas"
	"github.com/halt-dev/halt/core/cas/castest"
	"github.com/halt-dev/halt/core/storetest"
)

// Registers of all kinds that are right pass.
func TestRegister(t *testing.T) {
	for name, k := range map[string]kind{
		"values": {}, "values that it tells": byValue, "versions": {versions: true}, "versions that it tells": byVersion,
	} {
		t.Run(name, func(t *testing.T) { castest.Run(t, harness(k, false, flaw{})) })
	}
	t.Run("transactions", func(t *testing.T) { castest.Run(t, harness(byValue, true, flaw{})) })
	t.Run("alone", func(t *testing.T) {
		h := harness(byValue, true, flaw{})
		h.Another = nil
		h.MaxKey = 100
		castest.Run(t, h)
	})
}

// Some registers want to look before their first swap, and decline now and then.
func TestDeclines(t *testing.T) {
	for _, tells := range []bool{false, true} {
		castest.Run(t, harness(kind{tells: tells}, true, flaw{
			swap: func(r *register, ctx context.Context, key string, old cas.Entry, value []byte, life time.Duration) (cas.Result, error) {
				if n := r.calls.Add(1); n == 1 || n%7 == 0 {
					is, err := r.doLoad(ctx, key)
					return cas.Result{Found: tells, Entry: is}, err
				}
				return r.doSwap(ctx, key, old, value, life)
			},
			swapAll: func(r *register, ctx context.Context, swaps []cas.Swap) (bool, error) {
				if every(r, 3) {
					return false, ctx.Err()
				}
				return r.doSwapAll(ctx, swaps)
			},
		}))
	}
}

// Without another register there is no way to see what one gets wrong only among several.
func TestAlone(t *testing.T) {
	h := harness(kind{}, false, ownLock)
	h.Another = nil
	castest.Run(t, h)
}

// quick runs a case where real time passes at once.
func quick(t *testing.T, h castest.Harness, name string) (err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { err = castest.Check(t, h, name) })
	return err
}

// Lives in real time.
func TestRealTime(t *testing.T) {
	for _, name := range []string{"Life", "LifeRenewed", "SwapAllLife"} {
		if err := quick(t, realTime(harness(byValue, true, flaw{})), name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for what, life := range map[string]func(time.Duration) time.Duration{
			"a quarter":     func(l time.Duration) time.Duration { return l / 4 },
			"whole seconds": func(l time.Duration) time.Duration { return max(l/time.Second, 1) * time.Second },
			"a minute":      func(l time.Duration) time.Duration { return min(l, time.Minute-1) % time.Minute / 64 },
		} {
			if quick(t, realTime(harness(byValue, true, flaw{life: life})), name) == nil {
				t.Errorf("%s has nothing against a register that keeps entries for %s", name, what)
			}
		}
	}
}

// TestSuiteRejects feeds the suite registers that break the contract: the cases of the rule that each breaks say so.
func TestSuiteRejects(t *testing.T) {
	seen := make(map[string]bool)
	for _, m := range mutants {
		for _, by := range m.by {
			seen[by] = true
		}
		t.Run(m.name, func(t *testing.T) {
			right := m.kind
			if m.mixes {
				right = byValue
			}
			for _, by := range m.by {
				if err := castest.Check(t, harness(right, !right.versions, flaw{}), by); err != nil {
					t.Fatalf("without the flaw: %v", err)
				}
				if m.hangs {
					castest.Impatient(t)
				}
				m.flaw.far = strings.HasPrefix(by, "Concurrent")
				if err := rejected(t, harness(m.kind, !right.versions, m.flaw), by); err != nil {
					t.Log(err)
				} else {
					t.Errorf("%s has nothing against a register that %s", by, m.name)
				}
			}
		})
	}
	for name, rule := range castest.Rules() {
		if !seen[name] {
			t.Errorf("no mutant breaks the rule of %s", name)
		}
		if rule == "" {
			t.Errorf("%s has no rule to tell", name)
		}
	}
}

// rejected runs the case until it rejects the register: what shows only if two race may take more than once.
func rejected(t *testing.T, h castest.Harness, name string) (err error) {
	t.Helper()
	for n := 0; err == nil && (n == 0 || n < 50 && strings.HasPrefix(name, "Concurrent")); n++ {
		err = castest.Check(t, h, name)
	}
	return err
}

// TestLostReplies: where calls fail although they were carried out, a register may err, and must not say what it can't know.
func TestLostReplies(t *testing.T) {
	lossy := func(resends bool) castest.Harness {
		h := harness(byValue, true, flaw{
			far: true,
			load: func(r *register, ctx context.Context, key string) (cas.Entry, error) {
				if every(r, 5) {
					return cas.Entry{}, errLost
				}
				return r.doLoad(ctx, key)
			},
			swap: func(r *register, ctx context.Context, key string, old cas.Entry, value []byte, life time.Duration) (cas.Result, error) {
				res, err := r.doSwap(ctx, key, old, value, life)
				if err != nil || rand.IntN(3) != 0 {
					return res, err
				}
				if resends {
					return r.doSwap(ctx, key, old, value, life)
				}
				return cas.Result{}, errLost
			},
			swapAll: func(r *register, ctx context.Context, swaps []cas.Swap) (bool, error) {
				ok, err := r.doSwapAll(ctx, swaps)
				if every(r, 3) {
					return false, errLost
				}
				return ok, err
			},
		})
		h.LosesReplies = true
		return h
	}
	castest.Run(t, lossy(false))
	for _, name := range []string{"ConcurrentCreate", "ConcurrentReplace", "ConcurrentCount"} {
		if rejected(t, lossy(true), name) == nil {
			t.Errorf("%s has nothing against a register that sends again and returns the second answer", name)
		}
	}
}

// watching is a register that returns its own memory, and knows what it was.
type watching struct {
	transactions
	mu  *sync.Mutex
	all map[*byte][2][]byte // what was returned, and what it was, by where it is
}

func (w watching) note(e cas.Entry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(e.Value) > 0 {
		if _, ok := w.all[&e.Value[0]]; !ok {
			w.all[&e.Value[0]] = [2][]byte{e.Value, bytes.Clone(e.Value)}
		}
	}
}

func (w watching) Load(ctx context.Context, key string) (cas.Entry, error) {
	e, err := w.transactions.Load(ctx, key)
	w.note(e)
	return e, err
}

func (w watching) CompareAndSwap(ctx context.Context, key string, old cas.Entry, value []byte, life time.Duration) (cas.Result, error) {
	res, err := w.transactions.CompareAndSwap(ctx, key, old, value, life)
	w.note(res.Entry)
	return res, err
}

// A register's own tests have two halves: castest holds it against its contract, and storetest holds the store over it against a
// store's. Here it returns its own memory, which a store must leave as it is.
func TestStore(t *testing.T) {
	w := watching{mu: new(sync.Mutex), all: make(map[*byte][2][]byte)}
	h := harness(byValue, true, flaw{})
	start := time.Date(2026, time.March, 14, 15, 9, 26, 0, time.UTC)
	clock := storetest.NewClock(start)
	storetest.Run(t, storetest.Harness{
		New: func(tb testing.TB) halt.Store {
			w := w
			w.transactions = h.New(tb).(transactions)
			w.clock = func() time.Duration { return clock.Now().Time().Sub(start) }
			s, err := cas.New(w, &cas.Options{Timeout: 30 * time.Second, Clock: clock.Now})
			if err != nil {
				tb.Fatal(err)
			}
			return s
		},
		Advance: func(_ testing.TB, _ halt.Store, d time.Duration) { clock.Advance(d) },
		Atomic:  true,
	})
	if len(w.all) == 0 {
		t.Error("the store read nothing")
	}
	for _, v := range w.all {
		if !bytes.Equal(v[0], v[1]) {
			t.Fatal(fmt.Errorf("a store wrote into what a register returned: %q is %q", v[1], v[0]))
		}
	}
}
