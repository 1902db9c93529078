package adaptertest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
	"github.com/halt-dev/halt/core/httpkit"
	"github.com/halt-dev/halt/core/storetest"
)

// began is when the clock of a trace starts: two days before February, on a Friday.
var began = time.Date(2026, time.January, 30, 0, 0, 0, 0, time.UTC)

// secret is in every error and panic that a site's functions, store and handlers come up with. It must not get out.
const secret = "SECRET"

// world is a site under test with all that is around it. Each check has one of its own.
type world[R, M, H any] struct {
	Harness[R, M, H]
	tb       testing.TB
	patience time.Duration // for what must happen soon
	clock    *storetest.Clock
	store    *spy
	limiter  *halt.Limiter
	site     Site[R, M]

	mu    sync.Mutex
	told  []string // what OnError was told, until it is asked for
	gates map[string]*gate
}

func newWorld[R, M, H any](tb testing.TB, h Harness[R, M, H], patience time.Duration) *world[R, M, H] {
	w := &world[R, M, H]{Harness: h, tb: tb, patience: patience, clock: storetest.NewClock(began), gates: map[string]*gate{}}
	w.store = newSpy(storetest.NewModel(w.clock.Now))
	w.limiter = halt.New(w.store, &halt.Options{Observers: []halt.Observer{w.store}})
	w.site.NotFound = func(R) Reply { return ErrorReply(http.StatusNotFound) }
	return w
}

// open serves the site and returns a client of it.
func (w *world[R, M, H]) open() *client {
	w.tb.Helper()
	return newClient(w.Serve(w.tb, w.site), w.patience)
}

// route adds a route whose handler is w.handle.
func (w *world[R, M, H]) route(method, path string, ms ...M) {
	w.routeTo(w.handle, method, path, ms...)
}

func (w *world[R, M, H]) routeTo(handle func(R) Reply, method, path string, ms ...M) {
	w.site.Routes = append(w.site.Routes, Route[R, M]{Method: method, Path: path, Middlewares: ms, Handle: handle})
}

// middleware makes a middleware whose OnError is recorded.
func (w *world[R, M, H]) middleware(c httpkit.Config[R, H]) M {
	c.OnError = func(_ R, err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.told = append(w.told, err.Error())
	}
	return w.Middleware(w.limiter, c)
}

// rules makes a middleware of these rules and nothing else.
func (w *world[R, M, H]) rules(rs ...guard.Rule[R]) M {
	return w.middleware(httpkit.Config[R, H]{Rules: rs})
}

func (w *world[R, M, H]) heard() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	told := w.told
	w.told = nil
	return told
}

// handle is the handler of most routes. The request says what it does: X-Hold makes it wait at the gate of that name,
// X-Panic panic, X-Fail return an error of that status, X-Reply answer with that status, and X-Silent write nothing.
func (w *world[R, M, H]) handle(r R) Reply {
	if name := w.Header(r, "X-Hold"); name != "" {
		w.gate(name).pass(w.patience)
	}
	if w.Header(r, "X-Panic") != "" {
		panic(secret + " of a handler")
	}
	if s := w.Header(r, "X-Fail"); s != "" {
		return ErrorReply(int(number(s)))
	}
	if s := w.Header(r, "X-Reply"); s != "" {
		return Text(int(number(s)), "as you like it\n")
	}
	if w.Header(r, "X-Silent") != "" {
		return Reply{}
	}
	return Text(http.StatusOK, "ok\n")
}

// verdict is a handler that answers with what it knows of the decisions.
func (w *world[R, M, H]) verdict(r R) Reply {
	var b strings.Builder
	v := w.Verdict(r)
	for i, c := range v.Charges {
		d := v.Decisions[i]
		fmt.Fprintf(&b, "%s of %s: %s %d, allowed %t, %d remaining\n", c.Policy.Name, c.Key, c.Mode, c.Cost, d.Allowed, d.Remaining)
	}
	if b.Len() == 0 {
		b.WriteString("no verdict\n")
	}
	return Text(http.StatusOK, b.String())
}

// costOf returns a Cost that a field of the request tells; without it the rule doesn't apply.
func (w *world[R, M, H]) costOf(field string) func(R) int64 {
	return func(r R) int64 { return number(w.Header(r, field)) }
}

func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil && s != "" {
		panic(err)
	}
	return n
}

// plan is a Resolve: the plan that X-Plan names, or what the plan's trouble is.
func (w *world[R, M, H]) plan(ctx context.Context, r R) (halt.Policy, error) {
	p := halt.Policy{Name: "plan", Limit: 2, Window: time.Minute}
	switch plan := w.Header(r, "X-Plan"); plan {
	case "free":
		p.Plan = "free"
	case "pro":
		p.Plan, p.Limit = "pro", 4
	case "internal":
		p.Plan, p.Limit = "internal", halt.Unlimited
	case "typo": // no Limit, and no Window: not a policy
		return halt.Policy{Name: "plan"}, nil
	case "none":
		return halt.Policy{}, nil
	case "slow":
		<-ctx.Done()
		return halt.Policy{}, fmt.Errorf("%s database: %w", secret, ctx.Err())
	case "panic":
		panic(secret + " of a resolver")
	default:
		return halt.Policy{}, errors.New(secret + " database is down")
	}
	return p, nil
}

// gate holds a handler until it is opened.
type gate struct{ entered, opened chan struct{} }

// gate returns the gate of that name.
func (w *world[R, M, H]) gate(name string) *gate {
	w.mu.Lock()
	defer w.mu.Unlock()
	g, ok := w.gates[name]
	if !ok {
		g = &gate{entered: make(chan struct{}), opened: make(chan struct{})}
		w.gates[strings.Clone(name)] = g
	}
	return g
}

func (g *gate) pass(patience time.Duration) {
	close(g.entered)
	select {
	case <-g.opened:
	case <-time.After(patience):
	}
}
