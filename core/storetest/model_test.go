package storetest_test

import (
	"context"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
)

func withClock(tb testing.TB) (*storetest.Clock, func(tb testing.TB, s halt.Store, d time.Duration)) {
	tb.Helper()
	clock := storetest.NewClock(time.Date(2026, time.March, 14, 15, 9, 26, 535897*1000, time.UTC))
	return clock, func(_ testing.TB, _ halt.Store, d time.Duration) { clock.Advance(d) }
}

func TestModel(t *testing.T) {
	t.Run("manual clock", func(t *testing.T) {
		clock, advance := withClock(t)
		storetest.Run(t, storetest.Harness{
			New:     func(testing.TB) halt.Store { return storetest.NewModel(clock.Now) },
			Advance: advance,
			Atomic:  true,
		})
	})
	t.Run("bubble", func(t *testing.T) {
		storetest.Run(t, storetest.Harness{
			New:    func(testing.TB) halt.Store { return storetest.NewModel(nil) },
			Bubble: true,
			Atomic: true,
		})
	})
	t.Run("real time", func(t *testing.T) {
		storetest.Run(t, storetest.Harness{
			New:    func(testing.TB) halt.Store { return storetest.NewModel(nil) },
			Atomic: true,
		})
	})
}

// each is a store that can decide but one charge at a time.
type each struct{ *storetest.Model }

func (e each) Take(ctx context.Context, cs []halt.Charge, ds []halt.Decision) error {
	return halt.TakeEach(ctx, cs, ds, e.One)
}

func TestTakeEach(t *testing.T) {
	t.Run("manual clock", func(t *testing.T) {
		clock, advance := withClock(t)
		storetest.Run(t, storetest.Harness{
			New:     func(testing.TB) halt.Store { return each{storetest.NewModel(clock.Now)} },
			Advance: advance,
		})
	})
	t.Run("real time", func(t *testing.T) {
		storetest.Run(t, storetest.Harness{
			New: func(testing.TB) halt.Store { return each{storetest.NewModel(nil)} },
		})
	})
}

func TestModelForgets(t *testing.T) {
	clock, _ := withClock(t)
	m := storetest.NewModel(clock.Now)
	p := halt.Policy{Name: "p", Limit: 1, Window: time.Minute}
	take := func() halt.Decision {
		d, err := m.One(t.Context(), p.Charge("k", 1))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	if d := take(); !d.Allowed || m.Len() != 1 {
		t.Fatalf("a fresh key: %+v, Len %d", d, m.Len())
	}
	if d := take(); d.Allowed {
		t.Fatalf("a spent key: %+v", d)
	}
	m.Forget()
	if n := m.Len(); n != 0 {
		t.Fatalf("Len %d after Forget", n)
	}
	if d := take(); !d.Allowed {
		t.Fatalf("a forgotten key: %+v", d)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.One(ctx, p.Charge("k", 1)); err == nil {
		t.Fatal("an ended context was no error")
	}
	if err := m.Reset(ctx, p, "k"); err == nil {
		t.Fatal("an ended context was no error of Reset")
	}
}

func TestClock(t *testing.T) {
	var c storetest.Clock
	if c.Now() != 0 {
		t.Fatalf("the zero Clock stands at %d", c.Now())
	}
	c.Set(5_000_000)
	if at := c.Advance(time.Second + time.Nanosecond); at != 6_000_000 || c.Now() != at {
		t.Fatalf("a second on, it stands at %d", at)
	}
	if at := c.Advance(-2 * time.Second); at != 4_000_000 {
		t.Fatalf("two seconds back, it stands at %d", at)
	}
}
