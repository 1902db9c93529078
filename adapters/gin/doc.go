// Package haltgin limits gin routes.
//
//	limiter := halt.New(memory.New(nil), nil)
//	perMinute := halt.Policy{Name: "api", Limit: 100, Window: time.Minute}
//	r := gin.Default()
//	r.Use(haltgin.Limit(limiter, perMinute, haltgin.ByIP()))
//
// [Middleware] takes several rules at once, which are decided as one: either all of them spend, or none. The policy of a
// rule may be found per request, its cost may vary, and be settled after the handler.
//
// A refused request is aborted and answered 429 with Retry-After and problem details. Every answer tells its budgets in
// RateLimit-Policy and RateLimit, set before the handler runs. Mount CORS before Halt, so that preflights are not
// counted, and let it expose these fields (Access-Control-Expose-Headers) to browsers. Redirects that gin makes by
// itself, of trailing slashes and paths to be cleaned, are answered before any middleware, and are not counted.
package haltgin
