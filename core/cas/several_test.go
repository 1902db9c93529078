package cas

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	halt "github.com/halt-dev/halt/core"
)

// Calls of several charges that wait at the same time are one transaction, of a bounded size.
func TestCombiningSeveral(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const callers = 121
		r := newRegister(NewClock().Now)
		s := open(t, transactions{r}, Options{})
		p := lasting(1000)
		r.gate = make(chan struct{})
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				ds := make(halt.Decisions, 2)
				cs := []halt.Charge{p.Charge("shared", 1), p.Charge(fmt.Sprint("own", i), 1)}
				if err := s.Take(context.Background(), cs, ds); err != nil || !ds.Allowed() {
					t.Errorf("%+v, %v", ds, err)
				}
			})
			synctest.Wait() // the first is on its way, the others wait for it
		}
		close(r.gate)
		wg.Wait()
		// The first; then 98 beside the shared one, since a call is counted with all its charges; then the rest.
		if loads, swaps := r.counts(); loads != 0 || swaps != 3 {
			t.Errorf("%d calls took %d loads and %d swaps, want 0 and 3", callers, loads, swaps)
		}
		if d := take(t, s, p.Charge("shared", 0)); d.Remaining != 1000-callers {
			t.Errorf("%d are left", d.Remaining)
		}
	})
}

// What a call of several charges only looked at is verified with what it writes.
func TestPeekIsVerified(t *testing.T) {
	_, r, clock := made(t)
	s, other := open(t, transactions{r}, Options{Clock: clock.Now}), open(t, r, Options{Clock: clock.Now})
	p := lasting(3)
	take(t, s, p.Charge("looked at", 1))
	cs := []halt.Charge{{Policy: p, Key: "looked at", Cost: 1, Mode: halt.Peek}, p.Charge("taken from", 1)}
	ds := make(halt.Decisions, 2)
	if err := s.Take(context.Background(), cs, ds); err != nil || !ds.Allowed() {
		t.Errorf("%+v, %v", ds, err)
	}
	take(t, other, p.Charge("looked at", 2))
	if err := s.Take(context.Background(), cs, ds); err != nil || ds.Allowed() || ds[0].Remaining != 0 || !ds[1].Allowed {
		t.Errorf("with nothing left where it looks: %+v, %v", ds, err)
	}
	if d := take(t, s, p.Charge("taken from", 0)); d.Remaining != 2 {
		t.Errorf("%d are left", d.Remaining)
	}
	// What others write between the look and the swap is noticed.
	cs[0].Key = "looked at later"
	r.between = func(key string) {
		if strings.HasSuffix(key, "taken from") {
			r.between = nil
			r.mu.Unlock()
			take(t, other, p.Charge("looked at later", 3))
			r.mu.Lock()
		}
	}
	if err := s.Take(context.Background(), cs, ds); err != nil || ds.Allowed() {
		t.Errorf("with nothing left where it looked: %+v, %v", ds, err)
	}
}

// A swap of several of which one entry moved on can't have happened, nor will it: a Debit is decided again.
func TestOneMoved(t *testing.T) {
	_, r, clock := made(t)
	s, other := open(t, transactions{r}, Options{Clock: clock.Now}), open(t, r, Options{Clock: clock.Now})
	p := lasting(100)
	for n := range int64(3) {
		for _, f := range []fault{refused, late} {
			begun := 100 - take(t, s, p.Charge("a", 0)).Remaining
			once(r, f)
			swaps := r.fault
			r.fault = func(op string) fault {
				if op != "load" {
					return swaps(op)
				}
				r.fault = nil
				r.mu.Unlock()
				take(t, other, p.Charge("a", 1))
				r.mu.Lock()
				return none
			}
			cs := []halt.Charge{
				{Policy: p, Key: "a", Cost: 10, Mode: halt.Debit},
				{Policy: p, Key: fmt.Sprint("b", n, f), Cost: 10, Mode: halt.Debit},
			}
			ds := make(halt.Decisions, 2)
			if err := s.Take(context.Background(), cs, ds); err != nil {
				t.Fatal(err)
			}
			a, b := take(t, s, p.Charge("a", 0)), take(t, s, p.Charge(cs[1].Key, 0))
			if 100-a.Remaining != begun+11 && f == refused || b.Remaining != 90 {
				t.Errorf("%d and %d were spent, not 11 and 10", 100-a.Remaining-begun, 100-b.Remaining)
			}
		}
	}
}

// A call of more charges than MostSwaps goes alone.
func TestManyCharges(t *testing.T) {
	s, r, _ := made(t)
	s = open(t, transactions{r}, s.o)
	cs := make([]halt.Charge, MostSwaps+20)
	for i := range cs {
		cs[i] = lasting(1).Charge(fmt.Sprint(i), 1)
	}
	ds := make(halt.Decisions, len(cs))
	for _, want := range []bool{true, false} {
		if err := s.Take(context.Background(), cs, ds); err != nil || ds.Allowed() != want {
			t.Errorf("allowed %t: %v", ds.Allowed(), err)
		}
	}
}
