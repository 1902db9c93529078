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
		}, haltgqlgen.ErrSameBudget},
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

// TestFailuresAreLogged: without an OnError, what fails in a field's limit is logged, once in a while, and without its text.
func TestFailuresAreLogged(t *testing.T) {
	var b bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&b, nil)))
	defer slog.SetDefault(before)
	s := newSite(t, haltgqlgen.Config{Fields: haltgqlgen.Fields{"Query.need": {
		Policy: policy("api", 10), Key: haltgqlgen.Everyone(), Cost: func(*haltgqlgen.Operation) int64 { panic("a secret") },
	}}})
	for range 3 {
		s.do(t, `{need}`, nil)
	}
	if log := b.String(); strings.Count(log, "\n") != 1 || !strings.Contains(log, "error=panic") || !strings.Contains(log, "field=Query.need") || strings.Contains(log, "secret") {
		t.Errorf("%s", log)
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
