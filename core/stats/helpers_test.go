package stats

import (
	"context"
	"errors"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

func charge(key string) *halt.Charge {
	c := perHour(1).Charge(key, 1)
	return &c
}

func perHour(n int64) halt.Policy { return halt.Policy{Name: "api", Limit: n, Window: time.Hour} }

func limiter(c *Collector) *halt.Limiter {
	return halt.New(memory.New(nil), &halt.Options{Observers: []halt.Observer{c}})
}

// allow asks so many times, and returns how many were allowed.
func allow(t *testing.T, l *halt.Limiter, p halt.Policy, key string, times int) (allowed int) {
	t.Helper()
	for range times {
		d, err := l.Allow(t.Context(), p, key)
		if err != nil {
			t.Fatal(err)
		}
		if d.Allowed {
			allowed++
		}
	}
	return allowed
}

// do decides charges as one call of a route.
func do(t *testing.T, l *halt.Limiter, route string, cs ...halt.Charge) {
	t.Helper()
	if err := l.Do(t.Context(), &halt.Call{Charges: cs, Route: route, FailOpen: true}); err != nil && !errors.Is(err, halt.ErrStore) {
		t.Fatal(err)
	}
}

// broken is a store that never decides.
type broken struct{}

func (broken) Name() string { return "broken" }
func (broken) Take(context.Context, []halt.Charge, []halt.Decision) error {
	return errors.New("password=hunter2")
}
func (broken) Reset(context.Context, halt.Policy, string) error { return nil }

// gone is a store whose callers leave.
type gone struct{ broken }

func (gone) Take(ctx context.Context, _ []halt.Charge, _ []halt.Decision) error { return ctx.Err() }
