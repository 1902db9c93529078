package main

import (
	"context"
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"

	haltgin "github.com/halt-dev/halt/adapters/gin"
	halt "github.com/halt-dev/halt/core"
)

// newGin returns the demo's routes in gin.
func newGin(s *service) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	r := gin.New()
	ok := func(c *gin.Context) { c.String(http.StatusOK, "ok\n") }
	user := func(c *gin.Context) string { return users[c.GetHeader("X-API-Key")] }

	for _, route := range simpleRoutes {
		r.GET(route.path, haltgin.Limit(s.limiter, route.policy, haltgin.ByIP()), ok)
	}
	r.GET("/plan", haltgin.Middleware(s.limiter, haltgin.Config{Rules: []haltgin.Rule{{
		Resolve: func(ctx context.Context, c *gin.Context) (halt.Policy, error) { return s.planCache.Get(ctx, user(c)) },
		Key:     haltgin.By("user", user),
	}}}), ok)
	r.POST("/login", haltgin.Middleware(s.limiter, haltgin.Config{Rules: []haltgin.Rule{{
		Policy: loginFailures,
		Key:    haltgin.ByIP().And(haltgin.By("account", func(c *gin.Context) string { return c.PostForm("account") })),
		Settle: haltgin.ChargeOn(http.StatusUnauthorized),
	}}}), func(c *gin.Context) { c.Status(login(c.PostForm("password"))) })
	r.GET("/search", haltgin.Middleware(s.limiter, haltgin.Config{Rules: []haltgin.Rule{{
		Policy: searchCost,
		Key:    haltgin.ByIP(),
		Cost:   func(c *gin.Context) int64 { return searchSize(c.Query("size")) },
	}}}), ok)
	r.GET("/in-flight", haltgin.Limit(s.limiter, inFlight, haltgin.Everyone()),
		func(c *gin.Context) { hold(c.Writer, c.Request) })
	r.GET("/quota", haltgin.Limit(s.limiter, monthlyQuota, haltgin.ByAPIKey("X-API-Key")), ok)
	r.GET("/shadow", haltgin.Middleware(s.limiter, haltgin.Config{
		Rules: []haltgin.Rule{
			{Policy: generous, Key: haltgin.ByIP()},
			{Policy: tighter, Key: haltgin.ByIP(), Shadow: true},
		},
		Attach: true,
	}), func(c *gin.Context) {
		c.String(http.StatusOK, fmt.Sprintln("would have been refused:", wouldRefuse(haltgin.Verdict(c))))
	})
	return r
}
