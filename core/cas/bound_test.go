package cas

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
)

// taking is what was admitted, when.
type taking struct {
	at   halt.Instant
	cost int64
}

// bounded returns an error if some interval admitted more than the policy's theorem says, for clocks that are off by skew.
func bounded(p *halt.Policy, all []taking, skew time.Duration) error {
	slices.SortFunc(all, func(a, b taking) int { return int(a.at - b.at) })
	w, off := p.Window.Microseconds(), 2*skew.Microseconds()
	for i := range all {
		sum := int64(0)
		for j := i; j < len(all); j++ {
			sum += all[j].cost
			t := int64(all[j].at - all[i].at)
			wrong := false
			switch p.Algorithm {
			case halt.TokenBucket, halt.LeakyBucket:
				wrong = (sum-p.Capacity())*w > (t+off)*p.Limit
			case halt.FixedWindow:
				wrong = sum > p.Limit && (int64(all[i].at)-off/2)/w == (int64(all[j].at)+off/2)/w
			case halt.SlidingWindow, halt.InFlight:
				wrong = sum > p.Limit && t < w-off
			}
			if wrong {
				return fmt.Errorf("%d were admitted within %d µs", sum, t+1)
			}
		}
	}
	return nil
}

// Several stores on one register, of which operations fail in all ways there are, while time passes: no interval ever admits
// more than the bound. The clocks may differ, by as much as the bound then allows.
func TestNeverAbove(t *testing.T) {
	for a := halt.TokenBucket; a <= halt.InFlight; a++ {
		for _, skew := range []time.Duration{0, 150 * time.Millisecond, 2 * time.Second} {
			t.Run(fmt.Sprintf("%s/skew=%v", a, skew), func(t *testing.T) {
				for seed := range uint64(10) {
					neverAbove(t, a, skew, seed)
				}
			})
		}
	}
}

func neverAbove(t *testing.T, a halt.Algorithm, skew time.Duration, seed uint64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	clock := storetest.NewClock(start)
	r := newRegister(clock.Now)
	r.versions, r.tells = seed%2 == 0, seed%3 == 0
	r.fault = faults(rand.New(rand.NewPCG(seed, 2)), 6)
	p := halt.Policy{Name: "p", Algorithm: a, Limit: 1 + rng.Int64N(20), Window: 5 * time.Second}
	var mu sync.Mutex
	var all []taking
	var stores []*Store
	for i := range 3 {
		off := halt.Instant(skew.Microseconds()) * halt.Instant(i-1)
		stores = append(stores, open(t, r, Options{Clock: func() halt.Instant { return clock.Now() + off }, Skew: max(skew, time.Millisecond)}))
	}
	for range 60 {
		var wg sync.WaitGroup
		for _, s := range stores {
			for range 3 {
				c := p.Charge("k", 1+rng.Int64N(3))
				wg.Go(func() {
					if d, err := storetest.TakeOne(context.Background(), s, c); err == nil && d.Allowed {
						mu.Lock()
						defer mu.Unlock()
						all = append(all, taking{clock.Now(), c.Cost})
					}
				})
			}
		}
		wg.Wait()
		clock.Advance(time.Duration(rng.Int64N(int64(p.Window) / 4)))
	}
	if len(all) == 0 {
		t.Errorf("seed %d: nothing was admitted", seed)
	}
	if err := bounded(&p, all, skew); err != nil {
		t.Errorf("seed %d: %d per %v: %v", seed, p.Limit, p.Window, err)
	}
}

// Entries are kept for as long as a store whose clock is behind may need them.
func TestLife(t *testing.T) {
	s, r, clock := made(t)
	for a := halt.TokenBucket; a <= halt.InFlight; a++ {
		p := halt.Policy{Name: "p", Algorithm: a, Limit: 3, Window: time.Minute, Block: time.Hour}
		for range 5 {
			var life time.Duration
			r.on = func(_ string, l time.Duration, _ []byte) { life = l }
			d := take(t, s, p.Charge("k", 1))
			if want := d.ResetAfter + 2*s.o.Skew; life != want && (d.Allowed || life != 0) {
				t.Errorf("%s: an entry lives for %v, not %v: %+v", a, life, want, d)
			}
			life = 0
		}
		clock.Advance(time.Second)
	}
	// All is given back: the entry lives on for a while, so that its nonce can be recognised.
	var life time.Duration
	r.on = func(_ string, l time.Duration, _ []byte) { life = l }
	p := lasting(3)
	d := take(t, s, p.Charge("k", 1))
	d = take(t, s, halt.Charge{Policy: p, Key: "k", Cost: 1, Taken: 1, At: d.At, Mode: halt.Credit})
	if d.ResetAfter != 0 || life != 2*s.o.Skew {
		t.Errorf("an entry that is as one never seen lives for %v: %+v", life, d)
	}
}
