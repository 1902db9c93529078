package guard_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
	"github.com/halt-dev/halt/core/storetest"
)

// queue lets one a second proceed, and three wait.
var queue = halt.Policy{Name: "queue", Limit: 60, Window: time.Minute, Algorithm: halt.LeakyBucket, Burst: 3}

func queueGuard(t *testing.T, more ...guard.Rule[*request]) *guard.Guard[*request] {
	t.Helper()
	rules := append([]guard.Rule[*request]{{Policy: queue, Key: guard.Everyone[*request]()}}, more...)
	g, err := guard.New(halt.New(storetest.NewModel(nil), nil), guard.Config[*request]{Rules: rules})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestDelayIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := queueGuard(t)
		start := time.Now()
		ran := make(chan time.Duration, 4)
		for range 4 {
			go serve(t.Context(), g, &request{}, func(context.Context) { ran <- time.Since(start) })
		}
		for i := range 4 {
			if got, want := <-ran, time.Duration(i)*time.Second; got != want {
				t.Errorf("handler %d ran after %v, want %v", i, got, want)
			}
		}
	})
}

func TestDelayEndsWithTheContext(t *testing.T) {
	for name, end := range map[string]func(context.Context) (context.Context, context.CancelFunc){
		"cancel": context.WithCancel,
		"deadline": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 300*time.Millisecond)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var outcome guard.Outcome
				g := queueGuard(t, guard.Rule[*request]{Policy: fixed("api", 10), Key: guard.Everyone[*request](), Settle: func(_ *request, o guard.Outcome) int64 {
					outcome = o
					return 0
				}})
				serve(t.Context(), g, &request{}, nil)
				ctx, cancel := end(t.Context())
				defer cancel()
				start := time.Now()
				done := make(chan bool)
				go func() {
					_, ran := serve(ctx, g, &request{}, nil)
					done <- ran
				}()
				if name == "cancel" {
					synctest.Wait()
					cancel()
				}
				if <-done {
					t.Error("the handler ran")
				}
				if waited := time.Since(start); waited > 300*time.Millisecond {
					t.Errorf("the delay ended after %v", waited)
				}
				if outcome.Status != guard.StatusClientClosed || !errors.Is(outcome.Err, ctx.Err()) || outcome.Err == nil {
					t.Errorf("settled with %+v, want %d and %v", outcome, guard.StatusClientClosed, ctx.Err())
				}
			})
		})
	}
}

func TestDelayOfADeniedRequestIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := queueGuard(t, guard.Rule[*request]{Policy: fixed("api", 1), Key: guard.Everyone[*request]()})
		serve(t.Context(), g, &request{}, nil)
		p := g.Enter(t.Context(), &request{}) // the queue has room, api has none
		defer p.Leave(guard.Outcome{})
		if _, denied := p.Denied(); !denied {
			t.Fatal("admitted")
		}
		if d := p.Delay(); d != 0 {
			t.Errorf("a denied request is to wait %v", d)
		}
		if err := p.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// The queue is full: that is a refusal, not a delay.
func TestQueueRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := queueGuard(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for range 4 {
			go serve(ctx, g, &request{}, nil)
		}
		synctest.Wait()
		d, ran := serve(t.Context(), g, &request{}, nil)
		if ran || d.Reason != guard.QuotaExceeded || d.RetryAfter != time.Second {
			t.Errorf("ran: %v, denial %+v", ran, d)
		}
	})
}
