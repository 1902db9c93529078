// Package halthttp limits net/http handlers.
//
//	limiter := halt.New(memory.New(nil), nil)
//	perMinute := halt.Policy{Name: "api", Limit: 100, Window: time.Minute}
//	limit := halthttp.Limit(limiter, perMinute, halthttp.ByIP())
//	http.ListenAndServe(":8080", limit(mux))
//
// [Middleware] takes several rules at once, which are decided as one: either all of them spend, or none. The policy of a
// rule may be found per request, its cost may vary, and be settled after the handler.
//
// A refused request is answered 429 with Retry-After and problem details, and its handler does not run. Every answer
// tells its budgets in RateLimit-Policy and RateLimit, set before the handler runs. Mount CORS before Halt, so that
// preflights are not counted, and let it expose these fields (Access-Control-Expose-Headers) to browsers.
package halthttp
