package cas

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
)

// Calls on one key that wait at the same time are one swap.
func TestCombining(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const callers = 100
		r := newRegister(NewClock().Now)
		s := open(t, r, Options{})
		c := lasting(1000).Charge("k", 1)
		r.gate = make(chan struct{})
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() { take(t, s, c) })
			synctest.Wait() // the first is on its way, the others wait for it
		}
		close(r.gate)
		wg.Wait()
		if loads, swaps := r.counts(); loads != 0 || swaps != 2 {
			t.Errorf("%d calls took %d loads and %d swaps, want 0 and 2", callers, loads, swaps)
		}
		if d := take(t, s, lasting(1000).Charge("k", 0)); d.Remaining != 1000-callers {
			t.Errorf("%d are left", d.Remaining)
		}
	})
}

// A key that one store uses costs one swap for each decision and no load, from its first use on.
func TestGuesses(t *testing.T) {
	s, r, _ := made(t)
	r.versions = true
	for a := halt.TokenBucket; a <= halt.InFlight; a++ {
		c := halt.Policy{Name: a.String(), Algorithm: a, Limit: 100, Window: time.Hour}.Charge("k", 1)
		for range 50 {
			take(t, s, c)
		}
		if loads, swaps := r.counts(); loads != 0 || swaps != 50 {
			t.Errorf("%s: 50 takes were %d loads and %d swaps", a, loads, swaps)
		}
	}
	// What another store has written is found out once.
	other := open(t, r, Options{Clock: s.o.Clock})
	c := lasting(100).Charge("l", 1)
	take(t, other, c)
	r.counts()
	for range 50 {
		take(t, s, c)
	}
	if loads, swaps := r.counts(); loads != 1 || swaps != 51 {
		t.Errorf("50 takes from another store's key were %d loads and %d swaps", loads, swaps)
	}
	r.tells = true
	take(t, other, c)
	if loads, swaps := r.counts(); loads != 0 || swaps != 2 {
		t.Errorf("a take from a key whose entry the register tells was %d loads and %d swaps", loads, swaps)
	}
}

// A refusal and a Peek are one load each and write nothing.
func TestRefusalsOnlyRead(t *testing.T) {
	s, r, _ := made(t)
	p := lasting(3)
	take(t, s, p.Charge("k", 3))
	r.counts()
	for range 10 {
		if d := take(t, s, p.Charge("k", 1)); d.Allowed {
			t.Errorf("allowed: %+v", d)
		}
		take(t, s, halt.Charge{Policy: p, Key: "k", Cost: 1, Mode: halt.Peek})
	}
	if loads, swaps := r.counts(); loads != 20 || swaps != 0 {
		t.Errorf("20 refusals and Peeks were %d loads and %d swaps", loads, swaps)
	}
}

// What another store did meanwhile counts: a refusal is never decided from what is remembered.
func TestStaleGuess(t *testing.T) {
	s, r, clock := made(t)
	other := open(t, r, Options{Clock: clock.Now})
	p := lasting(3)
	d := take(t, s, p.Charge("k", 3))
	take(t, other, halt.Charge{Policy: p, Key: "k", Cost: 2, Taken: 3, At: d.At, Mode: halt.Credit})
	if d := take(t, s, halt.Charge{Policy: p, Key: "k", Cost: 2, Mode: halt.Peek}); !d.Allowed || d.Remaining != 2 {
		t.Errorf("a Peek after another's Credit: %+v", d)
	}
	if d := take(t, s, p.Charge("k", 2)); !d.Allowed {
		t.Errorf("a Take after another's Credit: %+v", d)
	}
	if err := other.Reset(context.Background(), p, "k"); err != nil {
		t.Fatal(err)
	}
	if d := take(t, s, p.Charge("k", 3)); !d.Allowed || d.Remaining != 0 {
		t.Errorf("a Take after another's Reset: %+v", d)
	}
	if d := take(t, other, p.Charge("k", 1)); d.Allowed {
		t.Errorf("a Take of more than was left: %+v", d)
	}
}

// once makes the next swap go wrong.
func once(r *register, f fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fault = func(op string) fault {
		if op == "load" || f == none {
			return none
		}
		now := f
		f = none
		return now
	}
}

// A swap that failed in whatever way counts once: its nonce tells whether it happened.
func TestCountsOnce(t *testing.T) {
	for name, k := range kinds {
		for how, f := range map[string]fault{"refused": refused, "lost": lost, "late": late} {
			for _, several := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/several=%t", name, how, several), func(t *testing.T) {
					clock := storetest.NewClock(start)
					r := newRegister(clock.Now)
					r.versions, r.tells = k.versions, k.tells
					var reg Register = r
					if k.transactions {
						reg = transactions{r}
					}
					s := open(t, reg, Options{Clock: clock.Now})
					p := lasting(100)
					first := take(t, s, p.Charge("k", 50))
					left := int64(50)
					for _, c := range []halt.Charge{
						p.Charge("k", 10),
						{Policy: p, Key: "k", Cost: 10, Mode: halt.Debit},
						{Policy: p, Key: "k", Cost: 20, Mode: halt.Credit, At: first.At, Taken: 50},
					} {
						once(r, f)
						cs := []halt.Charge{c}
						if several {
							cs = append(cs, halt.Charge{Policy: p, Key: "other", Cost: 1, Mode: halt.Debit})
						}
						ds := make([]halt.Decision, len(cs))
						if err := s.Take(context.Background(), cs, ds); err != nil {
							t.Fatalf("%s: %v", c.Mode, err)
						}
						if left -= c.Cost; c.Mode == halt.Credit {
							left += 2 * c.Cost
						}
						if ds[0].Remaining != left {
							t.Errorf("after a %s whose swap was %s, %d are left, not %d", c.Mode, how, ds[0].Remaining, left)
						}
						if d := take(t, s, p.Charge("k", 0)); d.Remaining != left {
							t.Errorf("after a %s whose swap was %s, %d are left, not %d", c.Mode, how, d.Remaining, left)
						}
						take(t, s, p.Charge("other", 0)) // if it was read before the swap came, the next guess would be wrong
					}
				})
			}
		}
	}
}

// A swap whose answer is lost, and whose entry others replaced, may or may not have happened: an error for a Debit and a
// Credit, which are not repeated, while a Take is decided again.
func TestReplacedMeanwhile(t *testing.T) {
	for _, k := range []bool{false, true} {
		clock := storetest.NewClock(start)
		r := newRegister(clock.Now)
		var reg Register = r
		if k {
			reg = transactions{r}
		}
		s, other := open(t, reg, Options{Clock: clock.Now}), open(t, r, Options{Clock: clock.Now})
		p := lasting(100)
		first := take(t, s, p.Charge("k", 50))
		left := int64(50)
		for _, m := range []halt.Mode{halt.Credit, halt.Debit, halt.Take} {
			c := halt.Charge{Policy: p, Key: "k", Cost: 10, Mode: m, At: first.At, Taken: 50}
			once(r, lost)
			swaps := r.fault
			r.fault = func(op string) fault {
				if op != "load" {
					return swaps(op)
				}
				// Before it looks, another writes.
				r.fault = nil
				r.mu.Unlock()
				take(t, other, p.Charge("k", 1))
				r.mu.Lock()
				return none
			}
			d, err := storetest.TakeOne(context.Background(), s, c)
			switch m {
			case halt.Credit:
				left += 10
			case halt.Take:
				left -= 20 // twice: less is admitted than could be
			default:
				left -= 10
			}
			left--
			if m != halt.Take && !errors.Is(err, halt.ErrStore) {
				t.Errorf("a %s of which nobody knows whether it happened: %+v, %v", m, d, err)
			}
			if m == halt.Take && (err != nil || !d.Allowed || d.Remaining != left) {
				t.Errorf("a Take of which nobody knows whether it happened: %+v, %v; want %d left", d, err, left)
			}
			if d := take(t, s, p.Charge("k", 0)); d.Remaining != left {
				t.Errorf("after a %s, %d are left, not %d", m, d.Remaining, left)
			}
		}
	}
}

// resending is a register whose driver repeats what was not answered.
type resending struct{ *register }

func (r resending) CompareAndSwap(ctx context.Context, key string, old Entry, value []byte, life time.Duration) (Result, error) {
	if _, err := r.register.CompareAndSwap(ctx, key, old, value, life); err != nil {
		return Result{}, err
	}
	return r.register.CompareAndSwap(ctx, key, old, value, life)
}

// A register that repeats swaps finds its own value in the way: nothing counts twice.
func TestResent(t *testing.T) {
	for _, tells := range []bool{false, true} {
		_, r, clock := made(t)
		r.tells = tells
		s := open(t, resending{r}, Options{Clock: clock.Now})
		for left := int64(9); left >= 0; left-- {
			if d := take(t, s, lasting(10).Charge("k", 1)); !d.Allowed || d.Remaining != left {
				t.Fatalf("%d should be left: %+v", left, d)
			}
		}
	}
}
