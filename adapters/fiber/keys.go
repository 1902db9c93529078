package haltfiber

import (
	"bytes"
	"net"
	"net/netip"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"

	"github.com/halt-dev/halt/core/guard"
	"github.com/halt-dev/halt/core/httpkit"
)

var framework = httpkit.Framework[*fiber.Ctx]{
	Method: func(c *fiber.Ctx) string { return c.Method() },
	Path:   func(c *fiber.Ctx) string { return c.Path() }, // what fiber routes by
	Route:  route,
	Remote: remote,
	Header: requestHeader,
}

// route returns the pattern of the route that is being handled.
func route(c *fiber.Ctx) string {
	r := c.Route()
	if len(r.Handlers) == 0 {
		return "" // none: what fiber returns then is the path, of the request's own memory
	}
	return r.Path
}

// peer returns the peer's address. It is invalid for a peer that has none, of which fiber itself would say 0.0.0.0.
func peer(c *fiber.Ctx) netip.Addr {
	if tcp, ok := c.Context().RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr()
	}
	return netip.Addr{}
}

func remote(c *fiber.Ctx) string {
	if addr := peer(c); addr.IsValid() {
		return addr.String()
	}
	return ""
}

// requestHeader returns all lines of a field. What it returns may be of the request's own memory.
func requestHeader(c *fiber.Ctx, name string) (value string, n int) {
	var lines [][]byte
	if c.App().Server().DisableHeaderNamesNormalizing {
		lines = anyCase(c, name)
	} else {
		lines = c.Request().Header.PeekAll(name)
	}
	switch len(lines) {
	case 0:
		return "", 0
	case 1:
		return utils.UnsafeString(lines[0]), 1
	default:
		return string(bytes.Join(lines, []byte(", "))), len(lines)
	}
}

// anyCase returns all lines of a field whose names are as the client has spelled them.
func anyCase(c *fiber.Ctx, name string) (lines [][]byte) {
	c.Request().Header.VisitAll(func(key, value []byte) {
		if strings.EqualFold(utils.UnsafeString(key), name) {
			lines = append(lines, value)
		}
	})
	return lines
}

// By returns the key of what f finds in a request, under a kind such as "user" (1 to 32 of a-z 0-9 _ -, a letter first).
// A request for which f returns "" has no key: it is answered 400. What f returns is copied: it may be a string of
// fiber's.
func By(kind string, f func(*fiber.Ctx) string) Key { return guard.By(kind, f) }

// ByIP returns the key of the client's address: the peer's; or, if that is one of the trusted proxies, the right-most
// address of X-Forwarded-For that is not. IPv6 addresses count by their /64. A request whose address can't be told, such
// as over a Unix socket, has no key. It never asks fiber's IP, nor looks at its ProxyHeader: see [ByClientIP].
func ByIP(trustedProxies ...netip.Prefix) Key {
	if len(trustedProxies) > 0 {
		return framework.ByIP(trustedProxies...)
	}
	// No string is made of the peer's address first, to be parsed again.
	return guard.ByAppend("ip", func(b []byte, c *fiber.Ctx) []byte { return httpkit.AppendAddr(b, peer(c)) })
}

// ByClientIP returns the key of what fiber's IP says the client's address is, counted as ByIP counts it. Without a
// Config.ProxyHeader that is the peer's. With one fiber believes this header from any peer, so that every client can
// choose its budget, unless EnableTrustedProxyCheck and TrustedProxies say from whom; and of several addresses it takes,
// with EnableIPValidation, the left-most valid one, which is the client's own claim where proxies append: name a header
// that your proxy overwrites. Without EnableIPValidation several addresses are none. A request for which IP is no address
// has no key, nor has one over a Unix socket, unless ProxyHeader told its address.
func ByClientIP() Key {
	return framework.ByAddress(func(c *fiber.Ctx) string {
		ip := c.IP()
		if ip == "0.0.0.0" && !peer(c).IsValid() {
			return "" // what fiber makes of a peer that has no address
		}
		return ip
	})
}

// ByAPIKey returns the key of an API key in the header field of that name; a hash of it is stored. A field that
// comes twice is no key. Unless something
// before has verified the API key, a caller who makes keys up makes a budget with each: let another rule bound ByIP then.
func ByAPIKey(header string) Key { return framework.ByAPIKey(header) }

// ByHeader returns the key of a header field's value, such as a tenant that a gateway has written. A client can write
// what it likes in a field that nothing before verifies or overwrites. A field that comes twice is no key; but of Host,
// User-Agent and Content-Type fiber keeps one line, and doesn't tell that there were others.
func ByHeader(name string) Key { return framework.ByHeader(name) }

// ByRoute returns the key of the request's method and the Path of fiber's Route, usually with And. The pattern is that of
// the route which the middleware is mounted on, app.Get("/items/:id", haltfiber.Limit(…), handler). Under Use, on an app
// or a group, it is no more than the prefix of Use: all requests there share one key per method.
func ByRoute() Key { return framework.ByRoute() }

// Everyone returns the one key that all requests share: for limits that protect the service as a whole.
func Everyone() Key { return guard.Everyone[*fiber.Ctx]() }

// ChargeOn returns a Settle that keeps the cost of requests answered with one of these statuses and gives it back to
// others: ChargeOn(401) counts failed logins.
func ChargeOn(status ...int) func(*fiber.Ctx, Outcome) int64 {
	return guard.ChargeOn[*fiber.Ctx](status...)
}

// Paths returns an Exempt for requests of these paths: exactly, or all below one that ends in "/*". It compares what fiber
// routes by, which is decoded only with Config.UnescapePath, but minds the case and a trailing slash.
func Paths(paths ...string) func(*fiber.Ctx) bool { return framework.Paths(paths...) }
