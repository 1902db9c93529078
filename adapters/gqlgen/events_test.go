package haltgqlgen_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/executor"

	haltgqlgen "github.com/halt-dev/halt/adapters/gqlgen"
	"github.com/halt-dev/halt/adapters/gqlgen/internal/testapi"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

// stream runs a subscription as a transport does, and returns its answers and when they came.
func stream(ctx context.Context, t *testing.T, l *halt.Limiter, c haltgqlgen.Config, query string) (answers []string, after []time.Duration) {
	t.Helper()
	exec := executor.New(testapi.New(&testapi.API{}, testapi.DirectiveRoot{RateLimit: haltgqlgen.RateLimit}, noPrices))
	exec.Use(haltgqlgen.Operations(l, withPolicies(t, c)))
	start := time.Now()
	ctx = graphql.StartOperationTrace(ctx)
	op, errs := exec.CreateOperationContext(ctx, &graphql.RawParams{Query: query})
	if errs != nil {
		t.Fatal(errs)
	}
	next, ctx := exec.DispatchOperation(ctx, op)
	for {
		resp := next(ctx)
		if resp == nil {
			return answers, after
		}
		s := string(resp.Data)
		for _, e := range resp.Errors {
			s += fmt.Sprint(e.Extensions["code"])
		}
		answers, after = append(answers, s), append(after, time.Since(start))
	}
}

// TestEvents: what an event's refusal does, at which times.
func TestEvents(t *testing.T) {
	second := halt.Policy{Name: "events", Limit: 2, Window: 2 * time.Second, Algorithm: halt.TokenBucket}
	tiny := func(_ *haltgqlgen.Operation, resp *graphql.Response) int64 {
		if strings.Contains(string(resp.Data), "3") {
			return 3 // more than the policy holds
		}
		return 1
	}
	for name, c := range map[string]struct {
		events haltgqlgen.Events
		want   string
	}{
		"pause":                            {haltgqlgen.Events{}, `{"ticks":1}@0s {"ticks":2}@0s {"ticks":3}@1s {"ticks":4}@2s`},
		"thin":                             {haltgqlgen.Events{Over: haltgqlgen.Thin}, `{"ticks":1}@0s {"ticks":2}@0s`},
		"end":                              {haltgqlgen.Events{Over: haltgqlgen.End}, `{"ticks":1}@0s {"ticks":2}@0s RATE_LIMITED@0s`},
		"one that never fits ends a pause": {haltgqlgen.Events{Cost: tiny}, `{"ticks":1}@0s {"ticks":2}@0s RATE_LIMITED@0s`},
		"one that never fits is left out":  {haltgqlgen.Events{Cost: tiny, Over: haltgqlgen.Thin}, `{"ticks":1}@0s {"ticks":2}@0s`},
		"free ones": {
			haltgqlgen.Events{Cost: func(*haltgqlgen.Operation, *graphql.Response) int64 { return 0 }, Over: haltgqlgen.End},
			`{"ticks":1}@0s {"ticks":2}@0s {"ticks":3}@0s {"ticks":4}@0s`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.events.Policy, c.events.Key = second, haltgqlgen.Everyone()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				answers, after := stream(ctx, t, halt.New(memory.New(nil), nil), haltgqlgen.Config{Events: &c.events}, `subscription {ticks(count: 4)}`)
				var got []string
				for i := range answers {
					got = append(got, fmt.Sprintf("%s@%v", answers[i], after[i].Round(time.Millisecond)))
				}
				if s := strings.Join(got, " "); s != c.want {
					t.Errorf("%s\nwant %s", s, c.want)
				}
			})
		})
	}
}

// TestEventsPauseEnds: a pause ends with the subscription.
func TestEventsPauseEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		answers, _ := stream(ctx, t, halt.New(memory.New(nil), nil), haltgqlgen.Config{
			Events: &haltgqlgen.Events{Policy: policy("events", 1), Key: haltgqlgen.Everyone()},
		}, `subscription {ticks(count: 4)}`)
		if len(answers) != 1 {
			t.Errorf("%q", answers)
		}
	})
}

// TestEventsAreShared: subscriptions of one key draw on one budget.
func TestEventsAreShared(t *testing.T) {
	p := policy("events", 3)
	l := halt.New(memory.New(nil), nil)
	c := haltgqlgen.Config{Events: &haltgqlgen.Events{Policy: p, Key: haltgqlgen.Everyone(), Over: haltgqlgen.Thin}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first, _ := stream(ctx, t, l, c, `subscription {ticks(count: 2)}`)
	second, _ := stream(ctx, t, l, c, `subscription {ticks(count: 2)}`)
	if len(first) != 2 || len(second) != 1 {
		t.Errorf("%q %q", first, second)
	}
}

// TestEventsKey: a subscription without the key is refused when it starts; a key whose function panics lets it through,
// or with FailClosed refuses it.
func TestEventsKey(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	boom := haltgqlgen.By("boom", func(*haltgqlgen.Operation) string { panic("boom") })
	for name, c := range map[string]struct {
		key    haltgqlgen.Key
		closed bool
		want   string
	}{
		"missing": {haltgqlgen.ByIP(), false, "[RATE_LIMIT_KEY_MISSING]"},
		"open":    {boom, false, `[{"ticks":1}]`},
		"closed":  {boom, true, "[RATE_LIMIT_UNAVAILABLE]"},
	} {
		answers, _ := stream(ctx, t, halt.New(memory.New(nil), nil), haltgqlgen.Config{
			FailClosed: c.closed, OnError: func(*haltgqlgen.Operation, error) {},
			Events: &haltgqlgen.Events{Policy: policy("events", 1), Key: c.key},
		}, `subscription {ticks(count: 1)}`)
		if got := fmt.Sprint(answers); got != c.want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// TestRefusedSubscription: it yields one answer and then ends, and its limited field refuses it like any.
func TestRefusedSubscription(t *testing.T) {
	p := policy("news", 1)
	l := halt.New(memory.New(nil), nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for i, want := range []int{3, 1} {
		answers, _ := stream(ctx, t, l, haltgqlgen.Config{Policies: registry(t, p)}, `subscription {news}`)
		if len(answers) != want || (i == 1) != strings.Contains(answers[0], "RATE_LIMITED") {
			t.Errorf("%q", answers)
		}
	}
}

// TestEventsWhileTheStoreIsDown: they are sent, or with FailClosed the first ends the subscription; and so does a cost below 0.
func TestEventsWhileTheStoreIsDown(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	negative := func(*haltgqlgen.Operation, *graphql.Response) int64 { return -1 }
	boom := func(*haltgqlgen.Operation, *graphql.Response) int64 { panic("boom") }
	for i, cost := range []func(*haltgqlgen.Operation, *graphql.Response) int64{nil, boom, negative} {
		for closed, want := range map[bool]string{false: `[{"ticks":1} {"ticks":2}]`, true: "[RATE_LIMIT_UNAVAILABLE]"} {
			if i == 2 {
				want = "[RATE_LIMIT_UNAVAILABLE]" // it may be the client's own figure
			}
			f := &failing{Store: memory.New(nil)}
			f.down.Store(true)
			answers, _ := stream(ctx, t, halt.New(f, nil), haltgqlgen.Config{
				FailClosed: closed, OnError: func(*haltgqlgen.Operation, error) {},
				Events: &haltgqlgen.Events{Policy: policy("events", 10), Key: haltgqlgen.Everyone(), Cost: cost},
			}, `subscription {ticks(count: 2)}`)
			if got := fmt.Sprint(answers); got != want {
				t.Errorf("closed %v: %s", closed, got)
			}
		}
	}
}
