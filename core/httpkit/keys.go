package httpkit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"

	"github.com/halt-dev/halt/core/guard"
)

// Framework is how an adapter reads a request. All functions are required; what they return need not outlive the
// request. An adapter binds the methods to its own names.
type Framework[R any] struct {
	Context func(R) context.Context
	Method  func(R) string
	Path    func(R) string // the URL's path, decoded
	Route   func(R) string // the route's pattern, or "" where none is known
	Remote  func(R) string // the peer's address and port, as the connection has it
	// Header returns the request's field of this canonical name: "" if it is absent, its lines joined by ", " if there are
	// several.
	Header func(r R, name string) string
}

// ByIP returns the key of the client's address: the peer's; or, if that is one of the trusted proxies, the right-most
// address of X-Forwarded-For that is not. Only what a trusted proxy has written is ever believed. An IPv6 address counts
// by its /64, since one subscriber has that many; an IPv4 address in IPv6 form counts as IPv4.
//
// A request whose address can't be told has no key: the peer is a Unix socket, or the decisive hop is no address.
func (f Framework[R]) ByIP(trustedProxies ...netip.Prefix) guard.Key[R] {
	trusted := make([]netip.Prefix, 0, len(trustedProxies))
	for _, p := range trustedProxies {
		if !p.IsValid() {
			return guard.Invalid[R](fmt.Sprintf("made with valid prefixes, not %v", p))
		}
		trusted = append(trusted, unmap(p))
	}
	return guard.By("ip", func(r R) string {
		forwarded := ""
		if len(trusted) > 0 {
			forwarded = f.Header(r, "X-Forwarded-For")
		}
		return addressKey(f.Remote(r), forwarded, trusted)
	})
}

// ByAddress returns the key of what addr finds out to be the client's address, as ByIP keys it: for a framework's own
// notion of it. What is no address is no key.
func (f Framework[R]) ByAddress(addr func(R) string) guard.Key[R] {
	return guard.By("ip", func(r R) string { return addressKey(addr(r), "", nil) })
}

// ByAPIKey returns the key of an API key in the header field of that name. What is stored is a hash of it: its SHA-256,
// cut to 128 bits.
//
// Unless something before has verified the API key, a caller who makes keys up makes a budget with each: let another
// rule bound ByIP then.
func (f Framework[R]) ByAPIKey(header string) guard.Key[R] {
	return f.ofHeader("apikey", header, func(v string) string {
		sum := sha256.Sum256([]byte(v))
		return hex.EncodeToString(sum[:16])
	})
}

// ByHeader returns the key of a header field's value, such as a tenant that a gateway has written. A client can write
// what it likes in a field that nothing before verifies or overwrites.
func (f Framework[R]) ByHeader(name string) guard.Key[R] {
	return f.ofHeader("header", name, func(v string) string { return canonical(name) + "=" + v })
}

func (f Framework[R]) ofHeader(kind, name string, value func(string) string) guard.Key[R] {
	if !validField(name) {
		return guard.Invalid[R](fmt.Sprintf("made with a header field's name, not %q", name))
	}
	name = canonical(name)
	return guard.By(kind, func(r R) string {
		v := strings.Trim(f.Header(r, name), " \t")
		if v == "" {
			return ""
		}
		return value(v)
	})
}

// ByRoute returns the key of the route: its method and pattern, so that each route has a budget of its own, usually with
// And. Requests that match no route share one.
func (f Framework[R]) ByRoute() guard.Key[R] {
	return guard.By("route", func(r R) string {
		route := f.Route(r)
		if route == "" {
			route = "*"
		}
		return f.Method(r) + " " + route
	})
}

// Paths returns an Exempt for requests of these paths: exactly, or all below one that ends in "/*".
func (f Framework[R]) Paths(paths ...string) func(R) bool {
	exact := make(map[string]bool, len(paths))
	var below []string
	for _, p := range paths {
		if prefix, ok := strings.CutSuffix(p, "*"); ok && strings.HasSuffix(prefix, "/") {
			below = append(below, prefix)
		} else {
			exact[p] = true
		}
	}
	return func(r R) bool {
		path := f.Path(r)
		if exact[path] {
			return true
		}
		for _, prefix := range below {
			// A router that cleans paths would serve /static/../api by what is limited.
			if strings.HasPrefix(path, prefix) && !strings.Contains(path, "..") {
				return true
			}
		}
		return false
	}
}
