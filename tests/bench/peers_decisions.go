package main

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/didip/tollbooth/v8"
	"github.com/go-chi/httprate"
	"github.com/labstack/echo/v4/middleware"
	"github.com/sethvargo/go-limiter/memorystore"
	"github.com/throttled/throttled/v2"
	"github.com/throttled/throttled/v2/store/memstore"
	"github.com/ulule/limiter/v3"
	"github.com/ulule/limiter/v3/drivers/store/memory"
	"golang.org/x/time/rate"
)

// deciders are the contenders for a decision: Halt first, then its peers, each called as its own documentation does, by
// its cheapest call that decides.
func deciders() []decider {
	return append(haltDeciders(), []decider{
		{
			Name: "sethvargo/go-limiter", Module: "github.com/sethvargo/go-limiter",
			How: "`memorystore`'s `Take`: a fixed window from the first request on",
			New: newSethvargo,
		},
		{
			Name: "x/time/rate in a map", Module: "golang.org/x/time",
			How: "the common idiom: a mutex, a `map[string]*rate.Limiter`, `Allow`; nothing ever leaves the map: token bucket",
			New: newTimeRate,
		},
		{
			Name: "ulule/limiter", Module: "github.com/ulule/limiter/v3",
			How: "`Limiter.Get` on its memory store: a fixed window from the first request on",
			New: newUlule,
		},
		{
			Name: "throttled", Module: "github.com/throttled/throttled/v2",
			How: "`GCRARateLimiterCtx.RateLimitCtx` on `memstore.NewCtx(0)`, without its LRU, which is slower: GCRA",
			New: newThrottled,
		},
		{
			Name: "httprate", Module: "github.com/go-chi/httprate",
			How: "the local counter, asked as its `RateLimiter.OnLimit` asks it, without the headers: an approximated sliding window",
			New: newHTTPRate,
		},
		{
			Name: "echo's memory store", Module: "github.com/labstack/echo/v4",
			How: "`RateLimiterMemoryStore.Allow`: token bucket, entries leave after `ExpiresIn`, here the window",
			New: newEcho,
		},
		{
			Name: "tollbooth", Module: "github.com/didip/tollbooth/v8",
			How: "`Limiter.LimitReached`: token bucket",
			New: newTollbooth,
		},
		{
			Name: loopName,
			How:  "what the measuring loop itself costs; it is part of every figure",
			New: func(rule, int) (take, func()) {
				return func(key string) bool { return key != "" }, func() {}
			},
		},
	}...)
}

func nothing() {}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func perSecond(r rule) rate.Limit { return rate.Limit(float64(r.Limit) / r.Window.Seconds()) }

func newSethvargo(r rule, keys int) (take, func()) {
	ctx := context.Background()
	s := must(memorystore.New(&memorystore.Config{Tokens: uint64(r.Limit), Interval: r.Window, InitialAlloc: keys}))
	return func(key string) bool {
		_, _, _, ok, err := s.Take(ctx, key)
		return ok && err == nil
	}, func() { _ = s.Close(ctx) }
}

func newTimeRate(r rule, _ int) (take, func()) {
	var mu sync.Mutex
	m := map[string]*rate.Limiter{}
	return func(key string) bool {
		mu.Lock()
		l, ok := m[key]
		if !ok {
			l = rate.NewLimiter(perSecond(r), int(r.Limit))
			m[key] = l
		}
		mu.Unlock()
		return l.Allow()
	}, nothing
}

func newUlule(r rule, _ int) (take, func()) {
	ctx := context.Background()
	l := limiter.New(memory.NewStore(), limiter.Rate{Limit: r.Limit, Period: r.Window})
	return func(key string) bool {
		c, err := l.Get(ctx, key)
		return err == nil && !c.Reached
	}, nothing
}

func throttledLimiter(r rule) *throttled.GCRARateLimiterCtx {
	return must(throttled.NewGCRARateLimiterCtx(must(memstore.NewCtx(0)), throttled.RateQuota{
		MaxRate: throttled.PerDuration(int(r.Limit), r.Window), MaxBurst: int(r.Limit) - 1,
	}))
}

func newThrottled(r rule, _ int) (take, func()) {
	ctx := context.Background()
	l := throttledLimiter(r)
	return func(key string) bool {
		limited, _, err := l.RateLimitCtx(ctx, key, 1)
		for err != nil { // ten lost swaps of one key, met in parallel: ask again, as a caller that wants an answer must
			limited, _, err = l.RateLimitCtx(ctx, key, 1)
		}
		return !limited
	}, nothing
}

// httprate decides only together with the headers. This is its OnLimit without them: the same lock, the same two looks at
// the clock, the same two calls.
func newHTTPRate(r rule, _ int) (take, func()) {
	var mu sync.Mutex
	counter := httprate.NewLocalLimitCounter(r.Window)
	l := httprate.NewRateLimiter(int(r.Limit), r.Window, httprate.WithLimitCounter(counter))
	return func(key string) bool {
		current := time.Now().UTC().Truncate(r.Window)
		mu.Lock()
		defer mu.Unlock()
		_, used, err := l.Status(key)
		if err != nil || int(math.Round(used))+1 > int(r.Limit) {
			return false
		}
		return counter.IncrementBy(key, current, 1) == nil
	}, nothing
}

func newEcho(r rule, _ int) (take, func()) {
	s := middleware.NewRateLimiterMemoryStoreWithConfig(middleware.RateLimiterMemoryStoreConfig{
		Rate: perSecond(r), Burst: int(r.Limit), ExpiresIn: r.Window,
	})
	return func(key string) bool {
		ok, err := s.Allow(key)
		return ok && err == nil
	}, nothing
}

func newTollbooth(r rule, _ int) (take, func()) {
	l := tollbooth.NewLimiter(float64(perSecond(r)), nil).SetBurst(int(r.Limit))
	return func(key string) bool { return !l.LimitReached(key) }, nothing
}
