package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/gofiber/fiber/v2"

	haltfiber "github.com/halt-dev/halt/adapters/fiber"
	halt "github.com/halt-dev/halt/core"
)

// newFiber returns the demo's routes in fiber.
func newFiber(s *service) *fiber.App {
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	ok := func(c *fiber.Ctx) error { return c.SendString("ok\n") }
	user := func(c *fiber.Ctx) string { return users[c.Get("X-API-Key")] }

	for _, route := range simpleRoutes {
		app.Get(route.path, haltfiber.Limit(s.limiter, route.policy, haltfiber.ByIP()), ok)
	}
	app.Get("/plan", haltfiber.Middleware(s.limiter, haltfiber.Config{Rules: []haltfiber.Rule{{
		Resolve: func(ctx context.Context, c *fiber.Ctx) (halt.Policy, error) { return s.planCache.Get(ctx, user(c)) },
		Key:     haltfiber.By("user", user),
	}}}), ok)
	app.Post("/login", haltfiber.Middleware(s.limiter, haltfiber.Config{Rules: []haltfiber.Rule{{
		Policy: loginFailures,
		Key:    haltfiber.ByIP().And(haltfiber.By("account", func(c *fiber.Ctx) string { return c.FormValue("account") })),
		Settle: haltfiber.ChargeOn(http.StatusUnauthorized),
	}}}), func(c *fiber.Ctx) error {
		if status := login(c.FormValue("password")); status != http.StatusOK {
			return fiber.NewError(status) // which the rule's Settle sees, though it isn't rendered yet
		}
		return c.SendStatus(http.StatusOK)
	})
	app.Get("/search", haltfiber.Middleware(s.limiter, haltfiber.Config{Rules: []haltfiber.Rule{{
		Policy: searchCost,
		Key:    haltfiber.ByIP(),
		Cost:   func(c *fiber.Ctx) int64 { return searchSize(c.Query("size")) },
	}}}), ok)
	app.Get("/in-flight", haltfiber.Limit(s.limiter, inFlight, haltfiber.Everyone()), holdFiber)
	app.Get("/quota", haltfiber.Limit(s.limiter, monthlyQuota, haltfiber.ByAPIKey("X-API-Key")), ok)
	app.Get("/shadow", haltfiber.Middleware(s.limiter, haltfiber.Config{
		Rules: []haltfiber.Rule{
			{Policy: generous, Key: haltfiber.ByIP()},
			{Policy: tighter, Key: haltfiber.ByIP(), Shadow: true},
		},
		Attach: true,
	}), func(c *fiber.Ctx) error {
		return c.SendString(fmt.Sprintln("would have been refused:", wouldRefuse(haltfiber.Verdict(c))))
	})
	return app
}

// holdFiber occupies a place in flight for a while. fasthttp can't tell when a client leaves, and streams only after the
// handler has returned.
func holdFiber(c *fiber.Ctx) error {
	select {
	case <-time.After(5 * time.Second):
	case <-c.Context().Done(): // the server shuts down
	}
	return c.SendString("was inside\n")
}
