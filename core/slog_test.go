package halt_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

// lines returns a logger and a function that returns what it has logged since the last time.
func lines(t *testing.T) (*slog.Logger, func() []map[string]any) {
	t.Helper()
	var out bytes.Buffer
	return slog.New(slog.NewJSONHandler(&out, nil)), func() (ls []map[string]any) {
		for d := json.NewDecoder(&out); d.More(); {
			var l map[string]any
			if err := d.Decode(&l); err != nil {
				t.Fatal(err)
			}
			ls = append(ls, l)
		}
		out.Reset()
		return ls
	}
}

func observed(store halt.Store, o halt.Observer) *halt.Limiter {
	return halt.New(store, &halt.Options{Observers: []halt.Observer{o}})
}

func allow(t *testing.T, l *halt.Limiter, p halt.Policy, times int) {
	t.Helper()
	for range times {
		if _, err := l.Allow(t.Context(), p, "secret-key"); err != nil {
			t.Fatal(err)
		}
	}
}

//nolint:forbidigo // the bubble's clock
func TestLogObserverRationsPerPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, logged := lines(t)
		l := observed(memory.New(nil), halt.NewLogObserver(logger, nil))
		a := halt.Policy{Name: "a", Plan: "free", Limit: 1, Window: time.Hour}
		b := halt.Policy{Name: "b", Limit: 2, Window: time.Hour}
		allow(t, l, a, 11)
		allow(t, l, b, 3)
		got := logged()
		if len(got) != 2 || got[0]["policy"] != "a" || got[1]["policy"] != "b" {
			t.Fatalf("want a line for a and one for b, got %v", got)
		}
		if line := got[0]; line["msg"] != "halt: refused" || line["level"] != "INFO" || line["plan"] != "free" ||
			line["cost"] != 1.0 || line["limit"] != 1.0 || line["blocked"] != false || line["suppressed"] != 0.0 ||
			line["retry_after"] != float64(time.Hour) {
			t.Errorf("a's line is %v", line)
		}
		time.Sleep(10*time.Second - time.Millisecond)
		allow(t, l, a, 1)
		if got := logged(); len(got) != 0 {
			t.Errorf("too early: %v", got)
		}
		time.Sleep(time.Millisecond)
		allow(t, l, a, 1)
		if got := logged(); len(got) != 1 || got[0]["suppressed"] != 10.0 {
			t.Errorf("want a line that tells of 10 others, got %v", got)
		}
	})
}

func TestLogObserverNeverTellsKeys(t *testing.T) {
	p := halt.Policy{Name: "p", Limit: 1, Window: time.Hour}
	hashes := map[any]bool{}
	for _, test := range []struct {
		o      *halt.LogOptions
		hashed bool
	}{
		{nil, false},
		{&halt.LogOptions{HashKeys: true}, true},
		{&halt.LogOptions{HashKeys: true, Secret: []byte("s")}, true},
		{&halt.LogOptions{HashKeys: true, Secret: []byte("s")}, true},
	} {
		logger, logged := lines(t)
		allow(t, observed(memory.New(nil), halt.NewLogObserver(logger, test.o)), p, 2)
		got := logged()
		if len(got) != 1 {
			t.Fatalf("got %v", got)
		}
		if strings.Contains(fmt.Sprint(got), "secret-key") {
			t.Errorf("it tells the key: %v", got)
		}
		hash, hashed := got[0]["key_hash"]
		if hashed != test.hashed || hashed && len(hash.(string)) != 16 {
			t.Errorf("%+v: key_hash %v", test.o, hash)
		}
		if hashed {
			hashes[hash] = true
		}
	}
	if len(hashes) != 2 {
		t.Errorf("equal secrets must give equal hashes and no secret another, got %v", hashes)
	}
}

func TestLogObserverShadowsBlocksAndRoutes(t *testing.T) {
	logger, logged := lines(t)
	l := observed(memory.New(nil), halt.NewLogObserver(logger, &halt.LogOptions{Every: 1, Level: slog.LevelWarn}))
	p := halt.Policy{Name: "p", Limit: 1, Window: time.Hour, Block: time.Minute}
	c := halt.Call{Charges: []halt.Charge{p.Charge("k", 1), p.Charge("k", 1)}, Route: "GET /x"}
	c.Charges[1].Mode = halt.Shadow
	for range 3 {
		if err := l.Do(t.Context(), &c); err != nil {
			t.Fatal(err)
		}
	}
	got := logged()
	if len(got) != 4 {
		t.Fatalf("want two refusals of two each, got %v", got)
	}
	for i, want := range []string{"halt: refused", "halt: would refuse", "halt: refused", "halt: would refuse"} {
		if got[i]["msg"] != want || got[i]["route"] != "GET /x" || got[i]["level"] != "WARN" {
			t.Errorf("line %d: %v", i, got[i])
		}
	}
	if got[2]["blocked"] != true {
		t.Errorf("it is blocked: %v", got[2])
	}
	if _, err := l.AllowN(t.Context(), p, "other", 2); err != nil {
		t.Fatal(err)
	}
	if got := logged(); len(got) != 1 || got[0]["retry_after"] != nil {
		t.Errorf("waiting does not help, so no retry_after: %v", got)
	}
}

// failing is a store that fails, with a text that must not be told.
type failing struct{}

func (failing) Name() string { return "failing" }
func (failing) Take(context.Context, []halt.Charge, []halt.Decision) error {
	return errors.New("password=hunter2")
}
func (failing) Reset(context.Context, halt.Policy, string) error { return nil }

// deserted is a store whose callers leave.
type deserted struct{ failing }

func (deserted) Take(ctx context.Context, _ []halt.Charge, _ []halt.Decision) error { return ctx.Err() }

func TestLogObserverFailures(t *testing.T) {
	logger, logged := lines(t)
	l := observed(failing{}, halt.NewLogObserver(logger, nil))
	p := halt.Policy{Name: "p", Limit: 1, Window: time.Hour}
	for range 3 {
		c := halt.Call{Charges: []halt.Charge{p.Charge("secret-key", 1)}, Route: "GET /x", FailOpen: true}
		if err := l.Do(t.Context(), &c); !errors.Is(err, halt.ErrStore) {
			t.Fatal(err)
		}
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	other, loggedOther := lines(t)
	if _, err := observed(deserted{}, halt.NewLogObserver(other, nil)).Allow(gone, p, "k"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if got := loggedOther(); len(got) != 0 {
		t.Errorf("the caller left, and that is no failure: %v", got)
	}
	got := logged()
	if len(got) != 1 {
		t.Fatalf("want one line, got %v", got)
	}
	line := got[0]
	if line["msg"] != "halt: decision failed" || line["level"] != "WARN" || line["store"] != "failing" || line["error"] != "store" ||
		line["failed_open"] != true || line["route"] != "GET /x" {
		t.Errorf("got %v", line)
	}
	if all := fmt.Sprint(line); strings.Contains(all, "hunter2") || strings.Contains(all, "secret-key") {
		t.Errorf("it tells too much: %v", line)
	}
}

// Names that come from outside can't fill the memory: those beyond the bound share their lines.
func TestLogObserverBounded(t *testing.T) {
	logger, logged := lines(t)
	l := observed(memory.New(nil), halt.NewLogObserver(logger, &halt.LogOptions{Every: time.Hour}))
	for i := range 1100 {
		allow(t, l, halt.Policy{Name: fmt.Sprint("p", i), Limit: 1, Window: time.Hour}, 2)
	}
	if got := len(logged()); got != 1001 {
		t.Errorf("%d lines, want one for each of 1000 policies and one for the others", got)
	}
}

func TestNewLogObserverPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a negative Every passes")
		}
	}()
	halt.NewLogObserver(nil, &halt.LogOptions{Every: -1})
}

func ExampleNewLogObserver() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
	limiter := halt.New(memory.New(nil), &halt.Options{
		Observers: []halt.Observer{halt.NewLogObserver(logger, nil)},
	})

	logins := halt.Policy{Name: "logins", Limit: 2, Window: time.Minute, Algorithm: halt.SlidingWindow, Block: 5 * time.Minute}
	for range 5 {
		d, err := limiter.Allow(context.Background(), logins, "user:42")
		if err != nil {
			fmt.Println(err)
		}
		fmt.Println(d.Allowed)
	}
	// Output:
	// true
	// true
	// level=INFO msg="halt: refused" policy=logins cost=1 limit=2 blocked=true retry_after=5m0s suppressed=0
	// false
	// false
	// false
}

func TestLogObserverPassesOverInternalCalls(t *testing.T) {
	logger, logged := lines(t)
	l := observed(memory.New(nil), halt.NewLogObserver(logger, nil))
	p := halt.Policy{Name: "p", Limit: 1, Window: time.Hour}
	c := halt.Call{Charges: []halt.Charge{p.Charge("k", 1)}, Internal: true}
	for range 2 {
		if err := l.Do(t.Context(), &c); err != nil {
			t.Fatal(err)
		}
	}
	if got := logged(); len(got) != 0 {
		t.Errorf("a refusal that nobody was told was logged: %v", got)
	}
}
