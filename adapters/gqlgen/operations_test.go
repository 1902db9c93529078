package haltgqlgen_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"

	haltgqlgen "github.com/halt-dev/halt/adapters/gqlgen"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
)

// TestRefusedOperation: nothing is executed, nothing is spent, and the answer is a GraphQL error with 429 and the header
// fields that every adapter has.
func TestRefusedOperation(t *testing.T) {
	per, total := policy("per-ip", 1), policy("total", 10)
	s := newSite(t, haltgqlgen.Config{Rules: []haltgqlgen.Rule{
		{Policy: per, Key: haltgqlgen.ByIP()},
		{Policy: total, Key: haltgqlgen.Everyone()},
	}})
	a := s.do(t, `{need}`, nil)
	if a.Status != 200 || a.Header.Get("RateLimit-Policy") != `"per-ip";q=1;w=3600, "total";q=10;w=3600` {
		t.Errorf("%d %v", a.Status, a.Header)
	}
	for _, r := range []*http.Request{request(t, `{need}`, nil), get(t, `{need}`)} {
		a = s.send(t, r)
		x := a.Errors[0].Extensions
		if a.Status != 429 || x["code"] != "RATE_LIMITED" || x["policy"] != "per-ip" || x["limit"] != 1.0 || x["remaining"] != 0.0 || x["retryAfter"].(float64) < 1 {
			t.Errorf("%d %s", a.Status, a.Body)
		}
		if a.Header.Get("Retry-After") == "" || !strings.HasPrefix(a.Header.Get("RateLimit"), `"per-ip";r=0;t=`) || a.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%v", a.Header)
		}
	}
	if s.Total() != 1 || s.spent(t, total, everyone) != 1 {
		t.Errorf("%d calls, %d spent", s.Total(), s.spent(t, total, everyone))
	}
}

func get(tb testing.TB, query string) *http.Request {
	tb.Helper()
	r := request(tb, "", nil)
	r.Method, r.URL.RawQuery, r.Body = http.MethodGet, "query="+url.QueryEscape(query), http.NoBody
	return r
}

// TestRulesByKindAndName: a rule applies to the operations that it says.
func TestRulesByKindAndName(t *testing.T) {
	reads, writes, named := policy("reads", 100), policy("writes", 100), policy("named", 100)
	s := newSite(t, haltgqlgen.Config{Rules: []haltgqlgen.Rule{
		{Policy: reads, Key: haltgqlgen.Everyone(), Kinds: haltgqlgen.Query | haltgqlgen.Subscription},
		{Policy: writes, Key: haltgqlgen.Everyone(), Kinds: haltgqlgen.Mutation, Cost: haltgqlgen.RootFields},
		{Policy: named, Key: haltgqlgen.Everyone(), Names: []string{"A", "B"}},
	}})
	for _, q := range []string{`query A {need}`, `query C {need}`, `{need}`, `mutation B {x: ` + login + ` y: ` + login + `}`} {
		if a := s.do(t, q, nil); a.Status != 200 || len(a.Errors) > 0 {
			t.Errorf("%s: %s", q, a.Body)
		}
	}
	if r, w, n := s.spent(t, reads, everyone), s.spent(t, writes, everyone), s.spent(t, named, everyone); r != 3 || w != 2 || n != 2 {
		t.Errorf("reads %d, writes %d, named %d", r, w, n)
	}
}

// TestRootFields: every alias counts, what isn't executed doesn't, and nothing is free.
func TestRootFields(t *testing.T) {
	for query, want := range map[string]int64{
		`{need}`:                            1,
		`{a: need b: need need}`:            3,
		`{need need}`:                       1,
		`{a: need b: need @skip(if: true)}`: 1,
		`{...F ...F} fragment F on Query {a: need b: need}`: 2,
		`{__typename need}`:              1,
		`{__typename}`:                   1,
		`{__schema {types {name}} need}`: 2,
		logins(1000):                     1000,
	} {
		p := policy("roots", 10_000)
		s := newSite(t, haltgqlgen.Config{Rules: []haltgqlgen.Rule{{Policy: p, Key: haltgqlgen.Everyone(), Cost: haltgqlgen.RootFields}}})
		s.do(t, query, nil)
		if n := s.spent(t, p, everyone); n != want {
			t.Errorf("%.60s: %d, want %d", query, n, want)
		}
	}
}

// TestKeys: those of the HTTP request are there in Handler, and without it only headers are.
func TestKeys(t *testing.T) {
	p := policy("api", 100)
	for name, c := range map[string]struct {
		key        haltgqlgen.Key
		want, bare string
	}{
		"ip":      {haltgqlgen.ByIP(), ip, ""},
		"header":  {haltgqlgen.ByHeader("x-tenant"), "header:X-Tenant=t1", "header:X-Tenant=t1"},
		"host":    {haltgqlgen.ByHeader("Host"), "header:Host=example.com", ""},
		"api key": {haltgqlgen.ByAPIKey("X-Tenant"), "apikey:" + sha("t1")[:32], "apikey:" + sha("t1")[:32]},
		"context": {haltgqlgen.By("user", func(op *haltgqlgen.Operation) string { return userOf(op.Context()) }), "user:ann", "user:ann"},
		"name":    {haltgqlgen.By("op", (*haltgqlgen.Operation).Name), "op:Named", "op:Named"},
		"method": {haltgqlgen.By("method", func(op *haltgqlgen.Operation) string {
			if op.Request() == nil {
				return ""
			}
			return op.Request().Method
		}), "method:POST", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, haltgqlgen.Config{Rules: []haltgqlgen.Rule{{Policy: p, Key: c.key}}})
			ask := func() *answer {
				r := request(t, `query Named {need}`, nil)
				r.Header.Set("X-Tenant", "t1")
				return s.send(t, r.WithContext(context.WithValue(r.Context(), userKey{}, "ann")))
			}
			if a := ask(); a.Status != 200 || s.spent(t, p, c.want) != 1 {
				t.Errorf("%d %s", a.Status, a.Body)
			}
			s.handler = s.srv
			a := ask()
			switch {
			case c.bare == "" && (len(a.codes()) != 1 || a.codes()[0] != haltgqlgen.CodeKeyMissing || s.Total() != 1):
				t.Errorf("without Handler: %s", a.Body)
			case c.bare != "" && s.spent(t, p, c.bare) != 2:
				t.Errorf("without Handler: %s", a.Body)
			}
		})
	}
}

type userKey struct{}

func userOf(ctx context.Context) string {
	user, _ := ctx.Value(userKey{}).(string)
	return user
}

// TestMissingKey: 400, and nothing is executed or spent.
func TestMissingKey(t *testing.T) {
	p := policy("api", 100)
	s := newSite(t, haltgqlgen.Config{Rules: []haltgqlgen.Rule{
		{Policy: p, Key: haltgqlgen.Everyone()},
		{Policy: policy("tenant", 1), Key: haltgqlgen.ByHeader("X-Tenant")},
	}})
	a := s.do(t, `{need}`, nil)
	if a.Status != 400 || !slices.Equal(a.codes(), []string{haltgqlgen.CodeKeyMissing}) || s.Total() != 0 || s.spent(t, p, everyone) != 0 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}

// TestIntrospection: it counts as all else, flat, or not at all; but only if nothing else is asked for.
func TestIntrospection(t *testing.T) {
	const pure, mixed = `{__schema {types {name fields {name}}} __typename}`, `{__schema {types {name}} need}`
	for option, want := range map[haltgqlgen.Introspection][2]int64{
		haltgqlgen.IntrospectionCounts: {6, 4},
		haltgqlgen.IntrospectionFlat:   {1, 4},
		haltgqlgen.IntrospectionFree:   {0, 4},
	} {
		for i, query := range []string{pure, mixed} {
			p := policy("points", 1000)
			s := newSite(t, haltgqlgen.Config{
				Introspection: option,
				Rules:         []haltgqlgen.Rule{{Policy: p, Key: haltgqlgen.Everyone(), Cost: haltgqlgen.Complexity}},
			})
			if a := s.do(t, query, nil); a.Status != 200 || len(a.Errors) > 0 {
				t.Fatal(a.Body)
			}
			if n := s.spent(t, p, everyone); n != want[i] {
				t.Errorf("option %d, %s: %d, want %d", option, query, n, want[i])
			}
		}
	}
}

// TestExempt: an exempt operation pays nothing, its limited fields included, and a panic exempts nobody.
func TestExempt(t *testing.T) {
	p, report := policy("api", 10), policy("report", 2)
	var told error
	s := newSite(t, haltgqlgen.Config{
		Rules:    []haltgqlgen.Rule{{Policy: p, Key: haltgqlgen.Everyone()}},
		Policies: registry(t, report),
		Exempt: func(op *haltgqlgen.Operation) bool {
			if op.Name() == "Boom" {
				panic("boom")
			}
			return op.Name() == "Health"
		},
		OnError: func(_ *haltgqlgen.Operation, err error) { told = err },
	})
	for range 3 {
		if a := s.do(t, `query Health {report}`, nil); a.Status != 200 || len(a.Errors) > 0 {
			t.Errorf("%s", a.Body)
		}
	}
	if a := s.do(t, `query Boom {need}`, nil); a.Status != 200 || !errors.Is(told, guard.ErrPanic) {
		t.Errorf("%s, %v", a.Body, told)
	}
	if n := s.spent(t, p, everyone); n != 1 {
		t.Errorf("spent %d", n)
	}
}

// TestOnDenied: the error can be one's own; one that fails isn't an admission.
func TestOnDenied(t *testing.T) {
	for name, c := range map[string]struct {
		f    func(*haltgqlgen.Operation, haltgqlgen.Denial) *gqlerror.Error
		want string
	}{
		"own": {func(op *haltgqlgen.Operation, d haltgqlgen.Denial) *gqlerror.Error {
			return gqlerror.Errorf("%s: %v %s", op.Name(), d.Reason, d.Policy.Name)
		}, "Q: quota exceeded none"},
		"nil":    {func(*haltgqlgen.Operation, haltgqlgen.Denial) *gqlerror.Error { return nil }, "Too many requests."},
		"panics": {func(*haltgqlgen.Operation, haltgqlgen.Denial) *gqlerror.Error { panic("boom") }, "Too many requests."},
	} {
		t.Run(name, func(t *testing.T) {
			p := policy("none", 1)
			s := newSite(t, haltgqlgen.Config{
				Rules:    []haltgqlgen.Rule{{Policy: p, Key: haltgqlgen.Everyone(), Cost: func(*haltgqlgen.Operation) int64 { return 2 }}},
				OnDenied: c.f, OnError: func(*haltgqlgen.Operation, error) {},
			})
			if a := s.do(t, `query Q {need}`, nil); a.Status != 429 || a.Errors[0].Message != c.want || s.Total() != 0 {
				t.Errorf("%d %s", a.Status, a.Body)
			}
		})
	}
}

// TestVerdict: with Attach, resolvers read what the rules decided.
func TestVerdict(t *testing.T) {
	s := newSite(t, haltgqlgen.Config{
		Rules:  []haltgqlgen.Rule{{Policy: policy("api", 5), Key: haltgqlgen.Everyone()}},
		Attach: true,
	})
	var remaining []int64
	s.srv.AroundFields(func(ctx context.Context, next graphql.Resolver) (any, error) {
		d, _ := haltgqlgen.Verdict(ctx).Of("api")
		remaining = append(remaining, d.Remaining)
		return next(ctx)
	})
	s.do(t, `{need}`, nil)
	s.do(t, `{need}`, nil)
	if !slices.Equal(remaining, []int64{4, 3}) {
		t.Errorf("%v", remaining)
	}
}

// TestCostInTheAnswer: extensions.cost, of an answer and of a refusal.
func TestCostInTheAnswer(t *testing.T) {
	points := policy("points", 10)
	s := newSite(t, haltgqlgen.Config{
		Cost:   true,
		Rules:  []haltgqlgen.Rule{{Policy: points, Key: haltgqlgen.Everyone(), Cost: haltgqlgen.Complexity}},
		Fields: haltgqlgen.Fields{"Query.need": {Policy: policy("needs", 7), Key: haltgqlgen.Everyone()}},
	})
	a := s.do(t, `{a: need b: need user(id: 1) {id name}}`, nil)
	cost := a.Extensions["cost"].(map[string]any)
	if cost["requested"] != 5.0 {
		t.Errorf("%v", cost)
	}
	for policy, want := range map[string][3]float64{"points": {5, 10, 5}, "needs": {2, 7, 5}} {
		f := cost["policy"].(map[string]any)[policy].(map[string]any)
		if got := [3]float64{f["cost"].(float64), f["limit"].(float64), f["remaining"].(float64)}; got != want || f["resetAfter"].(float64) < 1 {
			t.Errorf("%s: %v", policy, f)
		}
	}
	a = s.do(t, `{user(id: 1) {id name friends {id name}}}`, nil)
	f := a.Extensions["cost"].(map[string]any)["policy"].(map[string]any)["points"].(map[string]any)
	if a.Status != 429 || f["remaining"] != 5.0 || f["cost"] != 6.0 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}

// TestDelay: a leaky bucket's delay is spent before anything is executed, and ends with the request.
func TestDelay(t *testing.T) {
	p := halt.Policy{Name: "queue", Algorithm: halt.LeakyBucket, Limit: 20, Window: time.Second, Burst: 5}
	for name, c := range map[string]haltgqlgen.Config{
		"operation": {Rules: []haltgqlgen.Rule{{Policy: p, Key: haltgqlgen.Everyone()}}},
		"field":     {Fields: haltgqlgen.Fields{"Query.need": {Policy: p, Key: haltgqlgen.Everyone()}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, c)
				start := time.Now()
				for range 3 {
					if a := s.do(t, `{need}`, nil); a.Status != 200 || len(a.Errors) > 0 {
						t.Errorf("%s", a.Body)
					}
				}
				if d := time.Since(start); d != 100*time.Millisecond {
					t.Errorf("three took %v", d)
				}
				r := request(t, `{need}`, nil)
				ctx, cancel := context.WithCancel(r.Context())
				cancel()
				if a := s.send(t, r.WithContext(ctx)); len(a.Errors) != 1 || s.Calls("Query.need") != 3 {
					t.Errorf("%s", a.Body)
				}
			})
		})
	}
}
