package cas

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
)

// The kinds of registers that there are.
var kinds = map[string]struct{ versions, tells, transactions bool }{
	"versions":     {versions: true},
	"telling":      {versions: true, tells: true},
	"transactions": {tells: true, transactions: true},
}

func TestConformance(t *testing.T) {
	for name, k := range kinds {
		t.Run(name, func(t *testing.T) {
			clock := storetest.NewClock(start)
			var r *register
			storetest.Run(t, storetest.Harness{
				New: func(tb testing.TB) halt.Store {
					clock.Set(halt.InstantOf(start))
					r = newRegister(clock.Now)
					r.versions, r.tells = k.versions, k.tells
					var reg Register = r
					if k.transactions {
						reg = transactions{r}
					}
					return open(tb, reg, Options{Clock: clock.Now})
				},
				Advance: func(_ testing.TB, _ halt.Store, d time.Duration) { clock.Advance(d) },
				Atomic:  k.transactions,
				Corrupt: damages(func(key string, f func(record) record) { r.mu.Lock(); defer r.mu.Unlock(); r.m[key] = f(r.m[key]) }),
				TTL: func(_ testing.TB, s halt.Store, c halt.Charge) (time.Duration, bool) {
					r.mu.Lock()
					defer r.mu.Unlock()
					rec, ok := r.m[key(s, c)]
					return time.Duration(rec.end-clock.Now()) * time.Microsecond, ok
				},
			})
		})
	}
}

// The suite in real time.
func TestConformanceRealTime(t *testing.T) {
	storetest.Run(t, storetest.Harness{
		New: func(tb testing.TB) halt.Store {
			return open(tb, transactions{newRegister(NewClock().Now)}, Options{})
		},
		Atomic: true,
	})
}

// The suite on a register of which one operation in ten fails, in one way or another.
func TestConformanceFaults(t *testing.T) {
	for name, k := range kinds {
		t.Run(name, func(t *testing.T) {
			clock := storetest.NewClock(start)
			storetest.Run(t, storetest.Harness{
				New: func(tb testing.TB) halt.Store {
					r := newRegister(clock.Now)
					r.versions, r.tells = k.versions, k.tells
					if strings.Contains(tb.Name(), "Concurrent") { // other cases follow what becomes of each call
						r.fault = faults(rand.New(rand.NewPCG(1, 2)), 10)
					}
					var reg Register = r
					if k.transactions {
						reg = transactions{r}
					}
					return open(tb, reg, Options{Clock: clock.Now})
				},
				Advance:      func(_ testing.TB, _ halt.Store, d time.Duration) { clock.Advance(d) },
				LosesReplies: true,
			})
		})
	}
}

// faults returns what makes one operation in n fail. It is called with the register's lock.
func faults(rng *rand.Rand, n int) func(op string) fault {
	return func(string) fault {
		if rng.IntN(n) != 0 {
			return none
		}
		return fault(1 + rng.IntN(int(busy)))
	}
}

// key returns the key of the register for the charge's budget.
func key(s halt.Store, c halt.Charge) string { return halt.StorageKey(s.(*Store).o.Prefix, c) }

// damages are ways to spoil what a register holds.
func damages(change func(key string, f func(record) record)) map[string]func(testing.TB, halt.Store, halt.Charge) {
	set := func(f func(b []byte) []byte) func(testing.TB, halt.Store, halt.Charge) {
		return func(tb testing.TB, s halt.Store, c halt.Charge) {
			tb.Helper()
			change(key(s, c), func(r record) record {
				if r.entry.Value == nil {
					tb.Errorf("no value to be damaged")
				}
				r.entry.Value = f(r.entry.Value)
				if r.entry.Version != 0 {
					r.entry.Version += 1 << 40
				}
				return r
			})
		}
	}
	return map[string]func(testing.TB, halt.Store, halt.Charge){
		"empty":           set(func([]byte) []byte { return []byte{} }),
		"text":            set(func([]byte) []byte { return []byte("hello, world: this is somebody else's") }),
		"number":          set(func([]byte) []byte { return []byte("42") }),
		"cut off":         set(func(b []byte) []byte { return b[:len(b)-1] }),
		"no state":        set(func(b []byte) []byte { return b[:1+len(nonce{})] }),
		"too long":        set(func(b []byte) []byte { return append(b, 0) }),
		"other format":    set(func(b []byte) []byte { b[0]++; return b }),
		"another version": set(func(b []byte) []byte { b[1+len(nonce{})]++; return b }),
	}
}
