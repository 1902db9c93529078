package halt_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
)

type ctxKey string

// witness writes down what it sees, and puts its name into the context.
type witness struct {
	name string
	log  *[]string
	see  func(when string, e *halt.Event)
}

func (w witness) Start(ctx context.Context, e *halt.Event) context.Context {
	inside, _ := ctx.Value(ctxKey("inside")).(string)
	*w.log = append(*w.log, fmt.Sprintf("start %s in %q", w.name, inside))
	if w.see != nil {
		w.see("start", e)
	}
	return context.WithValue(ctx, ctxKey("inside"), inside+w.name)
}

func (w witness) End(ctx context.Context, e *halt.Event) {
	*w.log = append(*w.log, fmt.Sprintf("end %s in %q", w.name, ctx.Value(ctxKey("inside"))))
	if w.see != nil {
		w.see("end", e)
	}
}

// nested is a store that tells what its context says.
type nested struct {
	*storetest.Model
	log *[]string
}

func (n nested) Take(ctx context.Context, cs []halt.Charge, ds []halt.Decision) error {
	*n.log = append(*n.log, fmt.Sprintf("store in %q", ctx.Value(ctxKey("inside"))))
	return n.Model.Take(ctx, cs, ds)
}

func TestObserversNest(t *testing.T) {
	t.Parallel()
	var log []string
	var seen []string
	see := func(when string, e *halt.Event) {
		seen = append(seen, fmt.Sprintf("%s: %d charges, route %s, store %s, %d decisions, failed open %t, %v",
			when, len(e.Charges), e.Route, e.Store, len(e.Decisions), e.FailedOpen, e.Err))
	}
	l := halt.New(nested{storetest.NewModel(nil), &log}, &halt.Options{Observers: []halt.Observer{witness{"a", &log, nil}, witness{"b", &log, see}, witness{"c", &log, nil}}})
	free := halt.Policy{Name: "free", Limit: halt.Unlimited}
	c := halt.Call{Charges: []halt.Charge{perMinute.Charge("k", 1), free.Charge("k", 1)}, Route: "/v1", FailOpen: true}
	if err := l.Do(t.Context(), &c); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`start a in ""`, `start b in "a"`, `start c in "ab"`, `store in "abc"`, `end c in "abc"`, `end b in "ab"`, `end a in "a"`,
	}
	if !slices.Equal(log, want) {
		t.Errorf("%q", log)
	}
	want = []string{
		"start: 2 charges, route /v1, store model, 0 decisions, failed open false, <nil>",
		"end: 2 charges, route /v1, store model, 2 decisions, failed open false, <nil>",
	}
	if !slices.Equal(seen, want) {
		t.Errorf("%q", seen)
	}
}

func TestObserversSeeFailures(t *testing.T) {
	t.Parallel()
	var log []string
	var last halt.Event
	s := &scripted{Model: storetest.NewModel(nil), take: func([]halt.Charge) error { return errors.New("no route to host") }}
	l := halt.New(s, &halt.Options{Observers: []halt.Observer{witness{"a", &log, func(_ string, e *halt.Event) { last = *e }}}})
	for _, open := range []bool{true, false} {
		err := l.Do(t.Context(), &halt.Call{Charges: []halt.Charge{perMinute.Charge("k", 1)}, FailOpen: open})
		if !errors.Is(err, halt.ErrStore) || !errors.Is(last.Err, halt.ErrStore) || last.FailedOpen != open {
			t.Errorf("%v, seen %v, failed open %t", err, last.Err, last.FailedOpen)
		}
	}
	if _, err := l.Allow(t.Context(), perMinute, ""); err == nil || len(log) != 4 {
		t.Errorf("an invalid call was shown: %q", log)
	}
}

// bomb panics wherever it can.
type bomb struct{ atStart bool }

func (b bomb) Start(context.Context, *halt.Event) context.Context {
	if b.atStart {
		panic("start")
	}
	return nil
}

func (b bomb) End(context.Context, *halt.Event) { panic("end") }

// TestObserversPanic: one that panics, or returns no context, spoils neither the decision nor what others see.
func TestObserversPanic(t *testing.T) {
	t.Parallel()
	var log []string
	l := halt.New(nested{storetest.NewModel(nil), &log}, &halt.Options{Observers: []halt.Observer{
		witness{"a", &log, nil}, bomb{true}, bomb{false}, witness{"b", &log, nil},
	}})
	d, err := l.Allow(t.Context(), perMinute, "k")
	if err != nil || !d.Allowed || d.Remaining != 2 {
		t.Fatalf("%+v, %v", d, err)
	}
	if want := []string{`start a in ""`, `start b in "a"`, `store in "ab"`, `end b in "ab"`, `end a in "a"`}; !slices.Equal(log, want) {
		t.Errorf("%q", log)
	}
}

// TestFailuresAreLogged: without an observer, one line in ten seconds, without internals.
func TestFailuresAreLogged(t *testing.T) { // it sets the default logger, so it is not parallel
	var mu sync.Mutex
	var out bytes.Buffer
	was := slog.Default()
	defer slog.SetDefault(was)
	slog.SetDefault(slog.New(slog.NewTextHandler(writer(func(b []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return out.Write(b)
	}), nil)))
	lines := func() []string {
		mu.Lock()
		defer mu.Unlock()
		defer out.Reset()
		return strings.Split(strings.TrimSpace(out.String()), "\n")
	}
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{Model: storetest.NewModel(nil), take: func([]halt.Charge) error {
			return errors.New("dial tcp 10.0.0.7:6379: key user:secret refused")
		}}
		l := halt.New(s, nil)
		for i := range 25 { // 2.5 s apart, so one in four is logged
			call := halt.Call{Charges: []halt.Charge{perMinute.Charge("user:secret", 1)}, FailOpen: i >= 12}
			if err := l.Do(t.Context(), &call); err == nil {
				t.Fatal("no error")
			}
			time.Sleep(2500 * time.Millisecond) //nolint:forbidigo // in a bubble, where it takes no time
		}
		got := lines()
		if len(got) != 7 {
			t.Fatalf("%d lines of 25 failures in a minute: %q", len(got), got)
		}
		for i, line := range got {
			want := []string{"level=WARN", `msg="halt: decision failed"`, "store=model", "error=store", fmt.Sprint("failed_open=", i >= 3), fmt.Sprint("suppressed=", min(i, 1)*3)}
			for _, w := range want {
				if !strings.Contains(line, w) {
					t.Errorf("line %d has no %s: %s", i, w, line)
				}
			}
			if strings.Contains(line, "secret") || strings.Contains(line, "10.0.0.7") {
				t.Errorf("the line tells internals: %s", line)
			}
		}
		time.Sleep(time.Minute) //nolint:forbidigo // in a bubble, where it takes no time
		late, cancel := context.WithTimeout(t.Context(), 0)
		defer cancel()
		call := halt.Call{Charges: []halt.Charge{perMinute.Charge("k", 1)}, FailOpen: true}
		if err := l.Do(late, &call); err == nil {
			t.Fatal("no error")
		}
		if got := lines(); len(got) != 1 || !strings.Contains(got[0], "failed_open=false") {
			t.Errorf("the caller's own time is up: %q", got)
		}
		observed := halt.New(s, &halt.Options{Observers: []halt.Observer{silent{}}})
		if _, err := observed.Allow(t.Context(), perMinute, "k"); err == nil {
			t.Fatal("no error")
		}
		if _, err := l.Allow(t.Context(), perMinute, ""); err == nil {
			t.Fatal("no error")
		}
		if got := lines(); got[0] != "" {
			t.Errorf("logged although observed, or although it is the caller's mistake: %q", got)
		}
	})
}

type writer func(b []byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }
