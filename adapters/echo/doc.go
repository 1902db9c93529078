// Package haltecho limits echo routes.
//
//	limiter := halt.New(memory.New(nil), nil)
//	perMinute := halt.Policy{Name: "api", Limit: 100, Window: time.Minute}
//	e := echo.New()
//	e.Use(haltecho.Limit(limiter, perMinute, haltecho.ByIP()))
//
// [Middleware] takes several rules at once, which are decided as one: either all of them spend, or none. The policy of a
// rule may be found per request, its cost may vary, and be settled after the handler.
//
// A refused request is answered 429 with Retry-After and problem details, and its handler does not run. Every answer
// tells its budgets in RateLimit-Policy and RateLimit, set before the handler runs. Mount CORS before Halt, so that
// preflights are not counted, and let it expose these fields (Access-Control-Expose-Headers) to browsers. In Echo.Pre
// no route is known yet: use Echo.Use, a group or a route with [ByRoute].
//
// The default answer to a refusal is written at once, not returned as an error: the same bytes as from Halt's other
// adapters, and echo's request loggers see its status. To answer as the rest of the service does, return the error from
// OnDenied, and echo's HTTPErrorHandler writes it; the header fields stay:
//
//	OnDenied: func(c echo.Context, d haltecho.Denial) error {
//		return echo.NewHTTPError(d.Status(), d.Reason.String())
//	}
package haltecho
