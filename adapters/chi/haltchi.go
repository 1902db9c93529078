package haltchi

import (
	"net/http"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
	"github.com/halt-dev/halt/core/httpkit"
)

// Limit returns a middleware of one policy and one key. It panics as [Middleware] does.
func Limit(l *halt.Limiter, p halt.Policy, key Key) func(http.Handler) http.Handler {
	return Middleware(l, Config{Rules: []Rule{{Policy: p, Key: key}}})
}

// Middleware returns a middleware that applies the rules of c to each request. It panics if c can't be used, with an
// error that matches guard.ErrInvalidConfig and names every fault.
//
// Handlers get the server's own ResponseWriter, unless a rule has a Settle: then one that observes the status and is a
// Flusher, Hijacker, ReaderFrom and CloseNotifier exactly if the server's is. A handler that panics settles as a 500.
// A leaky bucket's delay is spent before the handler runs; it ends when the client hangs up, which net/http notices
// only once the request's body has been read, or at a deadline such as chi's Timeout's, which is answered 503.
func Middleware(l *halt.Limiter, c Config) func(http.Handler) http.Handler {
	kit := httpkit.MustNew(l, framework, httpkit.Config[*http.Request, func(http.ResponseWriter, *http.Request, Denial)](c))
	return httpkit.Wrap(kit, c.OnDenied)
}

// Verdict returns what the middlewares with Attach that the request has passed so far decided.
func Verdict(r *http.Request) guard.Verdict { return guard.VerdictOf(r.Context()) }
