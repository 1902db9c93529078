package cas

import (
	"context"
	"errors"
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

// If one of several entries was written by others, a swap whose answer is lost may have happened all the same, though another
// entry seemed to be as before: they are not read at the same moment. A Debit is an error then, and counts no more than once.
func TestOneMoved(t *testing.T) {
	for _, happens := range []bool{false, true} {
		_, r, clock := made(t)
		between := &landing{transactions: transactions{r}, read: make(chan struct{}), happens: happens}
		s, other := open(t, between, Options{Clock: clock.Now}), open(t, r, Options{Clock: clock.Now})
		p := lasting(100)
		between.meanwhile = func() { take(t, other, p.Charge("moved", 1)) }
		cs := []halt.Charge{
			{Policy: p, Key: "moved", Cost: 10, Mode: halt.Debit}, {Policy: p, Key: "as before", Cost: 10, Mode: halt.Debit},
		}
		if err := s.Take(context.Background(), cs, make(halt.Decisions, 2)); !errors.Is(err, errFault) {
			t.Errorf("nobody knows whether it happened: %v", err)
		}
		want := int64(100)
		if happens {
			want -= 10
		}
		a, b := take(t, other, p.Charge("moved", 0)), take(t, other, p.Charge("as before", 0))
		if a.Remaining != want-1 || b.Remaining != want {
			t.Errorf("%d and %d are left, want %d and %d", a.Remaining, b.Remaining, want-1, want)
		}
	}
}

// landing loses the answer to the first SwapAll, which happens, if at all, between the two loads by which its traces are looked
// for.
type landing struct {
	transactions
	happens   bool
	meanwhile func()

	mu    sync.Mutex
	sent  []Swap
	read  chan struct{} // closed when the entry that stays as before was read
	after sync.Once
}

func (l *landing) SwapAll(ctx context.Context, swaps []Swap) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sent == nil {
		l.sent = append([]Swap(nil), swaps...)
		return false, errFault
	}
	return l.transactions.SwapAll(ctx, swaps)
}

func (l *landing) Load(ctx context.Context, key string) (Entry, error) {
	if strings.HasSuffix(key, "as before") {
		defer l.after.Do(func() { close(l.read) })
		return l.transactions.Load(ctx, key)
	}
	<-l.read
	l.mu.Lock()
	swaps, meanwhile := l.sent, l.meanwhile
	l.meanwhile = nil
	l.mu.Unlock()
	if meanwhile != nil {
		if l.happens {
			_, _ = l.transactions.SwapAll(ctx, swaps)
		}
		meanwhile()
	}
	return l.transactions.Load(ctx, key)
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
