package main

import (
	"net/http"

	"github.com/go-chi/chi/v5"
	"github.com/gofiber/fiber/v2"
	fiberlimiter "github.com/gofiber/fiber/v2/middleware/limiter"
	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"github.com/valyala/fasthttp"
	"golang.org/x/time/rate"
)

// echoFramework is echo. Its own limiter sends no headers, so Halt is asked only not to cost more than it, headers
// included.
func echoFramework() framework {
	return framework{Name: "echo", AtMost: 1, Handlers: append(append([]handler{{
		Name: bareName, Module: "github.com/labstack/echo/v4", How: "one route, no middleware",
		New: func(rule) http.Handler { return echoServer() },
	}}, haltEcho()...), handler{
		Name: "RateLimiterWithConfig", Module: "github.com/labstack/echo/v4",
		How:    "echo's own with its memory store, Burst the limit, by RealIP of ExtractIPDirect: no headers",
		Silent: true,
		New: func(r rule) http.Handler {
			store := middleware.NewRateLimiterMemoryStoreWithConfig(middleware.RateLimiterMemoryStoreConfig{
				Rate: rate.Limit(float64(r.Limit) / r.Window.Seconds()), Burst: int(r.Limit), ExpiresIn: r.Window,
			})
			return echoServer(middleware.RateLimiterWithConfig(middleware.RateLimiterConfig{Store: store}))
		},
	})}
}

// echoServer is echo with the given middleware in front of the same. It trusts no proxy, as echo's documentation advises.
func echoServer(use ...echo.MiddlewareFunc) http.Handler {
	e := echo.New()
	e.IPExtractor = echo.ExtractIPDirect()
	e.Use(use...)
	e.GET("/items", func(c echo.Context) error { return c.NoContent(http.StatusNoContent) })
	return e
}

// fiberFramework is fiber, whose own limiter has two algorithms.
func fiberFramework() framework {
	own := func(name, how string, algorithm fiberlimiter.LimiterHandler) handler {
		return handler{
			Name: name, Module: "github.com/gofiber/fiber/v2",
			How: how + ", in memory, by IP: X-RateLimit-Limit, -Remaining, -Reset",
			Fast: func(r rule) fasthttp.RequestHandler {
				return fiberServer(fiberlimiter.New(fiberlimiter.Config{
					Max: int(r.Limit), Expiration: r.Window, LimiterMiddleware: algorithm,
				}))
			},
		}
	}
	return framework{Name: "fiber", Handlers: append(
		append([]handler{{
			Name: bareName, Module: "github.com/gofiber/fiber/v2", How: "one route, no middleware",
			Fast: func(rule) fasthttp.RequestHandler { return fiberServer() },
		}}, haltFiber()...),
		own("limiter, fixed window", "middleware/limiter with FixedWindow", fiberlimiter.FixedWindow{}),
		own("limiter, sliding window", "middleware/limiter with SlidingWindow", fiberlimiter.SlidingWindow{}),
	)}
}

// fiberServer is fiber with the given middleware in front of the same.
func fiberServer(use ...fiber.Handler) fasthttp.RequestHandler {
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	for _, u := range use {
		app.Use(u)
	}
	app.Get("/items", func(c *fiber.Ctx) error {
		c.Status(fiber.StatusNoContent)
		return nil
	})
	return app.Handler()
}

// chiFramework is chi, whose own limiter is httprate.
func chiFramework() framework {
	return framework{Name: "chi", Handlers: append(append([]handler{{
		Name: bareName, Module: "github.com/go-chi/chi/v5", How: "one route, no middleware",
		New: func(rule) http.Handler { return chiServer() },
	}}, haltChi()...), handler{
		Name: "httprate", Module: "github.com/go-chi/httprate", How: howHTTPRate,
		New: func(r rule) http.Handler { return chiServer(httpRate(r)) },
	})}
}

// chiServer is chi with the given middleware in front of the same.
func chiServer(use ...func(http.Handler) http.Handler) http.Handler {
	router := chi.NewRouter()
	router.Use(use...)
	router.Method(http.MethodGet, "/items", answer())
	return router
}
