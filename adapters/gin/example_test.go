package haltgin_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/gin-gonic/gin"

	haltgin "github.com/halt-dev/halt/adapters/gin"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

// Two requests a minute for each client address.
func ExampleLimit() {
	gin.SetMode(gin.ReleaseMode)
	limiter := halt.New(memory.New(nil), nil)
	perMinute := halt.Policy{Name: "api", Limit: 2, Window: time.Minute}

	r := gin.New()
	r.Use(haltgin.Limit(limiter, perMinute, haltgin.ByIP()))
	r.GET("/hello", func(c *gin.Context) { c.String(http.StatusOK, "hello") })

	for range 3 { // r.Run(":8080")
		w := httptest.NewRecorder()
		r.ServeHTTP(w, httptest.NewRequest("GET", "/hello", nil))
		fmt.Println(w.Code, w.Header().Get("RateLimit-Policy"))
	}
	// Output:
	// 200 "api";q=2;w=60
	// 200 "api";q=2;w=60
	// 429 "api";q=2;w=60
}

// The plan of each user comes from a database, by way of a cache, beside a limit that protects the service as a whole;
// and gin's JSON answers who is refused.
func ExampleMiddleware() {
	gin.SetMode(gin.ReleaseMode)
	limiter := halt.New(memory.New(nil), nil)
	plans := halt.NewPolicyCache(func(_ context.Context, user string) (halt.Policy, error) {
		limits := map[string]int64{"ann": 100, "bob": 1} // the database
		return halt.Policy{Name: "plan", Limit: limits[user], Window: time.Hour}, nil
	}, nil)
	user := func(c *gin.Context) string { return c.GetHeader("X-User") }

	r := gin.New()
	r.Use(haltgin.Middleware(limiter, haltgin.Config{
		Rules: []haltgin.Rule{
			{
				Resolve: func(ctx context.Context, c *gin.Context) (halt.Policy, error) { return plans.Get(ctx, user(c)) },
				Key:     haltgin.By("user", user),
			},
			{Policy: halt.Policy{Name: "at-once", Algorithm: halt.InFlight, Limit: 50, Window: time.Minute}, Key: haltgin.Everyone()},
		},
		Exempt: haltgin.Paths("/healthz"),
		OnDenied: func(c *gin.Context, d haltgin.Denial) {
			c.JSON(d.Status(), gin.H{"error": d.Reason.String(), "violated": d.Violated})
		},
	}))
	r.GET("/data", func(c *gin.Context) { c.JSON(http.StatusOK, gin.H{"for": user(c)}) })

	for _, user := range []string{"ann", "ann", "bob", "bob", ""} {
		req := httptest.NewRequest("GET", "/data", nil)
		req.Header.Set("X-User", user)
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		fmt.Println(w.Code, w.Body)
	}
	// Output:
	// 200 {"for":"ann"}
	// 200 {"for":"ann"}
	// 200 {"for":"bob"}
	// 429 {"error":"quota exceeded","violated":["plan"]}
	// 400 {"error":"missing key","violated":null}
}
