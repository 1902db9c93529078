package httpkit

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"github.com/halt-dev/halt/core/guard"
)

// Framework is how an adapter reads a request. All functions are required; what they return need not outlive the
// request. An adapter binds the methods to its own names.
type Framework[R any] struct {
	Method func(R) string
	Path   func(R) string // the URL's path, as the router compares it
	Route  func(R) string // the route's pattern, or "" where none is known
	Remote func(R) string // the peer's address and port, as the connection has it
	// Header returns the request's field of this canonical name, its lines joined by ", ", and how many lines it has.
	Header func(r R, name string) (value string, lines int)
}

// ByIP returns the key of the client's address: the peer's; or, if that is one of the trusted proxies, the right-most
// address of X-Forwarded-For that is not. Only what a trusted proxy has written is ever believed. An IPv6 address counts
// by its /64, since one subscriber has that many; an IPv4 address in IPv6 form counts as IPv4.
//
// If all hops are trusted, the farthest is the client. A prefix of length 0 is rejected: whoever trusts everyone lets every
// client choose its budget.
//
// A request whose address can't be told has no key: the peer is a Unix socket, or the decisive hop is no address.
func (f Framework[R]) ByIP(trustedProxies ...netip.Prefix) guard.Key[R] {
	trusted := make([]netip.Prefix, 0, len(trustedProxies))
	for _, p := range trustedProxies {
		if !p.IsValid() || p.Bits() == 0 {
			return guard.Invalid[R](fmt.Sprintf("made with valid prefixes of some length, not %v", p))
		}
		trusted = append(trusted, unmap(p))
	}
	return guard.ByAppend("ip", func(b []byte, r R) []byte {
		forwarded := ""
		if len(trusted) > 0 {
			forwarded, _ = f.Header(r, "X-Forwarded-For")
		}
		return appendAddress(b, f.Remote(r), forwarded, trusted)
	})
}

// ByAddress returns the key of what addr finds out to be the client's address, as ByIP keys it: for a framework's own
// notion of it. What is no address is no key.
func (f Framework[R]) ByAddress(addr func(R) string) guard.Key[R] {
	if addr == nil {
		return guard.Invalid[R]("made with a function")
	}
	return guard.ByAppend("ip", func(b []byte, r R) []byte { return appendAddress(b, addr(r), "", nil) })
}

// ByAPIKey returns the key of an API key in the header field of that name. What is stored is a hash of it: its SHA-256,
// cut to 128 bits. A
// field that comes twice is no key: what has verified it may have looked at the other line. Of Authorization, whose
// credentials can be spelled in several ways, take By of what was parsed from it.
//
// Unless something before has verified the API key, a caller who makes keys up makes a budget with each: let another
// rule bound ByIP then.
func (f Framework[R]) ByAPIKey(header string) guard.Key[R] {
	return f.ofHeader("apikey", header, func(b []byte, v string) []byte {
		sum := sha256.Sum256([]byte(v))
		return hex.AppendEncode(b, sum[:16])
	})
}

// ByHeader returns the key of a header field's value, such as a tenant that a gateway has written. A client can write
// what it likes in a field that nothing before verifies or overwrites.
func (f Framework[R]) ByHeader(name string) guard.Key[R] {
	prefix := canonical(name) + "="
	return f.ofHeader("header", name, func(b []byte, v string) []byte { return append(append(b, prefix...), v...) })
}

func (f Framework[R]) ofHeader(kind, name string, add func(b []byte, v string) []byte) guard.Key[R] {
	if !validField(name) {
		return guard.Invalid[R](fmt.Sprintf("made with a header field's name, not %q", name))
	}
	name = canonical(name)
	return guard.ByAppend(kind, func(b []byte, r R) []byte {
		// What has verified a field that came twice may have looked at another of its lines.
		if v, lines := f.Header(r, name); lines == 1 && strings.Trim(v, " \t") != "" {
			v = strings.Trim(v, " \t")
			return add(b, v)
		}
		return b
	})
}

// ByRoute returns the key of the route: its method and pattern, so that each route has a budget of its own, usually with
// And. Requests that match no route share one per method. All methods that HTTP itself does not define count as one: a
// client that makes methods up gets no budget with each.
func (f Framework[R]) ByRoute() guard.Key[R] {
	return guard.ByAppend("route", func(b []byte, r R) []byte {
		route := f.Route(r)
		if route == "" {
			route = "*"
		}
		return append(append(append(b, method(f.Method(r))...), ' '), route...)
	})
}

func method(m string) string {
	switch m {
	case "", http.MethodGet: // net/http's own clients leave it out
		return http.MethodGet
	case http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodConnect,
		http.MethodOptions, http.MethodTrace:
		return m
	}
	return "*"
}

// Paths returns an Exempt for requests of these paths: exactly, or all below one that ends in "/*", but those with ".." or
// a percent sign, of which a router may think something else. It panics on what would exempt nothing: what does not start with a
// slash, or has a "*" elsewhere. "*" itself is the path of OPTIONS *.
func (f Framework[R]) Paths(paths ...string) func(R) bool {
	exact := make(map[string]bool, len(paths))
	var below []string
	for _, p := range paths {
		prefix, all := strings.CutSuffix(p, "/*")
		if p != "*" && (p == "" || p[0] != '/' || strings.Contains(prefix, "*")) {
			panic(fmt.Sprintf(`halt: Paths needs paths such as "/healthz" or "/static/*", not %q`, p)) //nolint:forbidigo // wrong at wiring
		}
		if all {
			below = append(below, prefix+"/")
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
			// A router that cleans or decodes paths would serve /static/../api or /static%2F.. by what is limited.
			if strings.HasPrefix(path, prefix) && !strings.Contains(path, "..") && !strings.Contains(path, "%") {
				return true
			}
		}
		return false
	}
}
