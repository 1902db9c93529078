package main

import (
	"context"
	"fmt"
	"net/http"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
	"github.com/halt-dev/halt/core/halthttp"
)

// newNetHTTP returns the demo's routes in net/http.
func newNetHTTP(s *service) http.Handler {
	mux := http.NewServeMux()
	ok := func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") }
	user := func(r *http.Request) string { return users[r.Header.Get("X-API-Key")] }
	handle := func(pattern string, c halthttp.Config, h http.HandlerFunc) {
		mux.Handle(pattern, halthttp.Middleware(s.limiter, c)(h))
	}

	for _, route := range simpleRoutes {
		mux.Handle("GET "+route.path, halthttp.Limit(s.limiter, route.policy, halthttp.ByIP())(http.HandlerFunc(ok)))
	}
	handle("GET /plan", halthttp.Config{Rules: []halthttp.Rule{{
		Resolve: func(ctx context.Context, r *http.Request) (halt.Policy, error) { return s.planCache.Get(ctx, user(r)) },
		Key:     halthttp.By("user", user),
	}}}, ok)
	handle("POST /login", halthttp.Config{Rules: []halthttp.Rule{{
		Policy: loginFailures,
		Key:    halthttp.ByIP().And(halthttp.By("account", func(r *http.Request) string { return r.FormValue("account") })),
		Settle: halthttp.ChargeOn(http.StatusUnauthorized),
	}}}, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(login(r.FormValue("password"))) })
	handle("GET /search", halthttp.Config{Rules: []halthttp.Rule{{
		Policy: searchCost,
		Key:    halthttp.ByIP(),
		Cost:   func(r *http.Request) int64 { return searchSize(r.URL.Query().Get("size")) },
	}}}, ok)
	mux.Handle("GET /in-flight", halthttp.Limit(s.limiter, inFlight, halthttp.Everyone())(http.HandlerFunc(hold)))
	mux.Handle("GET /quota", halthttp.Limit(s.limiter, monthlyQuota, halthttp.ByAPIKey("X-API-Key"))(http.HandlerFunc(ok)))
	handle("GET /shadow", halthttp.Config{
		Rules: []halthttp.Rule{
			{Policy: generous, Key: halthttp.ByIP()},
			{Policy: tighter, Key: halthttp.ByIP(), Shadow: true},
		},
		Attach: true,
	}, func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintln(w, "would have been refused:", wouldRefuse(halthttp.Verdict(r)))
	})
	return mux
}

// wouldRefuse tells whether a shadow rule would have refused the request.
func wouldRefuse(v guard.Verdict) bool {
	for _, d := range v.Decisions {
		if d.Mode == halt.Shadow && !d.Allowed {
			return true
		}
	}
	return false
}
