package haltgqlgen_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"

	haltgqlgen "github.com/halt-dev/halt/adapters/gqlgen"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
	"github.com/halt-dev/halt/core/memory"
)

var errDown = errors.New("the store at 10.0.0.7 is down")

// failing is a store that fails while it is down.
type failing struct {
	halt.Store
	down atomic.Bool
}

func (f *failing) Take(ctx context.Context, cs []halt.Charge, ds []halt.Decision) error {
	if f.down.Load() {
		return errDown
	}
	return f.Store.Take(ctx, cs, ds)
}

// TestStoreDown: by default it admits, with FailClosed it refuses operations with 503 and fields with an error; nothing
// of it reaches the client.
func TestStoreDown(t *testing.T) {
	for _, closed := range []bool{false, true} {
		for name, c := range map[string]haltgqlgen.Config{
			"operation": {Rules: []haltgqlgen.Rule{{Policy: policy("api", 10), Key: haltgqlgen.Everyone()}}},
			"field":     {Fields: haltgqlgen.Fields{"Query.node": {Policy: policy("api", 10), Key: haltgqlgen.Everyone()}}},
		} {
			t.Run(name, func(t *testing.T) {
				f := &failing{Store: memory.New(nil)}
				var told []error
				c.FailClosed = closed
				c.OnError = func(_ *haltgqlgen.Operation, err error) { told = append(told, err) }
				s := newSiteOn(t, halt.New(f, &halt.Options{Observers: []halt.Observer{observer(func(*halt.Event) {})}}), c)
				f.down.Store(true)
				a := s.do(t, `{need node(id: 1) {id}}`, nil)
				if len(told) != 1 || !errors.Is(told[0], errDown) || strings.Contains(a.Body, "10.0.0.7") {
					t.Errorf("%v %s", told, a.Body)
				}
				switch {
				case !closed && (a.Status != 200 || len(a.Errors) > 0):
					t.Errorf("open: %d %s", a.Status, a.Body)
				case closed && name == "operation" && (a.Status != 503 || s.Total() != 0):
					t.Errorf("closed: %d %s", a.Status, a.Body)
				case closed && name == "field" && (a.Status != 200 || a.Data["need"] != 1.0 || a.Data["node"] != nil || s.Calls("Query.node") != 0):
					t.Errorf("closed: %d %s", a.Status, a.Body)
				case closed && !slices.Equal(a.codes(), []string{haltgqlgen.CodeUnavailable}):
					t.Errorf("%s", a.Body)
				}
				f.down.Store(false)
				if a := s.do(t, `{need node(id: 1) {id}}`, nil); a.Status != 200 || len(a.Errors) > 0 {
					t.Errorf("afterwards: %s", a.Body)
				}
			})
		}
	}
}

// TestFunctionsOfFieldsFail: what a user's function spoils is its own limit, and with FailClosed its field.
func TestFunctionsOfFieldsFail(t *testing.T) {
	boom := func(*haltgqlgen.Operation) int64 { panic("boom") }
	good := haltgqlgen.FieldRule{Policy: policy("api", 10), Key: haltgqlgen.Everyone()}
	for name, c := range map[string]struct {
		rule haltgqlgen.FieldRule
		want error
	}{
		"cost panics":      {haltgqlgen.FieldRule{Policy: good.Policy, Key: good.Key, Cost: boom}, guard.ErrPanic},
		"cost is negative": {haltgqlgen.FieldRule{Policy: good.Policy, Key: good.Key, Cost: func(*haltgqlgen.Operation) int64 { return -1 }}, guard.ErrNegativeCost},
		"key panics": {haltgqlgen.FieldRule{Policy: good.Policy, Key: haltgqlgen.By("boom", func(*haltgqlgen.Operation) string {
			panic("boom")
		})}, guard.ErrPanic},
		"resolve fails": {haltgqlgen.FieldRule{Key: good.Key, Resolve: func(context.Context, *haltgqlgen.Operation) (halt.Policy, error) {
			return halt.Policy{}, errDown
		}}, errDown},
		"resolve panics": {haltgqlgen.FieldRule{Key: good.Key, Resolve: func(context.Context, *haltgqlgen.Operation) (halt.Policy, error) {
			panic("boom")
		}}, guard.ErrPanic},
		"resolve is invalid": {haltgqlgen.FieldRule{Key: good.Key, Resolve: func(context.Context, *haltgqlgen.Operation) (halt.Policy, error) {
			return halt.Policy{Name: "x"}, nil
		}}, halt.ErrInvalidPolicy},
		"another policy of the name": {haltgqlgen.FieldRule{
			Policy: good.Policy, Key: good.Key,
			And: []haltgqlgen.FieldRule{{Key: good.Key, Resolve: func(context.Context, *haltgqlgen.Operation) (halt.Policy, error) {
				return policy("api", 11), nil
			}}},
		}, guard.ErrSameBudget},
	} {
		for _, closed := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				var told []error
				s := newSite(t, haltgqlgen.Config{
					Fields: haltgqlgen.Fields{"Query.node": c.rule}, FailClosed: closed,
					OnError: func(_ *haltgqlgen.Operation, err error) {
						told = append(told, err)
						panic("in the observer")
					},
				})
				a := s.do(t, `{need node(id: 1) {id}}`, nil)
				var field *haltgqlgen.FieldError
				if len(told) != 1 || !errors.Is(told[0], c.want) || !errors.As(told[0], &field) || field.Field != "Query.node" ||
					!strings.HasPrefix(told[0].Error(), "halt: field Query.node") {
					t.Errorf("told %v", told)
				}
				closed := closed || name == "cost is negative" // which may be the client's own figure
				if closed != (a.Data["node"] == nil) || closed && a.codes()[0] != haltgqlgen.CodeUnavailable || a.Data["need"] != 1.0 {
					t.Errorf("closed %v: %s", closed, a.Body)
				}
			})
		}
	}
}

// TestPlanDatabaseHangs: a PolicyCache's Default is in time for a rule and for a field.
func TestPlanDatabaseHangs(t *testing.T) {
	for _, of := range []string{"rule", "field"} {
		t.Run(of, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				plans := halt.NewPolicyCache(func(ctx context.Context, _ string) (halt.Policy, error) {
					<-ctx.Done()
					return halt.Policy{}, ctx.Err()
				}, &halt.PolicyCacheOptions{Default: policy("plan", 1)})
				s := newSite(t, resolving(of, func(ctx context.Context, _ *haltgqlgen.Operation) (halt.Policy, error) {
					return plans.Get(ctx, "ann")
				}, func(err error) { t.Error(err) }))
				for i := range 2 {
					if a := s.do(t, `{need report}`, nil); a.refused() != i {
						t.Errorf("%d: %s", i, a.Body)
					}
				}
			})
		})
	}
}

// TestResolveIsLate: what a Resolve returns after its context has ended counts as a failure.
func TestResolveIsLate(t *testing.T) {
	for _, of := range []string{"rule", "field"} {
		t.Run(of, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var told error
				s := newSite(t, resolving(of, func(ctx context.Context, _ *haltgqlgen.Operation) (halt.Policy, error) {
					<-ctx.Done()
					return policy("plan", 1), nil
				}, func(err error) { told = err }))
				start := time.Now()
				if a := s.do(t, `{a: report}`, nil); len(a.Errors) > 0 || !errors.Is(told, context.DeadlineExceeded) {
					t.Errorf("%v %s", told, a.Body)
				}
				if took := time.Since(start); took != 2*time.Second {
					t.Errorf("after %v", took)
				}
			})
		})
	}
}

// resolving returns limits on a rule or on a field whose policy is resolved.
func resolving(of string, resolve func(context.Context, *haltgqlgen.Operation) (halt.Policy, error), told func(error)) haltgqlgen.Config {
	c := haltgqlgen.Config{OnError: func(_ *haltgqlgen.Operation, err error) { told(err) }}
	if of == "rule" {
		c.Rules = []haltgqlgen.Rule{{Resolve: resolve, Key: haltgqlgen.Everyone()}}
	} else {
		c.Fields = haltgqlgen.Fields{"Query.report": {Resolve: resolve, Key: haltgqlgen.Everyone()}}
	}
	return c
}

// TestMissingKeyIsTold: OnError hears of what has no key, shadow limits included, and the log does not.
func TestMissingKeyIsTold(t *testing.T) {
	log := logged(t)
	p, key := policy("tenant", 1), haltgqlgen.ByHeader("X-Tenant")
	for name, c := range map[string]struct {
		config haltgqlgen.Config
		query  string
		code   []string
		told   string
	}{
		"rule": {
			haltgqlgen.Config{Rules: []haltgqlgen.Rule{{Policy: p, Key: key}}},
			`{node(id: 1) {id}}`,
			[]string{haltgqlgen.CodeKeyMissing},
			"halt: Rules[0] tenant: ",
		},
		"shadow rule": {
			haltgqlgen.Config{Rules: []haltgqlgen.Rule{{Policy: p, Key: key, Shadow: true}}},
			`{node(id: 1) {id}}`, nil, "halt: Rules[0] tenant: ",
		},
		"field": {
			haltgqlgen.Config{Fields: haltgqlgen.Fields{"Query.node": {Policy: p, Key: key}}},
			`{node(id: 1) {id}}`,
			[]string{haltgqlgen.CodeKeyMissing},
			"halt: field Query.node tenant: ",
		},
		"shadow field": {
			haltgqlgen.Config{Fields: haltgqlgen.Fields{"Query.node": {Policy: p, Key: key, Shadow: true}}},
			`{node(id: 1) {id}}`, nil, "halt: field Query.node tenant: ",
		},
		"directive": {
			haltgqlgen.Config{Key: key},
			`{user(id: 1) {secret}}`,
			[]string{haltgqlgen.CodeKeyMissing},
			"halt: field User.secret secret: ",
		},
		"events": {
			haltgqlgen.Config{Events: &haltgqlgen.Events{Policy: p, Key: key}},
			`subscription {ticks(count: 1)}`,
			[]string{haltgqlgen.CodeKeyMissing},
			"halt: Events.Key: ",
		},
	} {
		t.Run(name, func(t *testing.T) {
			newSite(t, c.config).do(t, c.query, nil)
			var told []error
			c.config.OnError = func(_ *haltgqlgen.Operation, err error) { told = append(told, err) }
			if a := newSite(t, c.config).do(t, c.query, nil); !slices.Equal(a.codes(), c.code) {
				t.Errorf("%s", a.Body)
			}
			if len(told) != 1 || !errors.Is(told[0], guard.ErrNoKey) || !strings.HasPrefix(told[0].Error(), c.told) {
				t.Errorf("%v", told)
			}
		})
	}
	if log.Len() > 0 {
		t.Errorf("%s", log)
	}
}

// TestFunctionsAreNamed: of functions that are no rule's and no field's the error says which it was.
func TestFunctionsAreNamed(t *testing.T) {
	p, boom := policy("events", 10), haltgqlgen.By("boom", func(*haltgqlgen.Operation) string { panic("boom") })
	for name, c := range map[string]struct {
		config haltgqlgen.Config
		want   error
	}{
		"Events.Key": {haltgqlgen.Config{Events: &haltgqlgen.Events{Policy: p, Key: boom}}, guard.ErrPanic},
		"Events.Cost": {haltgqlgen.Config{Events: &haltgqlgen.Events{
			Policy: p, Key: haltgqlgen.Everyone(), Cost: func(*haltgqlgen.Operation, *graphql.Response) int64 { return -1 },
		}}, guard.ErrNegativeCost},
		"Exempt": {haltgqlgen.Config{Exempt: func(*haltgqlgen.Operation) bool { panic("boom") }}, guard.ErrPanic},
		"OnDenied": {haltgqlgen.Config{
			Rules:    []haltgqlgen.Rule{{Policy: p, Key: haltgqlgen.Everyone(), Cost: func(*haltgqlgen.Operation) int64 { return 11 }}},
			OnDenied: func(*haltgqlgen.Operation, haltgqlgen.Denial) *gqlerror.Error { panic("boom") },
		}, guard.ErrPanic},
	} {
		t.Run(name, func(t *testing.T) {
			var told []error
			c.config.OnError = func(_ *haltgqlgen.Operation, err error) { told = append(told, err) }
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			stream(ctx, t, halt.New(memory.New(nil), nil), c.config, `subscription {ticks(count: 1)}`)
			if len(told) != 1 || !errors.Is(told[0], c.want) || !strings.HasPrefix(told[0].Error(), "halt: "+name+": ") {
				t.Errorf("%v", told)
			}
		})
	}
}

// logged returns what the default logger writes from now on, until the test ends.
func logged(t *testing.T) *bytes.Buffer {
	t.Helper()
	b, before := new(bytes.Buffer), slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(b, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	return b
}

// TestFailuresAreLogged: without an OnError, what fails in a limit is logged, once in a while, and without its text.
// failed_open is true of what went on as if it had been admitted, and of nothing else.
func TestFailuresAreLogged(t *testing.T) {
	boom := func(*haltgqlgen.Operation) int64 { panic("a secret") }
	negative := func(*haltgqlgen.Operation) int64 { return -1 }
	field := func(cost func(*haltgqlgen.Operation) int64, shadow bool) haltgqlgen.Config {
		return haltgqlgen.Config{Fields: haltgqlgen.Fields{"Subscription.ticks": {
			Policy: policy("api", 10), Key: haltgqlgen.Everyone(), Cost: cost, Shadow: shadow,
		}}}
	}
	events := func(key haltgqlgen.Key, cost func(*haltgqlgen.Operation) int64) haltgqlgen.Config {
		e := &haltgqlgen.Events{Policy: policy("api", 10), Key: key}
		if cost != nil {
			e.Cost = func(op *haltgqlgen.Operation, _ *graphql.Response) int64 { return cost(op) }
		}
		return haltgqlgen.Config{Events: e}
	}
	unkeyed := haltgqlgen.By("boom", func(*haltgqlgen.Operation) string { panic("a secret") })
	for name, c := range map[string]struct {
		config       haltgqlgen.Config
		closed, gone bool
		want         string
	}{
		"field":                  {config: field(boom, false), want: "error=panic failed_open=true suppressed=0 field=Subscription.ticks policy=api"},
		"field, closed":          {config: field(boom, false), closed: true, want: "failed_open=false"},
		"field, gone":            {config: field(boom, false), gone: true, want: "failed_open=false"},
		"field, negative":        {config: field(negative, false), want: "error=negative_cost failed_open=false"},
		"shadow field":           {config: field(boom, true), want: "error=panic failed_open=false"},
		"shadow field, closed":   {config: field(boom, true), closed: true, want: "failed_open=false"},
		"event's key":            {config: events(unkeyed, nil), want: "error=panic failed_open=true suppressed=0 function=Events.Key"},
		"event's key, closed":    {config: events(unkeyed, nil), closed: true, want: "failed_open=false"},
		"event's key, gone":      {config: events(unkeyed, nil), gone: true, want: "failed_open=false"},
		"event's cost":           {config: events(haltgqlgen.Everyone(), boom), want: "error=panic failed_open=true suppressed=0 function=Events.Cost"},
		"event's cost, closed":   {config: events(haltgqlgen.Everyone(), boom), closed: true, want: "failed_open=false"},
		"event's cost, negative": {config: events(haltgqlgen.Everyone(), negative), want: "error=negative_cost failed_open=false"},
		"Exempt": {
			config: haltgqlgen.Config{Exempt: func(*haltgqlgen.Operation) bool { panic("a secret") }},
			want:   "error=panic failed_open=false suppressed=0 function=Exempt",
		},
	} {
		t.Run(name, func(t *testing.T) {
			log := logged(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if c.gone {
				cancel()
			}
			c.config.FailClosed = c.closed
			s := newSite(t, c.config)
			for range 3 {
				s.send(t, request(t, `subscription {ticks(count: 1)}`, nil).WithContext(ctx))
			}
			if log := log.String(); strings.Count(log, "\n") != 1 || !strings.Contains(log, c.want) || strings.Contains(log, "secret") {
				t.Errorf("%s, want %s", log, c.want)
			}
		})
	}
}

// TestGoneWhileDeciding: who hangs up doesn't get past the limits of fields by it.
func TestGoneWhileDeciding(t *testing.T) {
	ctx, gone := context.WithCancel(t.Context())
	f := &failing{Store: memory.New(nil)}
	f.down.Store(true)
	s := newSiteOn(t, halt.New(f, &halt.Options{Observers: []halt.Observer{observer(func(*halt.Event) { gone() })}}), haltgqlgen.Config{
		Fields: haltgqlgen.Fields{"Query.need": {Policy: policy("api", 10), Key: haltgqlgen.Everyone()}},
	})
	s.send(t, request(t, `{need}`, nil).WithContext(ctx))
	if s.Total() != 0 {
		t.Error("executed")
	}
}
