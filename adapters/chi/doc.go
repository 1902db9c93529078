// Package haltchi limits chi routes.
//
//	limiter := halt.New(memory.New(nil), nil)
//	perMinute := halt.Policy{Name: "api", Limit: 100, Window: time.Minute}
//	r := chi.NewRouter()
//	r.Use(haltchi.Limit(limiter, perMinute, haltchi.ByIP()))
//
// [Middleware] takes several rules at once, which are decided as one: either all of them spend, or none. The policy of a
// rule may be found per request, its cost may vary, and be settled after the handler.
//
// A refused request is answered 429 with Retry-After and problem details, and its handler does not run. Every answer
// tells its budgets in RateLimit-Policy and RateLimit, set before the handler runs. Mount CORS before Halt, so that
// preflights are not counted, and let it expose these fields (Access-Control-Expose-Headers) to browsers.
//
// The middlewares are net/http's, as chi's own are. What package halthttp does not know is chi's: the pattern of the route,
// also in Use, before chi has routed ([ByRoute]), and the client's address ([ByClientIP]).
package haltchi
