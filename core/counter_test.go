package halt_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

// onlooker is an observer that remembers what it saw.
type onlooker struct {
	starts  int
	elapsed []time.Duration
	last    halt.Event
	panics  bool
}

func (w *onlooker) Start(ctx context.Context, _ *halt.Event) context.Context {
	w.starts++
	return ctx
}

func (w *onlooker) End(_ context.Context, e *halt.Event) {
	w.elapsed = append(w.elapsed, e.Elapsed)
	w.last = *e
	w.last.Charges, w.last.Decisions = slices.Clone(e.Charges), slices.Clone(e.Decisions)
	if w.panics {
		panic("a bug in an observer")
	}
}

// countingOnlooker says that it only counts.
type countingOnlooker struct {
	onlooker
	only bool
}

func (w *countingOnlooker) OnlyCounts() bool { return w.only }

// sluggish is a store that takes a millisecond.
type sluggish struct {
	*memory.Store
	err error
}

//nolint:forbidigo // the bubble's clock
func (s sluggish) Take(ctx context.Context, cs []halt.Charge, ds []halt.Decision) error {
	time.Sleep(time.Millisecond)
	if s.err != nil {
		return s.err
	}
	return s.Store.Take(ctx, cs, ds)
}

func TestOnlyCounters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := halt.Policy{Name: "p", Limit: 2, Window: time.Hour}
		for _, test := range []struct {
			name   string
			o      []halt.Observer
			starts int
		}{
			{"a counter alone", nil, 0},
			{"two counters", []halt.Observer{&countingOnlooker{only: true}}, 0},
			{"beside one that does more", []halt.Observer{&onlooker{}}, 4},
			{"beside one that says it does more", []halt.Observer{&countingOnlooker{}}, 4},
		} {
			w := &countingOnlooker{only: true}
			l := halt.New(sluggish{Store: memory.New(nil)}, &halt.Options{Observers: append(test.o, w)})
			for i := range 3 {
				d, err := l.Allow(t.Context(), p, "k")
				if err != nil || d.Allowed != (i < 2) {
					t.Fatalf("%s: %+v, %v", test.name, d, err)
				}
				if e := w.last; len(e.Charges) != 1 || e.Charges[0] != p.Charge("k", 1) || len(e.Decisions) != 1 || e.Decisions[0] != d ||
					e.Store != "memory" || e.Err != nil {
					t.Errorf("%s: event %+v", test.name, e)
				}
			}
			call := halt.Call{Charges: []halt.Charge{p.Charge("k", 1)}, Route: "/x"}
			if err := l.Do(t.Context(), &call); err != nil || w.last.Route != "/x" {
				t.Errorf("%s: %v, %+v", test.name, err, w.last)
			}
			if w.starts != test.starts {
				t.Errorf("%s: %d starts, not %d", test.name, w.starts, test.starts)
			}
			if want := slices.Repeat([]time.Duration{time.Millisecond}, 4); !slices.Equal(w.elapsed, want) {
				t.Errorf("%s: a store that is not quick took %v", test.name, w.elapsed)
			}
		}
	})
}

func TestCountersSeeFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("down")
		w := &countingOnlooker{only: true, onlooker: onlooker{panics: true}}
		l := halt.New(sluggish{memory.New(nil), cause}, &halt.Options{Observers: []halt.Observer{w}})
		d, err := l.Allow(t.Context(), halt.Policy{Name: "p", Limit: 2, Window: time.Hour}, "k")
		if !errors.Is(err, halt.ErrStore) || !errors.Is(err, cause) || d != (halt.Decision{}) {
			t.Errorf("%+v, %v", d, err)
		}
		if !errors.Is(w.last.Err, cause) || w.last.FailedOpen || w.last.Elapsed != time.Millisecond {
			t.Errorf("%+v", w.last)
		}
		if _, err := l.Allow(t.Context(), halt.Policy{Name: "p"}, "k"); !errors.Is(err, halt.ErrInvalidPolicy) || len(w.elapsed) != 1 {
			t.Errorf("an invalid policy is no call: %v, %d events", err, len(w.elapsed))
		}
	})
}

// A quick store is timed once in a while: never more seldom than one call in 64, and every event is there.
func TestCountersSampleQuickStores(t *testing.T) {
	w := &countingOnlooker{only: true}
	l := halt.New(memory.New(nil), &halt.Options{Observers: []halt.Observer{w}})
	c := halt.Call{Charges: []halt.Charge{halt.Policy{Name: "p", Limit: 10, Window: time.Hour}.Charge("k", 1)}}
	const n = 3200
	for range n {
		if err := l.Do(t.Context(), &c); err != nil {
			t.Fatal(err)
		}
	}
	timed := 0
	for _, d := range w.elapsed {
		if d > 0 {
			timed++
		}
	}
	if len(w.elapsed) != n || timed < n/64 {
		t.Errorf("%d of %d events were timed", timed, len(w.elapsed))
	}
}
