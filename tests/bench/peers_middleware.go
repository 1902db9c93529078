package main

import (
	"net"
	"net/http"

	ginratelimit "github.com/JGLTechnologies/gin-rate-limit"
	"github.com/didip/tollbooth/v8"
	toll "github.com/didip/tollbooth/v8/limiter"
	"github.com/gin-gonic/gin"
	"github.com/go-chi/httprate"
	"github.com/sethvargo/go-limiter/httplimit"
	"github.com/sethvargo/go-limiter/memorystore"
	"github.com/throttled/throttled/v2"
	"github.com/ulule/limiter/v3"
	ulule "github.com/ulule/limiter/v3/drivers/middleware/gin"
	"github.com/ulule/limiter/v3/drivers/store/memory"
)

// frameworks are those whose middleware is compared: each with its bare self first, then Halt, the peers, and last what is
// written by hand.
func frameworks() []framework {
	fs := []framework{
		{Name: "gin", Handlers: append(append([]handler{{
			Name: bareName, Module: "github.com/gin-gonic/gin", How: "one route, no middleware",
			New: func(rule) http.Handler { return ginServer() },
		}}, haltGin()...), ginPeers()...)},
		{Name: "net/http", Handlers: append(append([]handler{{
			Name: bareName, How: "a handler, no router",
			New: func(rule) http.Handler { return answer() },
		}}, haltHTTP()...), httpPeers()...)},
		echoFramework(), fiberFramework(), chiFramework(),
	}
	for i := range fs {
		fs[i].Handlers = append(fs[i].Handlers, byHand[fs[i].Name]...)
	}
	return fs
}

// answer is the handler behind every net/http contender.
func answer() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
}

// ginServer is gin with the given middleware in front of the same. It trusts no proxy, as gin's documentation advises.
func ginServer(use ...gin.HandlerFunc) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	if err := e.SetTrustedProxies(nil); err != nil {
		panic(err)
	}
	e.Use(use...)
	e.GET("/items", func(c *gin.Context) { c.Status(http.StatusNoContent) })
	return e
}

func ginPeers() []handler {
	return []handler{
		{
			Name: "ulule/limiter", Module: "github.com/ulule/limiter/v3",
			How: "its gin middleware with its defaults: X-RateLimit-Limit, -Remaining, -Reset",
			New: func(r rule) http.Handler {
				return ginServer(ulule.NewMiddleware(limiter.New(memory.NewStore(), limiter.Rate{Limit: r.Limit, Period: r.Window})))
			},
		},
		{
			Name: "JGLTechnologies/gin-rate-limit", Module: "github.com/JGLTechnologies/gin-rate-limit",
			How: "with its defaults but the key, the client's address alone: X-Rate-Limit-Limit, -Remaining, -Reset; " +
				"reads and writes in two steps, so concurrent requests can pass its limit",
			New: func(r rule) http.Handler {
				return ginServer(ginratelimit.RateLimiter(
					ginratelimit.InMemoryStore(&ginratelimit.InMemoryOptions{Rate: r.Window, Limit: uint(r.Limit)}),
					&ginratelimit.Options{KeyFunc: (*gin.Context).ClientIP}))
			},
		},
	}
}

func httpPeers() []handler {
	return []handler{
		{
			Name: "httprate", Module: "github.com/go-chi/httprate",
			How: howHTTPRate,
			New: func(r rule) http.Handler {
				return httpRate(r)(answer())
			},
		},
		{
			Name: "throttled", Module: "github.com/throttled/throttled/v2",
			How: "`HTTPRateLimiterCtx`, `VaryBy{RemoteAddr: true}`: X-RateLimit-Limit, -Remaining, -Reset",
			New: func(r rule) http.Handler {
				l := throttled.HTTPRateLimiterCtx{
					RateLimiter: throttledLimiter(r), VaryBy: &throttled.VaryBy{RemoteAddr: true},
				}
				return l.RateLimit(answer())
			},
		},
		{
			Name: "sethvargo/go-limiter", Module: "github.com/sethvargo/go-limiter",
			How: "`httplimit` with `IPKeyFunc()`: X-RateLimit-Limit, -Remaining, -Reset",
			New: func(r rule) http.Handler {
				s := must(memorystore.New(&memorystore.Config{Tokens: uint64(r.Limit), Interval: r.Window}))
				return must(httplimit.NewMiddleware(s, httplimit.IPKeyFunc())).Handle(answer())
			},
		},
		{
			Name: "tollbooth", Module: "github.com/didip/tollbooth/v8",
			How: "`HTTPMiddleware`, IPLookup RemoteAddr, the URL ignored: X-Rate-Limit-* and RateLimit-*, seven in all",
			New: func(r rule) http.Handler {
				l := tollbooth.NewLimiter(float64(perSecond(r)), nil).SetBurst(int(r.Limit)).SetIgnoreURL(true).
					SetIPLookup(toll.IPLookup{Name: "RemoteAddr"})
				return tollbooth.HTTPMiddleware(l)(answer())
			},
		},
	}
}

const howHTTPRate = "`LimitBy` the peer's address by `CanonicalizeIP`: X-RateLimit-Limit, -Remaining, -Reset"

func httpRate(r rule) func(http.Handler) http.Handler {
	return httprate.LimitBy(int(r.Limit), r.Window, func(r *http.Request) (string, error) {
		ip, _, err := net.SplitHostPort(r.RemoteAddr)
		return httprate.CanonicalizeIP(ip), err
	})
}
