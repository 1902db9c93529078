package main

import (
	"context"
	"net/http"

	"github.com/valyala/fasthttp"

	haltchi "github.com/halt-dev/halt/adapters/chi"
	haltecho "github.com/halt-dev/halt/adapters/echo"
	haltfiber "github.com/halt-dev/halt/adapters/fiber"
	haltgin "github.com/halt-dev/halt/adapters/gin"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/halthttp"
	"github.com/halt-dev/halt/core/memory"
)

// haltLimiter is Halt as its README shows it, with room for the keys, so that none is evicted.
func haltLimiter(keys int) *halt.Limiter {
	return halt.New(memory.New(&memory.Options{MaxKeys: max(2*keys, 1_000_000)}), nil)
}

func haltPolicy(r rule) halt.Policy {
	return halt.Policy{Name: "api", Limit: r.Limit, Window: r.Window}
}

func haltDeciders() []decider {
	return []decider{{
		Name: haltName, Module: ours + "core",
		How: "`Limiter.Allow` on the memory store, MaxKeys twice the keys: token bucket",
		New: func(r rule, keys int) (take, func()) {
			ctx, l, p := context.Background(), haltLimiter(keys), haltPolicy(r)
			return func(key string) bool {
				d, err := l.Allow(ctx, p, key)
				return err == nil && d.Allowed
			}, nothing
		},
	}}
}

func haltGin() []handler {
	return []handler{{
		Name: haltName, Module: ours + "adapters/gin",
		How: "`haltgin.Limit` with `ByIP()`: RateLimit-Policy, RateLimit",
		New: func(r rule) http.Handler {
			return ginServer(haltgin.Limit(haltLimiter(clients), haltPolicy(r), haltgin.ByIP()))
		},
	}}
}

func haltHTTP() []handler {
	return []handler{{
		Name: haltName, Module: ours + "core",
		How: "`halthttp.Limit` with `ByIP()`: RateLimit-Policy, RateLimit",
		New: func(r rule) http.Handler {
			return halthttp.Limit(haltLimiter(clients), haltPolicy(r), halthttp.ByIP())(answer())
		},
	}}
}

func haltEcho() []handler {
	return []handler{{
		Name: haltName, Module: ours + "adapters/echo",
		How: "`haltecho.Limit` with `ByIP()`: RateLimit-Policy, RateLimit",
		New: func(r rule) http.Handler {
			return echoServer(haltecho.Limit(haltLimiter(clients), haltPolicy(r), haltecho.ByIP()))
		},
	}}
}

func haltFiber() []handler {
	return []handler{{
		Name: haltName, Module: ours + "adapters/fiber",
		How: "`haltfiber.Limit` with `ByIP()`: RateLimit-Policy, RateLimit",
		Fast: func(r rule) fasthttp.RequestHandler {
			return fiberServer(haltfiber.Limit(haltLimiter(clients), haltPolicy(r), haltfiber.ByIP()))
		},
	}}
}

func haltChi() []handler {
	return []handler{{
		Name: haltName, Module: ours + "adapters/chi",
		How: "`haltchi.Limit` with `ByIP()`: RateLimit-Policy, RateLimit",
		New: func(r rule) http.Handler {
			return chiServer(haltchi.Limit(haltLimiter(clients), haltPolicy(r), haltchi.ByIP()))
		},
	}}
}
