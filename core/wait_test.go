package halt_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
)

func TestWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := halt.New(storetest.NewModel(nil), nil)
		p := halt.Policy{Name: "p", Limit: 4, Burst: 2, Window: time.Second}
		start := time.Now()
		for i := range 10 {
			if err := l.Wait(t.Context(), p, "k"); err != nil {
				t.Fatal(err)
			}
			if got, want := time.Since(start), time.Duration(max(0, i-1))*250*time.Millisecond; got != want {
				t.Errorf("number %d waited %v, not %v", i+1, got, want)
			}
		}
		if err := l.WaitN(t.Context(), p, "k", 2); err != nil || time.Since(start) != 2500*time.Millisecond {
			t.Errorf("two at once: after %v, %v", time.Since(start), err)
		}
		if err := l.WaitN(t.Context(), p, "k", 3); !errors.Is(err, halt.ErrExceedsCapacity) {
			t.Errorf("more than ever fits: %v", err)
		}
	})
}

// TestWaitInLine: of a leaky bucket, Wait returns when the turn has come.
func TestWaitInLine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := halt.New(storetest.NewModel(nil), nil)
		p := halt.Policy{Name: "p", Limit: 1, Burst: 3, Window: time.Second, Algorithm: halt.LeakyBucket}
		start := time.Now()
		done := make(chan time.Duration, 6)
		for range 6 {
			go func() {
				if err := l.Wait(t.Context(), p, "k"); err != nil {
					t.Error(err)
				}
				done <- time.Since(start)
			}()
		}
		for i := range 6 {
			if got := <-done; got != time.Duration(i)*time.Second {
				t.Errorf("number %d had its turn after %v", i+1, got)
			}
		}
	})
}

func TestWaitEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := halt.New(storetest.NewModel(nil), nil)
		p := halt.Policy{Name: "p", Limit: 1, Window: time.Hour}
		if err := l.Wait(t.Context(), p, "k"); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := l.Wait(ctx, p, "k"); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 0 {
			t.Errorf("a wait that would outlast its context: after %v, %v", time.Since(start), err)
		}
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)
		if err := l.Wait(ctx, p, "k"); !errors.Is(err, context.Canceled) || time.Since(start) != time.Minute {
			t.Errorf("a canceled wait: after %v, %v", time.Since(start), err)
		}
		if err := l.Wait(ctx, p, "l"); !errors.Is(err, context.Canceled) {
			t.Errorf("an ended context: %v", err)
		}
		// What none of them got is still there.
		if err := l.Wait(t.Context(), p, "k"); err != nil || time.Since(start) != time.Hour {
			t.Errorf("after %v, %v", time.Since(start), err)
		}
	})
}

func TestWaitRejectsBlock(t *testing.T) {
	t.Parallel()
	l, s, _ := modelled(nil)
	p := perMinute
	p.Block = time.Minute
	err := l.Wait(t.Context(), p, "k")
	var invalid *halt.InvalidError
	if !errors.As(err, &invalid) || !errors.Is(err, halt.ErrInvalidPolicy) || invalid.Faults[0].Field != "Block" || s.calls() != 0 {
		t.Errorf("%v", err)
	}
}

// A caller who has gone already takes nothing, and nobody waits for a place that he could not give back.
func TestWaitTakesNothingInVain(t *testing.T) {
	t.Parallel()
	l := halt.New(storetest.NewModel(nil), nil)
	p := halt.Policy{Name: "api", Limit: 3, Window: time.Hour}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Wait(ctx, p, "k"); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context: %v", err)
	}
	if d, err := l.Peek(t.Context(), p, "k"); err != nil || d.Remaining != 3 {
		t.Errorf("%d remain, %v", d.Remaining, err)
	}
	inside := halt.Policy{Name: "inside", Limit: 3, Window: time.Hour, Algorithm: halt.InFlight}
	if err := l.Wait(t.Context(), inside, "k"); !errors.Is(err, halt.ErrInvalidPolicy) {
		t.Errorf("in flight: %v", err)
	}
}
