package main

import (
	"context"
	"strconv"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/ulule/limiter/v3"
	ululeredis "github.com/ulule/limiter/v3/drivers/store/redis"
)

const (
	ululeOnRedis    = "ulule/limiter"
	redisRateName   = "redis_rate"
	rueidisBareGCRA = "rueidis, a bare GCRA script"
)

func redisPeers() []redisDecider {
	return []redisDecider{
		{
			Name: ululeOnRedis, Module: "github.com/ulule/limiter/v3",
			How: "`Limiter.Get` on its redis store: a fixed window from the first request on, one script a decision",
			New: newUluleRedis,
		},
		{
			Name: redisRateName, Module: "github.com/go-redis/redis_rate/v10",
			How: "`Limiter.Allow`: GCRA in floating point, one script a decision",
			New: newRedisRate,
		},
		{
			Name: rueidisBareGCRA, Module: "github.com/redis/rueidis",
			How: "no limiter, but about the least that one can be: a script of a few lines, by the fastest Redis client, which " +
				"pipelines the calls of all goroutines over its connections by itself",
			New: newRueidisGCRA,
		},
	}
}

func newUluleRedis(r rule, addr string) (take, func(), error) {
	c := redis.NewClient(&redis.Options{Addr: addr})
	s, err := ululeredis.NewStore(c)
	if err != nil {
		return nil, nil, err
	}
	l, ctx := limiter.New(s, limiter.Rate{Limit: r.Limit, Period: r.Window}), context.Background()
	return func(key string) bool {
		c, err := l.Get(ctx, key)
		return err == nil && !c.Reached
	}, func() { _ = c.Close() }, nil
}

func newRedisRate(r rule, addr string) (take, func(), error) {
	c := redis.NewClient(&redis.Options{Addr: addr})
	l, ctx := redis_rate.NewLimiter(c), context.Background()
	limit := redis_rate.Limit{Rate: int(r.Limit), Burst: int(r.Limit), Period: r.Window}
	return func(key string) bool {
		res, err := l.Allow(ctx, key, limit)
		return err == nil && res.Allowed > 0
	}, func() { _ = c.Close() }, nil
}

// gcra is the generic cell rate algorithm on Redis's clock, in µs.
const gcra = `
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local tat = tonumber(redis.call('GET', KEYS[1]) or now)
if tat < now then tat = now end
local emission, tolerance = tonumber(ARGV[1]), tonumber(ARGV[2])
tat = tat + emission
if tat - now > tolerance then return {0, tat - tolerance - now} end
redis.call('SET', KEYS[1], string.format('%.6f', tat), 'PX', string.format('%.0f', math.ceil((tat - now) / 1000) + 1))
return {1, tolerance - (tat - now)}
`

func newRueidisGCRA(r rule, addr string) (take, func(), error) {
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, DisableCache: true})
	if err != nil {
		return nil, nil, err
	}
	script, ctx := rueidis.NewLuaScript(gcra), context.Background()
	window := r.Window.Microseconds()
	args := []string{strconv.FormatFloat(float64(window)/float64(r.Limit), 'f', -1, 64), strconv.FormatInt(window, 10)}
	return func(key string) bool {
		v, err := script.Exec(ctx, c, []string{"gcra:" + key}, args).AsIntSlice()
		return err == nil && v[0] == 1
	}, c.Close, nil
}
