package haltchi

import (
	"net/http"
	"strings"
	"sync"

	"github.com/go-chi/chi/v5"

	"github.com/halt-dev/halt/core/httpkit"
)

// route returns the pattern of a request's route: what RoutePattern says once chi has routed, at any time before too.
// "" if there is none.
func route(r *http.Request) string {
	rctx := chi.RouteContext(r.Context())
	if rctx == nil {
		return r.Pattern // around a chi router, or without one
	}
	switch n := len(rctx.RoutePatterns); {
	case n == 1 && !wildcard(rctx.RoutePatterns[0]):
		return rctx.RoutePattern()
	case n > 1 && !wildcard(rctx.RoutePatterns[n-1]):
		if r.Pattern != "" {
			return r.Pattern // chi sets it to the same, which is an allocation less
		}
		return rctx.RoutePattern()
	case rctx.Routes == nil:
		return rctx.RoutePattern()
	}
	// chi has not routed yet, or it has and the pattern ends in a wildcard; perhaps that of a router which is mounted.
	routed := httpkit.RequestPath(r) // what chi routes by
	if len(rctx.RoutePatterns) == 0 && rctx.RoutePath != "" {
		routed = rctx.RoutePath // a middleware before, such as CleanPath, has chosen it
	}
	if routed == "" {
		routed = "/"
	}
	method := rctx.RouteMethod
	if method == "" {
		method = r.Method
	}
	scratch := scratches.Get().(*chi.Context)
	pattern := rctx.Routes.Find(scratch, method, routed)
	scratch.Reset()
	scratches.Put(scratch)
	if pattern == "" {
		return rctx.RoutePattern() // of the routers so far: there is no route, or a path was chosen in between
	}
	return trim(pattern)
}

func wildcard(pattern string) bool { return strings.HasSuffix(pattern, "/*") }

// scratches are contexts that Find writes to.
var scratches = sync.Pool{New: func() any { return chi.NewRouteContext() }}

// trim returns a pattern as RoutePattern does, without the slashes that end it.
func trim(pattern string) string {
	if pattern == "/" {
		return pattern
	}
	return strings.TrimSuffix(strings.TrimSuffix(pattern, "//"), "/")
}
