package haltecho_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/labstack/echo/v4"

	haltecho "github.com/halt-dev/halt/adapters/echo"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

// Two requests an hour for each client address.
func ExampleLimit() {
	limiter := halt.New(memory.New(nil), nil)
	perHour := halt.Policy{Name: "api", Algorithm: halt.FixedWindow, Limit: 2, Window: time.Hour}

	e := echo.New()
	e.Use(haltecho.Limit(limiter, perHour, haltecho.ByIP()))
	e.GET("/", func(c echo.Context) error { return c.String(http.StatusOK, "hello") })

	for range 3 {
		w := httptest.NewRecorder()
		e.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		fmt.Println(w.Code, w.Header().Get("RateLimit-Policy"), w.Body)
	}
	// Output:
	// 200 "api";q=2;w=3600 hello
	// 200 "api";q=2;w=3600 hello
	// 429 "api";q=2;w=3600 {"type":"https://iana.org/assignments/http-problem-types#quota-exceeded","title":"Too Many Requests","status":429,"violated-policies":["api"]}
}

// A limit on all requests, and on one route a limit on failed logins alone, which blocks for a while.
func ExampleMiddleware() {
	limiter := halt.New(memory.New(nil), nil)
	e := echo.New()
	e.Use(haltecho.Middleware(limiter, haltecho.Config{
		Rules:  []haltecho.Rule{{Policy: halt.Policy{Name: "api", Limit: 100, Window: time.Minute}, Key: haltecho.ByIP()}},
		Exempt: haltecho.Paths("/healthz"),
	}))
	failures := haltecho.Middleware(limiter, haltecho.Config{
		Rules: []haltecho.Rule{{
			Policy: halt.Policy{Name: "login", Algorithm: halt.SlidingWindow, Limit: 2, Window: time.Minute, Block: 5 * time.Minute},
			Key:    haltecho.ByIP().And(haltecho.By("account", func(c echo.Context) string { return c.QueryParam("account") })),
			Settle: haltecho.ChargeOn(http.StatusUnauthorized),
		}},
		// Refusals are answered by the HTTPErrorHandler, as all errors of this service are.
		OnDenied: func(_ echo.Context, d haltecho.Denial) error {
			return echo.NewHTTPError(d.Status(), d.Reason.String())
		},
	})
	e.POST("/login", func(echo.Context) error { return echo.ErrUnauthorized }, failures)

	for range 3 {
		w := httptest.NewRecorder()
		e.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/login?account=ann", nil))
		fmt.Print(w.Code, " ", w.Header().Get("Retry-After"), " ", w.Body)
	}
	// Output:
	// 401  {"message":"Unauthorized"}
	// 401  {"message":"Unauthorized"}
	// 429 300 {"message":"quota exceeded"}
}
