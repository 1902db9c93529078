package main

import (
	"context"
	"fmt"
	"net/http"

	"github.com/go-chi/chi/v5"

	haltchi "github.com/halt-dev/halt/adapters/chi"
	halt "github.com/halt-dev/halt/core"
)

// newChi returns the demo's routes in chi.
func newChi(s *service) http.Handler {
	r := chi.NewRouter()
	ok := func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") }
	user := func(r *http.Request) string { return users[r.Header.Get("X-API-Key")] }

	for _, route := range simpleRoutes {
		r.With(haltchi.Limit(s.limiter, route.policy, haltchi.ByIP())).Get(route.path, ok)
	}
	r.With(haltchi.Middleware(s.limiter, haltchi.Config{Rules: []haltchi.Rule{{
		Resolve: func(ctx context.Context, r *http.Request) (halt.Policy, error) { return s.planCache.Get(ctx, user(r)) },
		Key:     haltchi.By("user", user),
	}}})).Get("/plan", ok)
	r.With(haltchi.Middleware(s.limiter, haltchi.Config{Rules: []haltchi.Rule{{
		Policy: loginFailures,
		Key:    haltchi.ByIP().And(haltchi.By("account", func(r *http.Request) string { return r.FormValue("account") })),
		Settle: haltchi.ChargeOn(http.StatusUnauthorized),
	}}})).Post("/login", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(login(r.FormValue("password"))) })
	r.With(haltchi.Middleware(s.limiter, haltchi.Config{Rules: []haltchi.Rule{{
		Policy: searchCost,
		Key:    haltchi.ByIP(),
		Cost:   func(r *http.Request) int64 { return searchSize(r.URL.Query().Get("size")) },
	}}})).Get("/search", ok)
	r.With(haltchi.Limit(s.limiter, inFlight, haltchi.Everyone())).Get("/in-flight", hold)
	r.With(haltchi.Limit(s.limiter, monthlyQuota, haltchi.ByAPIKey("X-API-Key"))).Get("/quota", ok)
	r.With(haltchi.Middleware(s.limiter, haltchi.Config{
		Rules: []haltchi.Rule{
			{Policy: generous, Key: haltchi.ByIP()},
			{Policy: tighter, Key: haltchi.ByIP(), Shadow: true},
		},
		Attach: true,
	})).Get("/shadow", func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintln(w, "would have been refused:", wouldRefuse(haltchi.Verdict(r)))
	})
	return r
}
