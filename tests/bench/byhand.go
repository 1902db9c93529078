package main

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gofiber/fiber/v2"
	"github.com/labstack/echo/v4"
	"github.com/valyala/fasthttp"
)

// Two handlers are no contenders: they show what a middleware costs that does nothing but for this one rule in this one
// place, and writes RateLimit-Policy and RateLimit in the shortest way there is. The floor finds the client's counter in a
// map and adds one to it, without a clock, so that no window ever ends: no middleware could do less. That by hand asks
// Halt's Limiter: what Halt's middleware costs above it is the price of rules, keys and chains of any kind.
const (
	howFloor = "written by hand, the least there could be: a mutex, a map, a counter that never starts afresh, no clock; " +
		"RateLimit-Policy from memory that all answers share, RateLimit by strconv"
	howByHand = "the floor, but it asks `Limiter.Allow` on the memory store, by a key with its kind"
)

// A left counts a request by key, and tells how many are left and when all are back; below 0 it is one too many.
type left[K comparable] func(key K) (n int64, reset time.Duration)

func counting[K comparable](r rule) left[K] {
	var mu sync.Mutex
	byKey := make(map[K]*int64)
	return func(key K) (int64, time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		n := byKey[key]
		if n == nil {
			n = new(int64)
			byKey[key] = n
		}
		*n++
		return r.Limit - *n, r.Window
	}
}

func limiting[K comparable](r rule) left[K] {
	ctx, l, p := context.Background(), haltLimiter(clients), haltPolicy(r)
	return func(key K) (int64, time.Duration) {
		var b [32]byte
		k := append(b[:0], "ip:"...)
		switch key := any(key).(type) {
		case string:
			k = append(k, key...)
		case netip.Addr:
			k = key.AppendTo(k)
		}
		d, err := l.Allow(ctx, p, string(k))
		if err != nil || !d.Allowed {
			return -1, d.RetryAfter
		}
		return d.Remaining, d.ResetAfter
	}
}

const byHandPolicy = `"api";q=10000000;w=86400`

var byHandPolicyLines = []string{byHandPolicy}

// appendRateLimit appends the value of RateLimit.
func appendRateLimit(b []byte, n int64, reset time.Duration) []byte {
	b = strconv.AppendInt(append(b, `"api";r=`...), max(n, 0), 10)
	return strconv.AppendInt(append(b, ";t="...), int64(reset/time.Second), 10)
}

// byHandHeaders writes the fields, and tells whether the request is to go on.
func byHandHeaders(l left[string], h http.Header, r *http.Request) bool {
	addr := r.RemoteAddr
	if i := strings.LastIndexByte(addr, ':'); i >= 0 {
		addr = addr[:i]
	}
	n, reset := l(addr)
	var b [48]byte
	h["Ratelimit-Policy"] = byHandPolicyLines
	h["Ratelimit"] = []string{string(appendRateLimit(b[:0], n, reset))}
	return n >= 0
}

// byHand are both handlers of each framework.
var byHand = map[string][]handler{
	"gin":      byHandHTTP(byHandGin),
	"net/http": byHandHTTP(func(l left[string]) http.Handler { return byHandMiddleware(l)(answer()) }),
	"echo":     byHandHTTP(byHandEcho),
	"fiber": {
		{Name: byHandName, How: howByHand, Fast: func(r rule) fasthttp.RequestHandler { return byHandFiber(limiting[netip.Addr](r)) }},
		{Name: floorName, How: howFloor, Fast: func(r rule) fasthttp.RequestHandler { return byHandFiber(counting[netip.Addr](r)) }},
	},
	"chi": byHandHTTP(func(l left[string]) http.Handler { return chiServer(byHandMiddleware(l)) }),
}

func byHandHTTP(start func(left[string]) http.Handler) []handler {
	return []handler{
		{Name: byHandName, How: howByHand, New: func(r rule) http.Handler { return start(limiting[string](r)) }},
		{Name: floorName, How: howFloor, New: func(r rule) http.Handler { return start(counting[string](r)) }},
	}
}

func byHandMiddleware(l left[string]) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !byHandHeaders(l, w.Header(), r) {
				w.WriteHeader(http.StatusTooManyRequests)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

func byHandGin(l left[string]) http.Handler {
	return ginServer(func(c *gin.Context) {
		if !byHandHeaders(l, c.Writer.Header(), c.Request) {
			c.AbortWithStatus(http.StatusTooManyRequests)
		}
	})
}

func byHandEcho(l left[string]) http.Handler {
	return echoServer(func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if !byHandHeaders(l, c.Response().Header(), c.Request()) {
				return echo.ErrTooManyRequests
			}
			return next(c)
		}
	})
}

func byHandFiber(l left[netip.Addr]) fasthttp.RequestHandler {
	return fiberServer(func(c *fiber.Ctx) error {
		n, reset := l(c.Context().RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap())
		var b [48]byte
		h := &c.Response().Header
		h.SetCanonical([]byte("Ratelimit-Policy"), []byte(byHandPolicy))
		h.SetCanonical([]byte("Ratelimit"), appendRateLimit(b[:0], n, reset))
		if n < 0 {
			return fiber.ErrTooManyRequests
		}
		return c.Next()
	})
}
