package haltgqlgen_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/99designs/gqlgen/complexity"
	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/executor"
	"github.com/99designs/gqlgen/graphql/handler/lru"
	"github.com/vektah/gqlparser/v2/ast"

	haltgqlgen "github.com/halt-dev/halt/adapters/gqlgen"
	"github.com/halt-dev/halt/adapters/gqlgen/internal/testapi"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

// plenty is a policy that no benchmark exhausts.
func plenty(name string) halt.Policy {
	return halt.Policy{Name: name, Limit: 1_000_000_000, Window: time.Hour}
}

// served returns a function that sends a query to a server with these extensions, and not more than that: its documents
// are cached, the request is the same.
func served(tb testing.TB, query string, wrap bool, es ...graphql.HandlerExtension) func() {
	tb.Helper()
	return servedBy(tb, bareSite(tb, noPrices), query, wrap, es...)
}

func servedBy(tb testing.TB, s *site, query string, wrap bool, es ...graphql.HandlerExtension) func() {
	tb.Helper()
	s.srv.SetQueryCache(lru.New[*ast.QueryDocument](10))
	for _, e := range es {
		s.srv.Use(e)
	}
	s.handler = s.srv
	if wrap {
		s.handler = haltgqlgen.Handler(s.srv)
	}
	r := get(tb, query)
	return func() {
		w := &discard{header: make(http.Header)}
		s.handler.ServeHTTP(w, r)
		if w.status > 299 {
			tb.Fatal(w.status)
		}
	}
}

type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(status int)      { d.status = status }

func limited(tb testing.TB, c haltgqlgen.Config) graphql.HandlerExtension {
	tb.Helper()
	return haltgqlgen.Operations(halt.New(memory.New(nil), nil), withPolicies(tb, c))
}

func measure(b *testing.B, f func()) {
	b.Helper()
	b.ReportAllocs()
	for b.Loop() {
		f()
	}
}

// BenchmarkOperation is what one rule over the operation adds to a server: target 2 µs and 10 allocations.
func BenchmarkOperation(b *testing.B) {
	const query = `{need}`
	rule := func(key haltgqlgen.Key, cost func(*haltgqlgen.Operation) int64) haltgqlgen.Config {
		return haltgqlgen.Config{Rules: []haltgqlgen.Rule{{Policy: plenty("api"), Key: key, Cost: cost}}}
	}
	b.Run("bare", func(b *testing.B) { measure(b, served(b, query, false)) })
	b.Run("Handler", func(b *testing.B) { measure(b, served(b, query, true)) })
	b.Run("PerOperation", func(b *testing.B) {
		measure(b, served(b, query, true, limited(b, rule(haltgqlgen.ByIP(), nil))))
	})
	b.Run("PerOperationBare", func(b *testing.B) {
		measure(b, served(b, query, false, limited(b, rule(haltgqlgen.Everyone(), nil))))
	})
	b.Run("Complexity", func(b *testing.B) {
		measure(b, served(b, query, true, limited(b, rule(haltgqlgen.ByIP(), haltgqlgen.Complexity))))
	})
	b.Run("Settled", func(b *testing.B) {
		c := rule(haltgqlgen.ByIP(), haltgqlgen.Complexity)
		c.Rules[0].Policy.Algorithm, c.Rules[0].Settle = halt.FixedWindow, haltgqlgen.Resolved
		measure(b, served(b, query, true, limited(b, c)))
	})
}

// BenchmarkFields is what limited fields add, each: target 500 ns. It sends operations without and with them in turns, so
// that both see the same load of the machine, and reports the medians of both, their difference and that of their
// allocations, for each field: of limits by code, to a server without any limit, and to one that limits its operations;
// of those whose key is no address; and of directives, to gqlgen's running one that does nothing.
func BenchmarkFields(b *testing.B) {
	fields := func(key haltgqlgen.Key) haltgqlgen.Fields {
		return haltgqlgen.Fields{"Query.need": {Policy: plenty("needs"), Key: key}}
	}
	rules := []haltgqlgen.Rule{{Policy: plenty("api"), Key: haltgqlgen.ByIP()}}
	for _, c := range []struct {
		name, field string
		config      haltgqlgen.Config
	}{
		{"limited", "need", haltgqlgen.Config{Fields: fields(haltgqlgen.ByIP())}},
		{"ruled+limited", "need", haltgqlgen.Config{Rules: rules, Fields: fields(haltgqlgen.ByIP())}},
		{"everyone", "need", haltgqlgen.Config{Fields: fields(haltgqlgen.Everyone())}},
		{"directive", "report", haltgqlgen.Config{Policies: registry(b, plenty("report"))}},
	} {
		for _, n := range []int{1, 10, 100} {
			b.Run(fmt.Sprintf("%s/%d", c.name, n), func(b *testing.B) {
				query := aliases(n, c.field)
				without := served(b, query, true)
				switch c.name {
				case "ruled+limited":
					without = served(b, query, true, limited(b, haltgqlgen.Config{Rules: rules}))
				case "directive":
					without = servedBy(b, directedSite(b, testapi.DirectiveRoot{RateLimit: pass}, noPrices), query, true)
				}
				inTurns(b, n, without, served(b, query, true, limited(b, c.config)))
			})
		}
	}
}

// inTurns reports what with takes more than without, for each of n fields.
func inTurns(b *testing.B, n int, without, with func()) {
	b.Helper()
	turn := max(300, 3000/n) // 10 ms and more: each has its part of the garbage collector's work
	var took [2][]float64
	for b.Loop() {
		for i, f := range []func(){without, with} {
			start := time.Now()
			for range turn {
				f()
			}
			took[i] = append(took[i], float64(time.Since(start).Nanoseconds())/float64(turn))
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(took[0]), "ns/without")
	b.ReportMetric(median(took[1]), "ns/with")
	b.ReportMetric((median(took[1])-median(took[0]))/float64(n), "ns/field")
	b.ReportMetric((testing.AllocsPerRun(turn, with)-testing.AllocsPerRun(turn, without))/float64(n), "allocs/field")
}

func median(fs []float64) float64 {
	slices.Sort(fs)
	return fs[len(fs)/2]
}

// pass is a directive that does nothing.
func pass(ctx context.Context, _ any, next graphql.Resolver, _ string, _ *int, _ *string) (any, error) {
	return next(ctx)
}

// BenchmarkFieldBelow is what a limited field adds that stands below others.
func BenchmarkFieldBelow(b *testing.B) {
	const query = `{user(id: 1) {id posts {id title}}}`
	b.Run("bare", func(b *testing.B) { measure(b, served(b, query, true)) })
	b.Run("limited", func(b *testing.B) {
		measure(b, served(b, query, true, limited(b, haltgqlgen.Config{
			Fields: haltgqlgen.Fields{"Post.title": {Policy: plenty("titles"), Key: haltgqlgen.Everyone()}},
		})))
	})
}

// BenchmarkRefused is what an attack costs the server: a thousand logins in one request.
func BenchmarkRefused(b *testing.B) {
	measure(b, decided(b, logins(1000), haltgqlgen.Config{
		Rules: []haltgqlgen.Rule{{Policy: roots, Key: haltgqlgen.Everyone(), Cost: haltgqlgen.RootFields}},
	}))
}

// BenchmarkExponential counts 843 bytes of nested fragments, which gqlgen's own count takes most of a second for: target
// well under 1 ms.
func BenchmarkExponential(b *testing.B) {
	query := doubling
	b.Logf("%d bytes", len(query))
	for name, count := range map[string]func(*haltgqlgen.Operation){"halt": nil, "gqlgen": func(op *haltgqlgen.Operation) {
		gql := op.GraphQL()
		complexity.Calculate(op.Context(), testapi.New(&testapi.API{}, testapi.DirectiveRoot{}, noPrices), gql.Operation, gql.Variables)
	}} {
		b.Run(name, func(b *testing.B) {
			cost := haltgqlgen.Complexity
			if count != nil {
				cost = func(op *haltgqlgen.Operation) int64 {
					count(op)
					return 1
				}
			}
			unbounded := plenty("points")
			unbounded.Limit = halt.Unlimited
			measure(b, decided(b, query, haltgqlgen.Config{
				Rules: []haltgqlgen.Rule{{Policy: unbounded, Key: haltgqlgen.Everyone(), Cost: cost}},
			}))
		})
	}
}

// decided returns a function that has an operation decided, and not executed.
func decided(b *testing.B, query string, c haltgqlgen.Config) func() {
	b.Helper()
	exec := executor.New(testapi.New(&testapi.API{}, testapi.DirectiveRoot{RateLimit: haltgqlgen.RateLimit}, noPrices))
	exec.SetQueryCache(lru.New[*ast.QueryDocument](10))
	exec.Use(limited(b, c))
	exec.Use(nothing)
	return func() {
		ctx := graphql.StartOperationTrace(b.Context())
		op, errs := exec.CreateOperationContext(ctx, &graphql.RawParams{Query: query})
		if errs != nil {
			b.Fatal(errs)
		}
		exec.DispatchOperation(ctx, op)
	}
}

// BenchmarkDecide is what deciding alone takes, without the server around it: none, 1, 10 or 100 limited fields.
func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{1, 10, 100} {
		query := aliases(n, "need")
		for name, field := range map[string]string{"none": "Query.boom", "limited": "Query.need"} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				measure(b, decided(b, query, haltgqlgen.Config{
					Fields: haltgqlgen.Fields{field: {Policy: plenty("needs"), Key: haltgqlgen.ByHeader("X-Tenant").Or(haltgqlgen.Everyone())}},
				}))
			})
		}
	}
}

// BenchmarkMerging counts a document that makes the exact count take too many steps: what the worst costs the server.
func BenchmarkMerging(b *testing.B) {
	query := merging(20)
	b.Logf("%d bytes", len(query))
	unbounded := plenty("points")
	unbounded.Limit = halt.Unlimited
	measure(b, decided(b, query, haltgqlgen.Config{
		Rules: []haltgqlgen.Rule{{Policy: unbounded, Key: haltgqlgen.Everyone(), Cost: haltgqlgen.Complexity}},
	}))
}
