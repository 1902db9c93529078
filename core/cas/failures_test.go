package cas

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
)

// A register's errors reach the caller with their cause.
func TestErrors(t *testing.T) {
	for name, c := range map[string]struct {
		fault fault
		kind  error
		swaps int
	}{
		"refused": {refused, halt.ErrStore, 1},
		"busy":    {busy, halt.ErrStore, 1},
		"panics":  {panics, halt.ErrStore, 1},
	} {
		s, r, _ := made(t)
		r.fault = func(string) fault { return c.fault }
		_, err := storetest.TakeOne(context.Background(), s, lasting(3).Charge("secret", 1))
		if !errors.Is(err, c.kind) || c.fault != panics && !errors.Is(err, errFault) || strings.Contains(fmt.Sprint(err), "secret") {
			t.Errorf("%s: %v", name, err)
		}
		if _, swaps := r.counts(); swaps != c.swaps {
			t.Errorf("%s: %d swaps", name, swaps)
		}
		if err := s.Reset(context.Background(), lasting(3), "secret"); !errors.Is(err, c.kind) {
			t.Errorf("%s: Reset: %v", name, err)
		}
		r.fault = nil
		if d := take(t, s, lasting(3).Charge("secret", 1)); !d.Allowed {
			t.Errorf("%s: afterwards: %+v", name, d)
		}
	}
}

// What is refused for good is not sent again, though the register answers otherwise.
func TestNotDone(t *testing.T) {
	s, r, _ := made(t)
	r.fault = func(op string) fault {
		if op == "load" {
			return none
		}
		return busy
	}
	for range 3 {
		if _, err := storetest.TakeOne(context.Background(), s, lasting(3).Charge("k", 1)); !errors.Is(err, errFault) {
			t.Errorf("a full register: %v", err)
		}
	}
	if loads, swaps := r.counts(); loads != 0 || swaps != 3 {
		t.Errorf("%d loads and %d swaps", loads, swaps)
	}
}

// That a repeated swap was refused for good says nothing about the first sending.
func TestNotDoneAfterDoubt(t *testing.T) {
	s, r, _ := made(t)
	faults := []fault{refused, busy}
	r.fault = func(op string) (f fault) {
		if op == "swap" {
			f, faults = faults[0], faults[1:]
		}
		return f
	}
	_, err := storetest.TakeOne(context.Background(), s, halt.Charge{Policy: lasting(3), Key: "k", Cost: 1, Mode: halt.Debit})
	if !errors.Is(err, halt.ErrStore) || isNotDone(err) || len(faults) > 0 {
		t.Errorf("a swap that may have happened: %v", err)
	}
}

// A swap that keeps failing, and did not happen, is sent a few times.
func TestKeepsFailing(t *testing.T) {
	s, r, _ := made(t)
	r.fault = func(op string) fault {
		if op == "load" {
			return none
		}
		return refused
	}
	if _, err := storetest.TakeOne(context.Background(), s, lasting(3).Charge("k", 1)); !errors.Is(err, errFault) {
		t.Errorf("a register that fails: %v", err)
	}
	if _, swaps := r.counts(); swaps != mostSendings {
		t.Errorf("%d swaps", swaps)
	}
}

// Where others always write first, a call gives up, with an error of its own, before its caller does.
func TestContention(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for _, timeout := range []time.Duration{50 * time.Millisecond, time.Hour} {
			r := newRegister(NewClock().Now)
			s, other := open(t, r, Options{Timeout: timeout}), open(t, r, Options{})
			p := lasting(1 << 30)
			r.fault = func(op string) fault {
				if op == "swap" {
					time.Sleep(time.Millisecond) //nolint:forbidigo // the bubble's clock
				}
				return none
			}
			r.between = func(string) {
				between := r.between
				r.between = nil
				r.mu.Unlock()
				take(t, other, p.Charge("k", 1))
				r.mu.Lock()
				r.between = between
			}
			begun := time.Now()
			_, err := storetest.TakeOne(context.Background(), s, p.Charge("k", 1))
			if !errors.Is(err, halt.ErrContention) || halt.ErrorKind(err) != "contention" {
				t.Errorf("after %v: %v", time.Since(begun), err)
			}
			if took := time.Since(begun); took > timeout || took > time.Minute {
				t.Errorf("it took %v", took)
			}
		}
	})
}

// hanging is a register that does not answer.
type hanging struct{ Register }

func (hanging) CompareAndSwap(ctx context.Context, _ string, _ Entry, _ []byte, _ time.Duration) (Result, error) {
	<-ctx.Done()
	return Result{}, ctx.Err()
}

// No call outlives its timeout, or its caller's patience, though the register does not answer.
func TestTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := open(t, hanging{}, Options{Timeout: time.Second})
		begun := time.Now()
		_, err := storetest.TakeOne(context.Background(), s, lasting(3).Charge("k", 1))
		if took := time.Since(begun); !errors.Is(err, halt.ErrDeadline) || took != time.Second {
			t.Errorf("after %v: %v", took, err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer cancel()
		begun = time.Now()
		_, err = storetest.TakeOne(ctx, s, lasting(3).Charge("k", 1))
		if took := time.Since(begun); !errors.Is(err, halt.ErrDeadline) || took != 10*time.Millisecond {
			t.Errorf("after %v: %v", took, err)
		}
	})
}

// Reset removes what is there although others write.
func TestResetConflicts(t *testing.T) {
	for _, tells := range []bool{false, true} {
		s, r, clock := made(t)
		r.tells = tells
		other := open(t, r, Options{Clock: clock.Now})
		p := lasting(100)
		take(t, s, p.Charge("k", 50))
		left := 5
		r.between = func(string) {
			if left--; left < 0 {
				return
			}
			between := r.between
			r.between = nil
			r.mu.Unlock()
			take(t, other, p.Charge("k", 1))
			r.mu.Lock()
			r.between = between
		}
		if err := s.Reset(context.Background(), p, "k"); err != nil {
			t.Error(err)
		}
		if d := take(t, s, p.Charge("k", 0)); d.Remaining != 100 {
			t.Errorf("%d are left", d.Remaining)
		}
	}
}

// deaf is a register that reads in its own time, whatever becomes of the context.
type deaf struct {
	Register
	loads *atomic.Int64
	takes time.Duration
}

func (r deaf) Load(context.Context, string) (Entry, error) {
	r.loads.Add(1)
	time.Sleep(r.takes) //nolint:forbidigo // the bubble's clock
	return Entry{}, nil
}

// No Reset outlives its context or the timeout, whatever the register does; and with a context that has ended it asks for nothing.
func TestResetTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := deaf{loads: new(atomic.Int64), takes: time.Minute}
		s := open(t, r, Options{Timeout: time.Second})
		soon, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer cancel()
		left, leave := context.WithCancel(context.Background())
		time.AfterFunc(20*time.Millisecond, leave)
		for _, c := range []struct {
			ctx  context.Context
			took time.Duration
			want error
		}{
			{left, 20 * time.Millisecond, context.Canceled}, {soon, 0, halt.ErrDeadline}, {context.Background(), time.Second, halt.ErrDeadline},
		} {
			begun := time.Now()
			if err := s.Reset(c.ctx, lasting(3), "k"); !errors.Is(err, c.want) || time.Since(begun) != c.took {
				t.Errorf("after %v: %v; want %v after %v", time.Since(begun), err, c.want, c.took)
			}
		}
		if n := r.loads.Load(); n != 2 {
			t.Errorf("%d loads", n)
		}
	})
}

func TestNew(t *testing.T) {
	r := newRegister(NewClock().Now)
	s, err := New(r, nil)
	if err != nil || s.Name() != "cas" || s.o.Timeout != 100*time.Millisecond || s.o.Skew != 3*time.Second {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := New(nil, nil); err == nil {
		t.Error("no error for no register")
	}
	_, err = New(r, &Options{Timeout: -1, Skew: 6 * time.Second, Remember: -1})
	for _, field := range []string{"Timeout", "Skew", "Remember"} {
		if !strings.Contains(fmt.Sprint(err), "Options."+field) {
			t.Errorf("%s is not named: %v", field, err)
		}
	}
}

// far is a register whose answers take a while; what it is asked it does at once.
type far struct {
	transactions
	takes time.Duration
}

func (r far) answer(ctx context.Context) error {
	t := time.NewTimer(r.takes)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

func (r far) Load(ctx context.Context, key string) (Entry, error) {
	e, err := r.transactions.Load(ctx, key)
	if late := r.answer(ctx); late != nil {
		return Entry{}, late
	}
	return e, err
}

func (r far) CompareAndSwap(ctx context.Context, key string, old Entry, value []byte, life time.Duration) (Result, error) {
	result, err := r.transactions.CompareAndSwap(ctx, key, old, value, life)
	if late := r.answer(ctx); late != nil {
		return Result{}, late
	}
	return result, err
}

// Where the time is enough for one swap but not for two, calls succeed after the first ones have failed: what these have
// learned, or written, is not forgotten. And a store that is alone with its key is not told of a contention.
func TestFarRegister(t *testing.T) {
	for _, takes := range []time.Duration{60 * time.Millisecond, 90 * time.Millisecond} {
		bubble(t, func(t *testing.T) {
			r := newRegister(NewClock().Now)
			r.tells = true
			p := lasting(1000)
			take(t, open(t, r, Options{}), p.Charge("k", 1)) // so the first guess is wrong
			s := open(t, far{transactions{r}, takes}, Options{Timeout: 100 * time.Millisecond})
			failed := 0
			for range 20 {
				if _, err := storetest.TakeOne(context.Background(), s, p.Charge("k", 1)); err != nil {
					failed++
					if !errors.Is(err, halt.ErrDeadline) {
						t.Errorf("%v for each answer: %v", takes, err)
					}
				}
			}
			if failed > 2 {
				t.Errorf("%v for each answer: %d of 20 calls failed", takes, failed)
			}
		})
	}
}

// A call of several charges that are decided one after the other ends by its time, too, however many answers it needs.
func TestTimeoutOfSeveral(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRegister(NewClock().Now)
		s := open(t, far{transactions{r}, 80 * time.Millisecond}, Options{Timeout: 100 * time.Millisecond})
		s.several = nil
		begun := time.Now()
		ds := make([]halt.Decision, 2)
		err := s.Take(context.Background(), []halt.Charge{lasting(9).Charge("k", 1), lasting(9).Charge("l", 1)}, ds)
		if took := time.Since(begun); !errors.Is(err, halt.ErrDeadline) || took > 100*time.Millisecond {
			t.Errorf("after %v: %v", took, err)
		}
	})
}
