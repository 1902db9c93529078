package haltecho

import (
	"net/netip"

	"github.com/labstack/echo/v4"

	"github.com/halt-dev/halt/core/guard"
	"github.com/halt-dev/halt/core/httpkit"
)

var framework = httpkit.Framework[echo.Context]{
	Method: func(c echo.Context) string { return c.Request().Method },
	Path:   func(c echo.Context) string { return echo.GetPath(c.Request()) }, // what echo routes by
	Route:  echo.Context.Path,
	Remote: func(c echo.Context) string { return c.Request().RemoteAddr },
	Header: func(c echo.Context, name string) (string, int) { return httpkit.RequestHeader(c.Request(), name) },
}

// By returns the key of what f finds in a request, under a kind such as "user" (1 to 32 of a-z 0-9 _ -, a letter first).
// A request for which f returns "" has no key: it is answered 400.
func By(kind string, f func(echo.Context) string) Key { return guard.By(kind, f) }

// ByIP returns the key of the client's address: the peer's; or, if that is one of the trusted proxies, the right-most
// address of X-Forwarded-For that is not. IPv6 addresses count by their /64. A request whose address can't be told, such
// as over a Unix socket, has no key. It never asks echo's RealIP: see [ByRealIP].
func ByIP(trustedProxies ...netip.Prefix) Key { return framework.ByIP(trustedProxies...) }

// ByRealIP returns the key of what echo's RealIP says the client's address is, counted as ByIP counts it. Without an
// Echo.IPExtractor echo believes the headers X-Forwarded-For, of which it takes the left-most, and X-Real-IP of any peer,
// so that every client can choose its budget: set Echo.IPExtractor first. ExtractIPDirect believes no header.
// ExtractIPFromXFFHeader and ExtractIPFromRealIPHeader believe theirs if the peer is trusted, which by default all
// loopback, link-local and private addresses are. A request for which RealIP is no address has no key.
func ByRealIP() Key { return framework.ByAddress(echo.Context.RealIP) }

// ByAPIKey returns the key of an API key in the header field of that name; a hash of it is stored. A field that
// comes twice is no key. Unless something
// before has verified the API key, a caller who makes keys up makes a budget with each: let another rule bound ByIP then.
func ByAPIKey(header string) Key { return framework.ByAPIKey(header) }

// ByHeader returns the key of a header field's value, such as a tenant that a gateway has written. A client can write
// what it likes in a field that nothing before verifies or overwrites.
func ByHeader(name string) Key { return framework.ByHeader(name) }

// ByRoute returns the key of the request's method and echo's Path, the pattern of the route, usually with And. Requests
// that match no route share one per method, or per group if it has middlewares. So do all requests in Echo.Pre, where no
// route is known yet.
func ByRoute() Key { return framework.ByRoute() }

// Everyone returns the one key that all requests share: for limits that protect the service as a whole.
func Everyone() Key { return guard.Everyone[echo.Context]() }

// ChargeOn returns a Settle that keeps the cost of requests answered with one of these statuses and gives it back to
// others: ChargeOn(401) counts failed logins.
func ChargeOn(status ...int) func(echo.Context, Outcome) int64 {
	return guard.ChargeOn[echo.Context](status...)
}

// Paths returns an Exempt for requests of these paths: exactly, or all below one that ends in "/*". It compares what echo
// routes by: a path with needless percent-encodings is not decoded.
func Paths(paths ...string) func(echo.Context) bool { return framework.Paths(paths...) }
