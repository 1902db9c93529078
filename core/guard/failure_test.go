package guard_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // the failures here are meant
	os.Exit(m.Run())
}

func TestFailingStore(t *testing.T) {
	cause := errors.New("dial tcp 10.0.0.7:6379: secret")
	for _, test := range []struct {
		name string
		err  error
		want error
	}{
		{"any error", cause, halt.ErrStore},
		{"deadline", context.DeadlineExceeded, halt.ErrDeadline},
		{"contention", halt.ErrContention, halt.ErrContention},
		{"corrupt", &halt.StoreError{Kind: halt.ErrCorrupt, Cause: cause}, halt.ErrCorrupt},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, closed := range []bool{false, true} {
				w := newWorld(t)
				asked := 0
				g := w.guard(guard.Config[*request]{
					FailClosed: closed, Attach: true,
					Rules: []guard.Rule[*request]{
						{Policy: fixed("api", 1), Key: byUser(), Settle: func(*request, guard.Outcome) int64 { asked++; return 0 }},
						{Policy: inFlight(1), Key: byUser()},
					},
				})
				w.store.failWith(test.err)
				if closed {
					if d := w.deny(g, success, guard.Unavailable); d.Status() != 503 || d.RetrySeconds() != 0 || d.Policy != (halt.Policy{}) {
						t.Errorf("denied with %+v", d)
					}
				} else {
					for range 3 {
						_, ran := serve(t.Context(), g, success, func(ctx context.Context) {
							if v := guard.VerdictOf(ctx); len(v.Charges)+len(v.Decisions) != 0 {
								t.Errorf("the verdict is %+v though nothing was decided", v)
							}
						})
						if !ran {
							t.Fatal("denied")
						}
					}
				}
				for _, err := range w.told() {
					if !errors.Is(err, test.want) || !errors.Is(err, test.err) {
						t.Errorf("OnError was told %v, want %v", err, test.want)
					}
				}
				if asked != 0 {
					t.Error("Settle was asked though it is unknown whether anything was reserved")
				}
				w.store.failWith(nil)
				w.admit(g, success, success)
				w.quiet()
			}
		})
	}
}

func TestOnErrorThatPanics(t *testing.T) {
	w := newWorld(t)
	c := guard.Config[*request]{
		OnError: func(*request, error) { panic("observer") },
		Exempt:  func(*request) bool { panic("exempt") },
		Route:   func(*request) string { panic("route") },
		Rules: []guard.Rule[*request]{
			{Key: byUser(), Resolve: func(context.Context, *request) (halt.Policy, error) { panic("resolve") }},
			{Policy: fixed("api", 1), Key: byUser(), Settle: func(*request, guard.Outcome) int64 { panic("settle") }},
		},
	}
	g := w.guard(c)
	w.admit(g, success)
	w.deny(g, success, guard.QuotaExceeded)
	w.store.failWith(errors.New("down"))
	w.admit(g, success)
}

func TestExemptThatPanicsExemptsNobody(t *testing.T) {
	for _, closed := range []bool{false, true} {
		w := newWorld(t)
		g := w.guard(guard.Config[*request]{
			FailClosed: closed,
			Exempt:     func(*request) bool { panic("exempt") },
			Rules:      []guard.Rule[*request]{{Policy: fixed("api", 1), Key: byUser()}},
		})
		w.admit(g, success)
		if told := w.told(); len(told) != 1 || !errors.Is(told[0], guard.ErrPanic) {
			t.Errorf("OnError was told %v", told)
		}
		w.deny(g, success, guard.QuotaExceeded)
	}
}

// routes keeps the routes of the events.
type routes struct{ seen []string }

func (*routes) Start(ctx context.Context, _ *halt.Event) context.Context { return ctx }
func (o *routes) End(_ context.Context, e *halt.Event)                   { o.seen = append(o.seen, e.Route) }

func TestRouteReachesObservers(t *testing.T) {
	w := newWorld(t)
	o := new(routes)
	w.limiter = halt.New(w.store, &halt.Options{Observers: []halt.Observer{o}})
	g := w.guard(guard.Config[*request]{
		Route: func(r *request) string {
			if r.route == "" {
				panic("route")
			}
			return r.route
		},
		Rules: []guard.Rule[*request]{{Policy: fixed("api", 10), Key: byUser(), Settle: keeps(0)}},
	})
	w.admit(g, &request{user: "ann", route: "/items/{id}"})
	w.quiet()
	w.admit(g, &request{user: "ann"}) // no route of the request before either
	if told := w.told(); len(told) != 1 || !errors.Is(told[0], guard.ErrPanic) {
		t.Errorf("OnError was told %v", told)
	}
	if got := strings.Join(o.seen, ","); got != "/items/{id},/items/{id},," {
		t.Errorf("events have the routes %q", got)
	}
}

// Without OnError a failing rule is not silent: one line in ten seconds, without what could be a secret or a key.
func TestFailingRuleIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		defer slog.SetDefault(slog.Default()) // what it is now
		slog.SetDefault(slog.New(slog.NewTextHandler(&out, nil)))
		w := newWorld(t)
		g, err := guard.New(w.limiter, guard.Config[*request]{Rules: []guard.Rule[*request]{
			{Policy: fixed("api", 10), Key: byUser(), Cost: func(*request) int64 { panic("secret") }},
			{Policy: fixed("watched", 10), Key: guard.By("account", func(r *request) string { return r.account }), Shadow: true},
		}})
		if err != nil {
			t.Fatal(err)
		}
		for range 4 {
			w.admit(g, success)
			time.Sleep(4 * time.Second) //nolint:forbidigo // the bubble's clock
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 2 {
			t.Fatalf("logged:\n%s\nwant two lines", out.String())
		}
		for _, want := range []string{"error=panic", "failed_open=true", "rule=0", "policy=api", "suppressed=2"} {
			if !strings.Contains(lines[1], want) {
				t.Errorf("%q lacks %s", lines[1], want)
			}
		}
		if strings.Contains(out.String(), "secret") {
			t.Error("the log tells what it panicked with")
		}
	})
}

// The log tells the kinds of failure apart.
func TestLoggedKinds(t *testing.T) {
	for want, r := range map[string]guard.Rule[*request]{
		"error=negative_cost":  {Policy: fixed("api", 10), Key: byUser(), Cost: costs(-1)},
		"error=panic":          {Policy: fixed("api", 10), Key: guard.By("user", func(*request) string { panic(1) })},
		"error=invalid_policy": {Resolve: resolves(halt.Policy{}), Key: byUser()},
		"error=same_budget":    {Resolve: resolves(fixed("other", 1)), Key: byUser()},
	} {
		var out bytes.Buffer
		before := slog.Default()
		slog.SetDefault(slog.New(slog.NewTextHandler(&out, nil)))
		w := newWorld(t)
		g, err := guard.New(w.limiter, guard.Config[*request]{FailClosed: true, Rules: []guard.Rule[*request]{{Policy: fixed("other", 5), Key: byUser()}, r}})
		if err != nil {
			t.Fatal(err)
		}
		w.deny(g, success, guard.Unavailable)
		slog.SetDefault(before)
		for _, part := range []string{want, "rule=1", "failed_open=false"} {
			if !strings.Contains(out.String(), part) {
				t.Errorf("logged %q, which lacks %s", out.String(), part)
			}
		}
	}
}

func TestRuleErrorText(t *testing.T) {
	cause := errors.New("no database")
	for want, err := range map[string]*guard.RuleError{
		"halt: Rules[2] api: no database": {Rule: 2, Policy: "api", Err: cause},
		"halt: Rules[0]: no database":     {Err: cause},
	} {
		if err.Error() != want || !errors.Is(err, cause) {
			t.Errorf("%q, want %q", err.Error(), want)
		}
	}
}
