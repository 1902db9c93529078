package guard_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
)

// twin is a world whose guards write down all that can be seen of a request from outside. One of the two makes a new guard
// for each request; nothing else tells them apart.
type twin struct {
	*world
	config guard.Config[*request]
	reused *guard.Guard[*request]
	out    strings.Builder
}

// A pass that served others decides as one that served nobody, whatever the requests before were: refused, without a key, of
// a rule that failed or panicked, of policies that met on one budget, of a store that was down.
func TestPassesForgetRequests(t *testing.T) {
	for _, closed := range []bool{false, true} {
		seed := uint64(time.Now().UnixNano())
		t.Run(fmt.Sprintf("closed %v, seed %d", closed, seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, seed))
			used, fresh := newTwin(t, closed), newTwin(t, closed)
			used.reused = used.guard(used.config)
			for n := range 2000 {
				req := oddRequest(r)
				down := r.IntN(12) == 0
				for _, w := range []*twin{used, fresh} {
					w.out.Reset()
					w.serve(*req, down)
				}
				if a, b := used.out.String(), fresh.out.String(); a != b {
					t.Fatalf("request %d, %+v:\n%s\na new guard:\n%s", n, req, a, b)
				}
				d := time.Duration(r.IntN(5000)) * time.Millisecond
				used.clock.Advance(d)
				fresh.clock.Advance(d)
			}
		})
	}
}

// oddRequest returns a request that some rules apply to: the bits of its cost tell which, its route what goes wrong.
func oddRequest(r *rand.Rand) *request {
	req := &request{cost: int64(r.IntN(1 << 10)), status: 200 + r.IntN(2)*201, route: "/" + fmt.Sprint(r.IntN(3))}
	switch r.IntN(6) {
	case 0, 1, 2:
		req.cost = 1 << r.IntN(10) // one rule
	case 3:
		req.cost &= int64(r.IntN(1 << 10)) // fewer
	}
	if r.IntN(4) == 0 {
		req.route = []string{"cost panics", "cost below 0", "key panics", "resolve panics", "resolve fails", "settle panics", "route panics", "exempt"}[r.IntN(8)]
	}
	for _, s := range []*string{&req.user, &req.account} {
		if r.IntN(6) > 0 {
			*s = strings.Repeat(string(rune('a'+r.IntN(3))), 1+r.IntN(2)*r.IntN(40))
		}
	}
	return req
}

func newTwin(t *testing.T, closed bool) *twin {
	t.Helper()
	w := &twin{world: newWorld(t)}
	w.limiter = halt.New(w.store, &halt.Options{Observers: []halt.Observer{w}})
	panics := func(r *request, what string) {
		if r.route == what+" panics" {
			panic(what)
		}
	}
	applies := func(bit int) func(*request) int64 {
		return func(r *request) int64 {
			n := r.cost >> bit & 1
			if n > 0 && r.route == "cost below 0" {
				return -1
			}
			if n > 0 {
				panics(r, "cost")
			}
			return n * int64(1+len(r.account)%3)
		}
	}
	user := guard.By("user", func(r *request) string {
		panics(r, "key")
		return r.user
	})
	account := guard.By("account", func(r *request) string { return r.account })
	settle := func(r *request, o guard.Outcome) int64 {
		panics(r, "settle")
		return guard.ChargeOn[*request](401)(r, o)
	}
	blocking := fixed("blocking", 4)
	blocking.Block = 30 * time.Second
	bucket := halt.Policy{Name: "b", Limit: 3, Window: 10 * time.Second}
	leaky := halt.Policy{Name: "leaky", Limit: 600, Window: time.Minute, Algorithm: halt.LeakyBucket}
	found := func(ps ...halt.Policy) resolver { // by the user
		return func(_ context.Context, r *request) (halt.Policy, error) {
			panics(r, "resolve")
			if r.route == "resolve fails" {
				return halt.Policy{Name: "half"}, errors.New("no database")
			}
			return ps[len(r.user)%len(ps)], nil
		}
	}
	labelled, larger := bucket, bucket
	labelled.Plan, larger.Limit = "pro", 5
	w.config = guard.Config[*request]{
		Attach: true, FailClosed: closed, OnError: w.failed,
		Exempt: func(r *request) bool { return r.route == "exempt" },
		Route: func(r *request) string {
			panics(r, "route")
			return r.route
		},
		Rules: []guard.Rule[*request]{
			{Policy: fixed("all", 1000), Key: guard.Everyone[*request](), Cost: applies(0)}, // taken last
			{Policy: bucket, Key: user, Cost: applies(1)},
			{Policy: bucket, Key: account, Cost: applies(2), Shadow: true},
			{Policy: blocking, Key: user, Cost: applies(3), Settle: settle},
			{Policy: blocking, Key: user, Cost: applies(4)},
			// These may meet the first of "b": with an equal policy, with an unequal one, on another budget, on none.
			{Key: user, Cost: applies(5), Resolve: found(bucket, larger, labelled, halt.Policy{Name: "b", Limit: halt.Unlimited}, fixed("b", 2))},
			{Key: user.Or(account), Cost: applies(6), Resolve: found(inFlight(2), blocking, halt.Policy{}, larger), Settle: settle},
			{Policy: bucket, Key: user.Or(account), Cost: applies(7)},
			{Policy: inFlight(3), Key: account.And(user), Cost: applies(8)},
			{Policy: leaky, Key: account, Cost: applies(9)},
		},
	}
	return w
}

// serve writes down what becomes of a request. It has left its pass when it returns.
func (w *twin) serve(r request, down bool) {
	g := w.reused
	if g == nil {
		g = w.guard(w.config)
	}
	w.store.failWith(nil)
	if down {
		w.store.failWith(errors.New("down"))
	}
	p := g.Enter(w.t.Context(), &r)
	if p == nil {
		w.note("exempt")
		return
	}
	d, denied := p.Denied()
	w.note("%+v %v %v", d, denied, p.Admitted())
	w.note("%+v %v", p.Verdict(), p.Delay())
	kept := guard.VerdictOf(p.Context())
	before := fmt.Sprintf("%+v", kept)
	w.note("%s", before)
	w.store.failWith(nil)
	p.Leave(guard.Outcome{Status: r.status})
	if after := fmt.Sprintf("%+v", kept); after != before {
		w.t.Errorf("%+v reads %s, and then %s", r, before, after)
	}
	w.note("%+v", w.store.taken())
}

func (w *twin) note(format string, a ...any) { fmt.Fprintf(&w.out, format+"\n", a...) }

func (w *twin) failed(r *request, err error) { w.note("failed: %s %s %v", r.user, r.route, err) }

// Start and End write down what is observed.
func (w *twin) Start(ctx context.Context, e *halt.Event) context.Context {
	w.note("start %s %v %+v %+v", e.Route, e.Internal, e.Charges, slices.Clone(e.Decisions))
	return ctx
}

func (w *twin) End(_ context.Context, e *halt.Event) {
	w.note("end %s %v %v %v %+v", e.Route, e.Internal, e.FailedOpen, e.Err, e.Charges)
	if e.Err == nil {
		w.note("%+v", e.Decisions)
	}
}
