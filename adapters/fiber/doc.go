// Package haltfiber limits fiber routes.
//
//	limiter := halt.New(memory.New(nil), nil)
//	perMinute := halt.Policy{Name: "api", Limit: 100, Window: time.Minute}
//	app := fiber.New()
//	app.Use(haltfiber.Limit(limiter, perMinute, haltfiber.ByIP()))
//
// [Middleware] takes several rules at once, which are decided as one: either all of them spend, or none. The policy of a
// rule may be found per request, its cost may vary, and be settled after the handler.
//
// A refused request is answered 429 with Retry-After and problem details, and its handler does not run. Every answer
// tells its budgets in RateLimit-Policy and RateLimit, set before the handler runs. Mount CORS before Halt, so that
// preflights are not counted, and let it expose these fields (Access-Control-Expose-Headers) to browsers.
//
// The default answer to a refusal is written at once, not returned as an error: the same bytes as from Halt's other
// adapters. To answer as the rest of the service does, return the error from OnDenied, and fiber's ErrorHandler writes it;
// the header fields stay:
//
//	OnDenied: func(c *fiber.Ctx, d haltfiber.Denial) error {
//		return fiber.NewError(d.Status(), d.Reason.String())
//	}
//
// # Strings
//
// fiber's strings, such as those of Ctx.Get, Ctx.Params and Ctx.Path, are overwritten by the next request. The keys of a
// rule are copied, and so are those of a halt.PolicyCache. What your own functions keep they must copy
// (utils.CopyString), and so what halt.Limiter's methods are given by a handler, and the Name and Plan of a policy that a
// Resolve makes out of such a string: the Limiter remembers policies, stores and observers may keep keys and names.
//
// # The end of a request
//
// fasthttp does not tell when a client hangs up: a leaky bucket's delay is waited for in full, unless the UserContext ends
// sooner, which only a middleware before Halt can see to, and the handler runs then even if nobody is there any more. What
// goes on when the handlers have returned is not part of the request for Halt: bodies that a stream writes
// (SetBodyStreamWriter) and WebSockets have settled, and left an InFlight limit, by then.
//
// With Config.Prefork each process has a memory store of its own, so that limits multiply by their number: share a store.
package haltfiber
