package halthttp

import (
	"net/http"
	"net/netip"

	"github.com/halt-dev/halt/core/guard"
	"github.com/halt-dev/halt/core/httpkit"
)

var framework = httpkit.NetHTTP(func(r *http.Request) string { return r.Pattern })

// By returns the key of what f finds in a request, under a kind such as "user" (1 to 32 of a-z 0-9 _ -, a letter first).
// A request for which f returns "" has no key: it is answered 400.
func By(kind string, f func(*http.Request) string) Key { return guard.By(kind, f) }

// ByIP returns the key of the client's address: the peer's; or, if that is one of the trusted proxies, the right-most
// address of X-Forwarded-For that is not. IPv6 addresses count by their /64. A request whose address can't be told, such
// as over a Unix socket, has no key.
func ByIP(trustedProxies ...netip.Prefix) Key { return framework.ByIP(trustedProxies...) }

// ByAPIKey returns the key of an API key in the header field of that name; a hash of it is stored. A field that
// comes twice is no key. Unless something
// before has verified the API key, a caller who makes keys up makes a budget with each: let another rule bound ByIP then.
func ByAPIKey(header string) Key { return framework.ByAPIKey(header) }

// ByHeader returns the key of a header field's value, such as a tenant that a gateway has written. A client can write
// what it likes in a field that nothing before verifies or overwrites.
func ByHeader(name string) Key { return framework.ByHeader(name) }

// ByRoute returns the key of the request's method and http.Request.Pattern, usually with And. The pattern is known where
// the middleware is inside the ServeMux, around single handlers; around the mux all requests share one key per method.
func ByRoute() Key { return framework.ByRoute() }

// Everyone returns the one key that all requests share: for limits that protect the service as a whole.
func Everyone() Key { return guard.Everyone[*http.Request]() }

// ChargeOn returns a Settle that keeps the cost of requests answered with one of these statuses and gives it back to
// others: ChargeOn(401) counts failed logins.
func ChargeOn(status ...int) func(*http.Request, Outcome) int64 {
	return guard.ChargeOn[*http.Request](status...)
}

// Paths returns an Exempt for requests of these paths: exactly, or all below one that ends in "/*".
func Paths(paths ...string) func(*http.Request) bool { return framework.Paths(paths...) }
