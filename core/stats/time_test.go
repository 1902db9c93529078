package stats

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

// TestRates sends at a constant rate for an hour and then nothing.
//
//nolint:forbidigo // the bubble's clock
func TestRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(nil)
		l := limiter(c)
		p := halt.Policy{Name: "api", Limit: 2, Window: time.Second, Burst: 2}
		time.Sleep(1500 * time.Millisecond) // ticks and traffic are not in step
		for range 3600 {
			allow(t, l, p, "k", 5) // 2 allowed, 3 refused
			time.Sleep(time.Second)
		}
		s := c.Snapshot()
		if s.Total != (Counts{Allowed: 7200, Refused: 10800}) {
			t.Fatalf("%+v", s.Total)
		}
		about := func(what string, got, want float64) {
			t.Helper()
			if math.Abs(got-want) > want*0.02 {
				t.Errorf("%s: %v, not about %v", what, got, want)
			}
		}
		about("last minute, allowed", s.LastMinute.Allowed, 2)
		about("last minute, refused", s.LastMinute.Refused, 3)
		about("last hour, allowed", s.LastHour.Allowed, 2)
		about("last hour, refused", s.LastHour.Refused, 3)
		about("the policy", s.Policies[0].Rates.Refused, 3)
		if len(s.Seconds) != 60 || len(s.Minutes) != 60 {
			t.Fatalf("%d seconds, %d minutes", len(s.Seconds), len(s.Minutes))
		}
		for i, p := range s.Seconds {
			if p != (Counts{Allowed: 2, Refused: 3}) {
				t.Errorf("second %d: %+v", i, p)
			}
		}
		for i, p := range s.Minutes[1:] { // in the first of them the traffic began
			if p != (Counts{Allowed: 120, Refused: 180}) {
				t.Errorf("minute %d: %+v", i+1, p)
			}
		}
		if u := s.Policies[0]; u.Peak != 1 || u.Mean < 0.85 || u.Mean > 0.95 { // 1/2, then four times 1
			t.Errorf("utilisation %v, at most %v", u.Mean, u.Peak)
		}

		time.Sleep(30 * time.Minute)
		s = c.Snapshot()
		if s.LastMinute != (Rates{}) || s.Policies[0].Peak != 0 || s.Policies[0].Rates != (Rates{}) || s.Latency != (Latency{}) {
			t.Errorf("nothing happened in the last minute: %+v, %+v", s.LastMinute, s.Policies[0])
		}
		about("half an hour later", s.LastHour.Allowed, 1)
		time.Sleep(2 * time.Hour)
		if s = c.Snapshot(); s.LastHour != (Rates{}) || s.Total.Allowed != 7200 {
			t.Errorf("%+v, %+v", s.LastHour, s.Total)
		}
	})
}

// TestTimerStops makes sure that nothing runs without traffic, and that a decision after a pause is counted as of its second.
//
//nolint:forbidigo // the bubble's clock
func TestTimerStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(nil)
		l := limiter(c)
		for range 3 {
			allow(t, l, perHour(100), "k", 1)
			if !c.ticking.Load() {
				t.Error("no timer for a decision")
			}
			time.Sleep(3 * time.Second)
			synctest.Wait()
			if c.ticking.Load() {
				t.Error("the timer goes on without decisions")
			}
			time.Sleep(30 * time.Second)
		}
		allow(t, l, perHour(100), "k", 7)
		time.Sleep(time.Second)
		s := c.Snapshot()
		if got := s.Seconds[59].Allowed; got != 7 {
			t.Errorf("%d in the last second, not 7: %+v", got, s.Seconds)
		}
		if got := s.Seconds[26].Allowed; got != 1 {
			t.Errorf("%d 33 seconds before, not 1: %+v", got, s.Seconds)
		}
	})
}

//nolint:forbidigo // the bubble's clock
func TestFailingOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(nil)
		l := halt.New(broken{}, &halt.Options{Observers: []halt.Observer{c}})
		start := time.Now()
		for range 3 { // three failures two seconds apart, and a minute's pause
			for range 3 {
				do(t, l, "/a", perHour(1).Charge("k", 1), perHour(1).Charge("l", 1))
				time.Sleep(2 * time.Second)
			}
			if s := c.Snapshot(); !s.FailingOpen[0].Ongoing {
				t.Errorf("not ongoing: %+v", s.FailingOpen)
			}
			time.Sleep(54 * time.Second)
		}
		if _, err := l.Allow(t.Context(), perHour(1), "k"); !errors.Is(err, halt.ErrStore) { // nobody lets that through
			t.Fatal(err)
		}
		ctx, leave := context.WithCancel(t.Context())
		leave()
		if _, err := halt.New(gone{}, &halt.Options{Observers: []halt.Observer{c}}).Allow(ctx, perHour(1), "k"); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		s := c.Snapshot()
		if s.Errors["canceled"] != 1 {
			t.Errorf("%v", s.Errors)
		}
		if s.Total != (Counts{Errors: 10, FailedOpen: 9}) || s.Errors["store"] != 10 || s.Policies[0].Errors != 19 ||
			s.Routes[0].Counts != (Counts{Errors: 9, FailedOpen: 9}) {
			t.Errorf("%+v %v %+v %+v", s.Total, s.Errors, s.Policies, s.Routes)
		}
		if len(s.FailingOpen) != 3 {
			t.Fatalf("%+v", s.FailingOpen)
		}
		for i, f := range s.FailingOpen {
			from := start.Add(time.Duration(2-i) * time.Minute)
			if f.Decisions != 3 || f.Ongoing || !f.From.Equal(from) || !f.To.Equal(from.Add(4*time.Second)) {
				t.Errorf("period %d: %+v", i, f)
			}
		}
		for range 3 * maxOutages {
			do(t, l, "", perHour(1).Charge("k", 1))
			time.Sleep(time.Minute)
		}
		if n := len(c.Snapshot().FailingOpen); n != maxOutages {
			t.Errorf("%d periods are kept", n)
		}
	})
}

// slow is a store that takes its time.
type slow struct{ halt.Store }

//nolint:forbidigo // the bubble's clock
func (s slow) Take(ctx context.Context, cs []halt.Charge, ds []halt.Decision) error {
	time.Sleep(time.Duration(cs[0].Cost) * time.Millisecond)
	return s.Store.Take(ctx, cs, ds)
}

func (slow) Name() string { return "slow" }

//nolint:forbidigo // the bubble's clock
func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(nil)
		l := halt.New(slow{memory.New(nil)}, &halt.Options{Observers: []halt.Observer{c}})
		for ms := range int64(100) {
			do(t, l, "", perHour(1_000_000).Charge("k", ms+1))
		}
		do(t, l, "", halt.Policy{Name: "endless", Limit: halt.Unlimited}.Charge("k", 1)) // the store was not asked
		check := func(what string, l Latency) {
			t.Helper()
			if l.Measured != 100 {
				t.Errorf("%s: %d measured", what, l.Measured)
			}
			for got, want := range map[time.Duration]time.Duration{l.P50: 50, l.P90: 90, l.P99: 99, l.Max: 100} {
				if want *= time.Millisecond; (got - want).Abs() > want/16 {
					t.Errorf("%s: %v, not about %v", what, got, want)
				}
			}
		}
		s := c.Snapshot()
		check("last minute", s.Latency)
		time.Sleep(time.Hour)
		s = c.Snapshot()
		check("ever", s.LatencyEver)
		if s.Latency != (Latency{}) || s.Store != "slow" {
			t.Errorf("%+v of %q", s.Latency, s.Store)
		}
	})
}
