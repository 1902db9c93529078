package guard_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
)

func TestInFlightBoundsWhoIsInside(t *testing.T) {
	w := newWorld(t)
	p := inFlight(2)
	g := w.rules(guard.Rule[*request]{Policy: p, Key: guard.Everyone[*request]()})
	serve(t.Context(), g, &request{}, func(context.Context) {
		serve(t.Context(), g, &request{}, func(context.Context) {
			if d := w.deny(g, &request{}, guard.QuotaExceeded); d.RetrySeconds() != 1 {
				t.Errorf("retry after %d s, want the hint of 1", d.RetrySeconds())
			}
		})
		w.wantRemaining(p, "everyone", 1)
		w.admit(g, &request{})
	})
	w.wantRemaining(p, "everyone", 2)
	w.quiet()
}

func TestInFlightIsReturned(t *testing.T) {
	p := inFlight(3)
	slot := guard.Rule[*request]{Policy: p, Key: byUser()}
	merged := []guard.Rule[*request]{slot, {Resolve: resolves(p), Key: byUser()}}
	leaky := halt.Policy{Name: "queue", Limit: 1, Window: time.Minute, Algorithm: halt.LeakyBucket, Burst: 5}
	for _, test := range []struct {
		name  string
		rules []guard.Rule[*request]
		send  func(w *world, g *guard.Guard[*request])
	}{
		{"on leaving", []guard.Rule[*request]{slot}, func(w *world, g *guard.Guard[*request]) { w.admit(g, success) }},
		{"whatever the status", []guard.Rule[*request]{slot}, func(w *world, g *guard.Guard[*request]) { w.admit(g, failure) }},
		{"of two rules that merged", merged, func(w *world, g *guard.Guard[*request]) { w.admit(g, success) }},
		{"when another rule denies", []guard.Rule[*request]{slot, {Policy: fixed("api", 1), Key: byUser(), Cost: costs(2)}}, func(w *world, g *guard.Guard[*request]) {
			w.deny(g, success, guard.QuotaExceeded)
		}},
		{"when the handler panics", []guard.Rule[*request]{slot}, func(w *world, g *guard.Guard[*request]) {
			defer func() { _ = recover() }()
			serve(w.t.Context(), g, success, func(context.Context) { panic("handler") })
		}},
		{"when the delay is cancelled", []guard.Rule[*request]{{Policy: leaky, Key: byUser()}, slot}, func(w *world, g *guard.Guard[*request]) {
			w.admit(g, success)
			ctx, cancel := context.WithCancel(w.t.Context())
			var wg sync.WaitGroup
			wg.Go(func() {
				if _, ran := serve(ctx, g, success, nil); ran {
					w.t.Error("the handler ran")
				}
			})
			synctest.Wait() // it waits for its turn
			w.wantRemaining(p, "user:ann", 2)
			cancel()
			wg.Wait()
		}},
		{"when the next rule settles badly", []guard.Rule[*request]{slot, {Policy: fixed("api", 9), Key: byUser(), Settle: keeps(-1)}}, func(w *world, g *guard.Guard[*request]) {
			w.admit(g, success)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				for range 5 { // more often than there are places
					g := w.rules(test.rules...)
					test.send(w, g)
					w.wantRemaining(p, "user:ann", 3)
					w.clock.Advance(time.Hour)
				}
			})
		})
	}
	t.Run("in shadow", func(t *testing.T) {
		w := newWorld(t)
		slot.Shadow = true
		g := w.rules(slot)
		for range 5 {
			serve(t.Context(), g, success, func(context.Context) {
				if got := w.remaining(p, "user:ann", true); got != 2 {
					t.Errorf("%d places left while one is inside", got)
				}
			})
		}
		if got := w.remaining(p, "user:ann", true); got != 3 {
			t.Errorf("%d places left, want 3", got)
		}
	})
}

// Goroutines come and go: never more than the limit inside, and all places are free in the end.
func TestInFlightConcurrently(t *testing.T) {
	w := newWorld(t)
	p := inFlight(4)
	g := w.rules(guard.Rule[*request]{Policy: p, Key: guard.Everyone[*request]()})
	var inside, most, admitted int
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 200 {
				serve(t.Context(), g, &request{}, func(context.Context) {
					mu.Lock()
					inside++
					most, admitted = max(most, inside), admitted+1
					mu.Unlock()
					mu.Lock()
					inside--
					mu.Unlock()
				})
			}
		})
	}
	wg.Wait()
	if most > 4 || admitted == 0 {
		t.Errorf("%d admitted, at most %d inside at once, want at most 4", admitted, most)
	}
	w.wantRemaining(p, "everyone", 4)
	w.quiet()
}
