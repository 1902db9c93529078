//go:build !race

package memory_test

import (
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

// heap returns the bytes of live objects.
func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// A million keys that are seen once leave memory flat and a key that is deep in debt refused, whatever it was counted by.
func TestFlood(t *testing.T) {
	const maxKeys, flood = 100_000, 1_000_000
	synctest.Test(t, func(t *testing.T) {
		s := memory.New(&memory.Options{MaxKeys: maxKeys})
		var deep []halt.Charge
		for name, p := range policies() {
			if p.Window = time.Hour; p.Algorithm == halt.FixedWindow {
				p.Window, p.Period, p.Limit = 0, halt.Period{Unit: halt.Year}, 100
			}
			p.Block = 0
			for _, key := range []string{"abuser", "other"} {
				c := p.Charge(name+key, p.Capacity())
				must(t, take(t, s, c).Allowed, "%s: refused at first", name)
				c.Cost = 1
				deep = append(deep, c)
			}
		}
		once := halt.Policy{Name: "ip", Limit: 100, Window: time.Minute}
		key := []byte("10.000.000.000")
		var early int
		for i := range flood {
			for at := len(key) - 1; ; at-- {
				if key[at] == '.' {
					continue
				}
				if key[at]++; key[at] <= '9' {
					break
				}
				key[at] = '0'
			}
			take(t, s, once.Charge(string(key), 1))
			if i%1000 == 0 {
				time.Sleep(time.Millisecond) //nolint:forbidigo // the bubble's clock
			}
			if i == 2*maxKeys {
				early = heap()
			}
		}
		must(t, s.Len() <= maxKeys, "Len is %d", s.Len())
		if late := heap(); late > early+early/10 { // the tables grow a little, each as full as it ever was
			t.Errorf("live memory went from %d to %d", early, late)
		}
		for _, c := range deep {
			if d := take(t, s, c); d.Allowed {
				t.Errorf("%s is forgotten", c.Policy.Name)
			}
		}
	})
}

// The expired leave as others come, and the memory with them, long before the bound.
func TestReclaimsTheExpired(t *testing.T) {
	for name, p := range map[string]halt.Policy{
		"bucket":  {Name: "p", Limit: 10, Window: time.Minute},
		"sliding": {Name: "p", Limit: 10, Window: time.Minute, Algorithm: halt.SlidingWindow},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				empty := heap()
				s := memory.New(nil)
				const many = 50_000
				for i := range many {
					take(t, s, p.Charge(fmt.Sprint(i), 1))
				}
				must(t, s.Len() == many, "Len is %d", s.Len())
				full := heap() - empty

				time.Sleep(2 * time.Minute) //nolint:forbidigo // the bubble's clock
				for i := range many / 2 {
					take(t, s, p.Charge(fmt.Sprint("new", i), 1))
					time.Sleep(time.Second) //nolint:forbidigo // the bubble's clock
				}
				must(t, s.Len() < 1000, "Len is %d with a minute's newcomers", s.Len())
				if now := heap() - empty; now > full/4 {
					t.Errorf("%d bytes are held for %d keys, after %d for %d", now, s.Len(), full, many)
				}
				runtime.KeepAlive(s)
			})
		})
	}
}

// A bucket's key takes at most 48 bytes, everything included, in a store that is nearly full.
func TestBytesPerKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := halt.Policy{Name: "p", Limit: 10, Window: time.Hour}
		before := heap()
		s := memory.New(nil)
		n := 0
		for _, until := range []int{700_000, 760_000, 820_000, 880_000, 940_000, 1_000_000} {
			for ; n < until; n++ {
				take(t, s, p.Charge(fmt.Sprint("user:", n), 1))
			}
			if each := float64(heap()-before) / float64(n); each > 48 {
				t.Errorf("%.1f bytes a key at %d keys", each, n)
			}
		}
		must(t, s.Len() == n, "Len is %d", s.Len())
	})
}
