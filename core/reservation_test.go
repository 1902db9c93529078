package halt_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
)

var hourly = halt.Policy{Name: "hourly", Limit: 10, Window: time.Hour, Algorithm: halt.SlidingWindow}

func left(t *testing.T, l *halt.Limiter, c halt.Charge) int64 {
	t.Helper()
	if c.Mode != halt.Shadow {
		c.Mode = halt.Peek
	}
	c.Cost = 0
	ds := must[halt.Decisions](t)(l.AllowAll(t.Context(), c))
	return ds[0].Remaining
}

func TestSettle(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		actual, left int64
		calls        int // to the store, the reservation's own among them
	}{
		{actual: 4, left: 6, calls: 1},
		{actual: 1, left: 9, calls: 2},
		{actual: 0, left: 10, calls: 2},
		{actual: 7, left: 3, calls: 2},
		{actual: 99, left: 0, calls: 2},
	} {
		l, s, _ := modelled(nil)
		r := must[*halt.Reservation](t)(l.Reserve(t.Context(), hourly, "k", 4))
		if !r.Allowed() || len(r.Decisions()) != 1 || r.Decisions()[0].Remaining != 6 {
			t.Fatalf("%+v", r.Decisions())
		}
		if err := r.Settle(t.Context(), c.actual); err != nil {
			t.Fatal(err)
		}
		if s.calls() != c.calls {
			t.Errorf("4 settled at %d: %d calls, not %d", c.actual, s.calls(), c.calls)
		}
		// It is settled once and for all.
		if err := errors.Join(r.Settle(t.Context(), 0), r.Cancel(t.Context()), r.Settle(t.Context(), 9)); err != nil {
			t.Error(err)
		}
		if n := left(t, l, hourly.Charge("k", 0)); n != c.left {
			t.Errorf("4 settled at %d: %d left, not %d", c.actual, n, c.left)
		}
	}
}

func TestSettleAll(t *testing.T) {
	t.Parallel()
	l, _, _ := modelled(nil)
	daily := halt.Policy{Name: "daily", Limit: 100, Algorithm: halt.FixedWindow, Period: halt.Period{Unit: halt.Day}}
	bucket := halt.Policy{Name: "bucket", Limit: 10, Window: time.Hour}
	cs := []halt.Charge{
		hourly.Charge("k", 4), daily.Charge("k", 5), bucket.Charge("k", 6),
		{Policy: hourly, Key: "k", Cost: 3, Mode: halt.Shadow},
		{Policy: daily, Key: "l", Cost: 3, Mode: halt.Peek},
	}
	r := must[*halt.Reservation](t)(l.ReserveAll(t.Context(), cs...))
	cs[0].Cost = 1000 // the reservation has its own
	if err := r.Settle(t.Context(), 1, 9, 6, 7, 50); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int64{9, 91, 4, 3, 100} {
		if n := left(t, l, cs[i]); n != want {
			t.Errorf("charge %d: %d left, not %d", i, n, want)
		}
	}
}

// TestSettleRefused: a refused reservation holds nothing, but for its shadows, which are not bound by it.
func TestSettleRefused(t *testing.T) {
	t.Parallel()
	l, s, _ := modelled(nil)
	shadow := halt.Charge{Policy: hourly, Key: "s", Cost: 3, Mode: halt.Shadow}
	over := halt.Charge{Policy: hourly, Key: "t", Cost: 11, Mode: halt.Shadow}
	r := must[*halt.Reservation](t)(l.ReserveAll(t.Context(), hourly.Charge("k", 11), hourly.Charge("l", 2), shadow, over))
	if r.Allowed() {
		t.Fatalf("%+v", r.Decisions())
	}
	if err := r.Settle(t.Context(), 5, 5, 1, 5); err != nil {
		t.Fatal(err)
	}
	if last := s.all[len(s.all)-1]; len(last) != 1 || last[0].Mode != halt.Credit || !last[0].Shadow || last[0].Cost != 2 {
		t.Errorf("settled: %+v", last)
	}
	for c, want := range map[halt.Charge]int64{hourly.Charge("k", 0): 10, hourly.Charge("l", 0): 10, shadow: 9, over: 10} {
		if n := left(t, l, c); n != want {
			t.Errorf("%s of %s: %d left, not %d", c.Mode, c.Key, n, want)
		}
	}
	r = must[*halt.Reservation](t)(l.Reserve(t.Context(), hourly, "k", 11))
	before := s.calls()
	if err := errors.Join(r.Settle(t.Context(), 7), r.Cancel(t.Context())); err != nil || s.calls() != before {
		t.Errorf("%v, %d calls", err, s.calls()-before)
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	l, _, _ := modelled(nil)
	work := func(settle bool) {
		r := must[*halt.Reservation](t)(l.Reserve(t.Context(), hourly, "k", 6))
		defer func() {
			if err := r.Cancel(t.Context()); err != nil {
				t.Error(err)
			}
		}()
		if settle {
			if err := r.Settle(t.Context(), 2); err != nil {
				t.Error(err)
			}
		}
	}
	work(false)
	if n := left(t, l, hourly.Charge("k", 0)); n != 10 {
		t.Errorf("canceled: %d left", n)
	}
	work(true)
	if n := left(t, l, hourly.Charge("k", 0)); n != 8 {
		t.Errorf("settled, then canceled: %d left", n)
	}
}

// TestSettleWrong: what can't be settled is an error, and the reservation stays open.
func TestSettleWrong(t *testing.T) {
	t.Parallel()
	l, _, _ := modelled(nil)
	r := must[*halt.Reservation](t)(l.Reserve(t.Context(), hourly, "k", 4))
	for _, actual := range [][]int64{{}, {1, 2}, {-1}} {
		if err := r.Settle(t.Context(), actual...); !errors.Is(err, halt.ErrInvalidCharge) {
			t.Errorf("settled at %v: %v", actual, err)
		}
	}
	if err := r.Settle(t.Context(), 1); err != nil || left(t, l, hourly.Charge("k", 0)) != 9 {
		t.Errorf("after wrong ones: %v, %d left", err, left(t, l, hourly.Charge("k", 0)))
	}
}

// TestSettleSurvives: a caller that has gone meanwhile still settles.
func TestSettleSurvives(t *testing.T) {
	t.Parallel()
	l, _, _ := modelled(nil)
	ctx, cancel := context.WithCancel(t.Context())
	a, b := must[*halt.Reservation](t)(l.Reserve(ctx, hourly, "k", 4)), must[*halt.Reservation](t)(l.Reserve(ctx, hourly, "k", 4))
	cancel()
	if err := errors.Join(a.Cancel(ctx), b.Settle(ctx, 1)); err != nil {
		t.Fatal(err)
	}
	if n := left(t, l, hourly.Charge("k", 0)); n != 9 {
		t.Errorf("%d left", n)
	}
	if _, err := l.Reserve(ctx, hourly, "k", 4); !errors.Is(err, context.Canceled) {
		t.Errorf("reserving with an ended context: %v", err)
	}
}

// TestSettleUnknown: after a store's error nothing is settled a second time.
func TestSettleUnknown(t *testing.T) {
	t.Parallel()
	fails := false
	l, s, _ := modelled(func([]halt.Charge) error {
		if fails {
			return halt.ErrContention
		}
		return nil
	})
	r := must[*halt.Reservation](t)(l.Reserve(t.Context(), hourly, "k", 4))
	fails = true
	if err := r.Settle(t.Context(), 1); !errors.Is(err, halt.ErrContention) {
		t.Errorf("%v", err)
	}
	fails = false
	before := s.calls()
	if err := errors.Join(r.Settle(t.Context(), 1), r.Cancel(t.Context())); err != nil || s.calls() != before {
		t.Errorf("settled again: %v, %d calls", err, s.calls()-before)
	}
	fails = true
	if r, err := l.Reserve(t.Context(), hourly, "k", 4); err == nil || r != nil {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestSettleOnce(t *testing.T) {
	t.Parallel()
	l, _, _ := modelled(nil)
	r := must[*halt.Reservation](t)(l.Reserve(t.Context(), hourly, "k", 4))
	must[halt.Decision](t)(l.AllowN(t.Context(), hourly, "k", 6))
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if err := r.Cancel(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := left(t, l, hourly.Charge("k", 0)); n != 4 {
		t.Errorf("16 Cancels of 4 left %d", n)
	}
}

// TestReserveUnlimited: there is nothing to hold, nor to settle.
func TestReserveUnlimited(t *testing.T) {
	t.Parallel()
	l, s, _ := modelled(nil)
	r := must[*halt.Reservation](t)(l.Reserve(t.Context(), halt.Policy{Name: "free", Limit: halt.Unlimited}, "k", 4))
	if err := r.Settle(t.Context(), 9); err != nil || !r.Allowed() || s.calls() != 0 {
		t.Errorf("%v, %d calls", err, s.calls())
	}
}

func TestSettlement(t *testing.T) {
	t.Parallel()
	take := hourly.Charge("k", 4)
	d := halt.Decision{At: 7}
	for actual, want := range map[int64]halt.Charge{
		1: {Policy: hourly, Key: "k", Cost: 3, Mode: halt.Credit, At: 7, Taken: 4},
		6: {Policy: hourly, Key: "k", Cost: 2, Mode: halt.Debit},
	} {
		if c, ok := halt.Settlement(&take, &d, actual); !ok || c != want {
			t.Errorf("%+v, %t", c, ok)
		}
		shadow := take
		shadow.Mode = halt.Shadow
		want.Shadow = true
		if c, ok := halt.Settlement(&shadow, &d, actual); !ok || c != want {
			t.Errorf("of a shadow: %+v, %t", c, ok)
		}
	}
	if _, ok := halt.Settlement(&take, &d, 4); ok {
		t.Error("4 corrected to 4")
	}
}

// A failed Reserve returns nil, on which a Cancel may have been deferred.
func TestReservationNil(t *testing.T) {
	t.Parallel()
	var r *halt.Reservation
	if r.Allowed() || r.Decisions() != nil || r.Settle(t.Context(), 1) != nil || r.Cancel(t.Context()) != nil {
		t.Error("a nil reservation holds something")
	}
}
