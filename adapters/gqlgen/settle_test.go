package haltgqlgen_test

import (
	"context"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/handler/transport"

	haltgqlgen "github.com/halt-dev/halt/adapters/gqlgen"
	"github.com/halt-dev/halt/adapters/gqlgen/internal/testapi"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

// TestSettleResolved: what was resolved replaces the estimate, each element of a list counted, below it and above.
func TestSettleResolved(t *testing.T) {
	for query, want := range map[string]int64{
		`{need}`:                       1,
		`{users(first: 20) {id name}}`: 41, // the estimate is 3
		`{users(first: 0) {id name friends {id}}}`:      1, // the estimate is 5
		`{node(id: 1) {... on Post {title}}}`:           1,
		`{a: users(first: 3) {friends(first: 4) {id}}}`: 16,
	} {
		p := policy("points", 1000)
		s := newSite(t, haltgqlgen.Config{Cost: true, Rules: []haltgqlgen.Rule{{
			Policy: p, Key: haltgqlgen.Everyone(), Cost: haltgqlgen.Complexity, Settle: haltgqlgen.Resolved,
		}}})
		a := s.do(t, query, nil)
		if n := s.spent(t, p, everyone); n != want || a.Extensions["cost"].(map[string]any)["resolved"] != float64(want) {
			t.Errorf("%s: spent %d, want %d: %s", query, n, want, a.Body)
		}
	}
}

// TestChargeOn: only what went wrong in a certain way counts.
func TestChargeOn(t *testing.T) {
	p := policy("failures", 2)
	s := newSite(t, haltgqlgen.Config{Rules: []haltgqlgen.Rule{{
		Policy: p, Key: haltgqlgen.ByIP(), Kinds: haltgqlgen.Mutation, Cost: haltgqlgen.RootFields,
		Settle: haltgqlgen.ChargeOn(testapi.WrongPassword),
	}}})
	const good, bad = `mutation {login(email: "a", password: "correct")}`, `mutation {login(email: "a", password: "x")}`
	for i, c := range []struct {
		query string
		spent int64
	}{{good, 0}, {bad, 1}, {good, 1}, {bad, 2}} {
		if a := s.do(t, c.query, nil); a.refused() != 0 || s.spent(t, p, ip) != c.spent {
			t.Errorf("%d: %d %s", i, s.spent(t, p, ip), a.Body)
		}
	}
	if a := s.do(t, good, nil); a.Status != 429 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}

// TestPanicSettles: a panic outside of resolvers settles as a 500 and goes on.
func TestPanicSettles(t *testing.T) {
	for name, panicking := range map[string]opFunc{
		"before the answer": func(context.Context, graphql.OperationHandler) graphql.ResponseHandler { panic("boom") },
		"in the answer": func(context.Context, graphql.OperationHandler) graphql.ResponseHandler {
			return func(context.Context) *graphql.Response { panic("boom") }
		},
	} {
		t.Run(name, func(t *testing.T) {
			inside, statuses := halt.Policy{Name: "inside", Algorithm: halt.InFlight, Limit: 1, Window: time.Minute}, []int(nil)
			s := newSite(t, haltgqlgen.Config{Rules: []haltgqlgen.Rule{
				{Policy: inside, Key: haltgqlgen.Everyone()},
				{Policy: policy("api", 10), Key: haltgqlgen.Everyone(), Settle: func(_ *haltgqlgen.Operation, o haltgqlgen.Outcome) int64 {
					statuses = append(statuses, o.Status)
					return 1
				}},
			}})
			s.srv.SetRecoverFunc(func(context.Context, any) error { return nil })
			s.srv.Use(panicking)
			w := catch(s, request(t, `{need}`, nil))
			if w == nil || len(statuses) != 1 || statuses[0] != 500 || s.spent(t, inside, everyone) != 0 {
				t.Errorf("%v, %v, %d inside", w, statuses, s.spent(t, inside, everyone))
			}
		})
	}
}

// TestResolverPanic: that is an error of the answer, and settles as that.
func TestResolverPanic(t *testing.T) {
	var outcome haltgqlgen.Outcome
	s := newSite(t, haltgqlgen.Config{Rules: []haltgqlgen.Rule{{
		Policy: policy("api", 10), Key: haltgqlgen.Everyone(),
		Settle: func(_ *haltgqlgen.Operation, o haltgqlgen.Outcome) int64 {
			outcome = o
			return 1
		},
	}}})
	s.srv.SetRecoverFunc(func(context.Context, any) error { return context.Canceled })
	if a := s.do(t, `{boom need}`, nil); a.Status != 200 || len(a.Errors) != 1 || outcome.Status != 200 || outcome.Err == nil {
		t.Errorf("%s %+v", a.Body, outcome)
	}
}

// TestDeferIsSettled: with @defer over multipart/mixed the last answer settles; over POST, which reads only the first, the
// request's end does.
func TestDeferIsSettled(t *testing.T) {
	for name, accept := range map[string]string{"all answers": "multipart/mixed", "the first": ""} {
		t.Run(name, func(t *testing.T) {
			p := halt.Policy{Name: "inside", Algorithm: halt.InFlight, Limit: 1, Window: time.Minute}
			settled := make(chan struct{}, 1)
			l := halt.New(memory.New(nil), &halt.Options{Observers: []halt.Observer{observer(func(e *halt.Event) {
				if e.Charges[0].Mode == halt.Credit {
					settled <- struct{}{}
				}
			})}})
			s := newSiteOn(t, l, haltgqlgen.Config{Rules: []haltgqlgen.Rule{{Policy: p, Key: haltgqlgen.Everyone()}}})
			if accept == "" {
				s.srv = rebuilt(t, s, transport.POST{})
				s.srv.Use(haltgqlgen.Operations(l, withPolicies(t, haltgqlgen.Config{Rules: []haltgqlgen.Rule{{Policy: p, Key: haltgqlgen.Everyone()}}})))
				s.handler = haltgqlgen.Handler(s.srv)
			}
			ctx, end := context.WithCancel(t.Context())
			r := request(t, `{user(id: 1) {id ... @defer {posts {id}}}}`, nil).WithContext(ctx)
			r.Header.Set("Accept", accept)
			if a := s.send(t, r); a.Status != 200 {
				t.Errorf("%d %s", a.Status, a.Body)
			}
			end()
			<-settled
			if n := s.spent(t, p, everyone); n != 0 {
				t.Errorf("%d inside", n)
			}
		})
	}
}
