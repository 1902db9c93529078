package main

import (
	"context"
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	haltecho "github.com/halt-dev/halt/adapters/echo"
	halt "github.com/halt-dev/halt/core"
)

// newEcho returns the demo's routes in echo.
func newEcho(s *service) http.Handler {
	e := echo.New()
	ok := func(c echo.Context) error { return c.String(http.StatusOK, "ok\n") }
	user := func(c echo.Context) string { return users[c.Request().Header.Get("X-API-Key")] }

	for _, route := range simpleRoutes {
		e.GET(route.path, ok, haltecho.Limit(s.limiter, route.policy, haltecho.ByIP()))
	}
	e.GET("/plan", ok, haltecho.Middleware(s.limiter, haltecho.Config{Rules: []haltecho.Rule{{
		Resolve: func(ctx context.Context, c echo.Context) (halt.Policy, error) { return s.planCache.Get(ctx, user(c)) },
		Key:     haltecho.By("user", user),
	}}}))
	e.POST("/login", func(c echo.Context) error {
		if status := login(c.FormValue("password")); status != http.StatusOK {
			return echo.NewHTTPError(status) // which the rule's Settle sees, though it isn't rendered yet
		}
		return c.NoContent(http.StatusOK)
	}, haltecho.Middleware(s.limiter, haltecho.Config{Rules: []haltecho.Rule{{
		Policy: loginFailures,
		Key:    haltecho.ByIP().And(haltecho.By("account", func(c echo.Context) string { return c.FormValue("account") })),
		Settle: haltecho.ChargeOn(http.StatusUnauthorized),
	}}}))
	e.GET("/search", ok, haltecho.Middleware(s.limiter, haltecho.Config{Rules: []haltecho.Rule{{
		Policy: searchCost,
		Key:    haltecho.ByIP(),
		Cost:   func(c echo.Context) int64 { return searchSize(c.QueryParam("size")) },
	}}}))
	e.GET("/in-flight", func(c echo.Context) error {
		hold(c.Response(), c.Request())
		return nil
	}, haltecho.Limit(s.limiter, inFlight, haltecho.Everyone()))
	e.GET("/quota", ok, haltecho.Limit(s.limiter, monthlyQuota, haltecho.ByAPIKey("X-API-Key")))
	e.GET("/shadow", func(c echo.Context) error {
		return c.String(http.StatusOK, fmt.Sprintln("would have been refused:", wouldRefuse(haltecho.Verdict(c))))
	}, haltecho.Middleware(s.limiter, haltecho.Config{
		Rules: []haltecho.Rule{
			{Policy: generous, Key: haltecho.ByIP()},
			{Policy: tighter, Key: haltecho.ByIP(), Shadow: true},
		},
		Attach: true,
	}))
	return e
}
