package haltfiber_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/gofiber/fiber/v2"

	haltfiber "github.com/halt-dev/halt/adapters/fiber"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

// Two requests an hour for each client address.
func ExampleLimit() {
	limiter := halt.New(memory.New(nil), nil)
	perHour := halt.Policy{Name: "api", Algorithm: halt.FixedWindow, Limit: 2, Window: time.Hour}

	app := fiber.New()
	app.Use(haltfiber.Limit(limiter, perHour, haltfiber.ByIP()))
	app.Get("/", func(c *fiber.Ctx) error { return c.SendString("hello") })

	for range 3 {
		res, err := app.Test(httptest.NewRequest(http.MethodGet, "/", nil))
		if err != nil {
			fmt.Println(err)
			return
		}
		body, _ := io.ReadAll(res.Body)
		fmt.Println(res.StatusCode, res.Header.Get("RateLimit-Policy"), string(body))
	}
	// Output:
	// 200 "api";q=2;w=3600 hello
	// 200 "api";q=2;w=3600 hello
	// 429 "api";q=2;w=3600 {"type":"https://iana.org/assignments/http-problem-types#quota-exceeded","title":"Too Many Requests","status":429,"violated-policies":["api"]}
}

// A limit on all requests, and on one route a limit on failed logins alone, which blocks for a while.
func ExampleMiddleware() {
	limiter := halt.New(memory.New(nil), nil)
	app := fiber.New()
	app.Use(haltfiber.Middleware(limiter, haltfiber.Config{
		Rules:  []haltfiber.Rule{{Policy: halt.Policy{Name: "api", Limit: 100, Window: time.Minute}, Key: haltfiber.ByIP()}},
		Exempt: haltfiber.Paths("/healthz"),
	}))
	failures := haltfiber.Middleware(limiter, haltfiber.Config{
		Rules: []haltfiber.Rule{{
			Policy: halt.Policy{Name: "login", Algorithm: halt.SlidingWindow, Limit: 2, Window: time.Minute, Block: 5 * time.Minute},
			Key:    haltfiber.ByIP().And(haltfiber.By("account", func(c *fiber.Ctx) string { return c.Query("account") })),
			Settle: haltfiber.ChargeOn(http.StatusUnauthorized),
		}},
		// Refusals are answered by the ErrorHandler, as all errors of this service are.
		OnDenied: func(_ *fiber.Ctx, d haltfiber.Denial) error {
			return fiber.NewError(d.Status(), d.Reason.String())
		},
	})
	app.Post("/login", failures, func(*fiber.Ctx) error { return fiber.ErrUnauthorized })

	for range 3 {
		res, err := app.Test(httptest.NewRequest(http.MethodPost, "/login?account=ann", nil))
		if err != nil {
			fmt.Println(err)
			return
		}
		body, _ := io.ReadAll(res.Body)
		fmt.Println(res.StatusCode, res.Header.Get("Retry-After"), string(body))
	}
	// Output:
	// 401  Unauthorized
	// 401  Unauthorized
	// 429 300 quota exceeded
}
