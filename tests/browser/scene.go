package browser

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
	"github.com/halt-dev/halt/core/stats"
)

// unreliable is a store that fails when it is told to.
type unreliable struct {
	*memory.Store
	down atomic.Bool
}

var errDown = errors.New("connection refused")

func (u *unreliable) Take(ctx context.Context, cs []halt.Charge, ds []halt.Decision) error {
	if u.down.Load() {
		return errDown
	}
	return u.Store.Take(ctx, cs, ds)
}

// kind is one kind of request of the scene.
type kind struct {
	route   string
	share   float64 // of the requests
	charges func(r *rand.Rand) []halt.Charge
}

// scene is a service's traffic as one would meet it: more plans, policies and routes than fit a screen of a phone.
func scene() []kind {
	plan := func(name string, limit int64) halt.Policy {
		return halt.Policy{Name: "api", Plan: name, Limit: limit, Window: time.Minute}
	}
	free, pro, enterprise := plan("free", 60), plan("pro", 600), plan("enterprise", 6000)
	search := halt.Policy{Name: "search-cost", Limit: 2000, Window: time.Minute, Algorithm: halt.SlidingWindow}
	login := halt.Policy{Name: "login-failures", Limit: 5, Window: time.Minute, Algorithm: halt.SlidingWindow, Block: 5 * time.Minute}
	quota := halt.Policy{
		Name: "monthly", Plan: "free", Limit: 150, Algorithm: halt.FixedWindow, Period: halt.Period{Unit: halt.Month, Zone: "Europe/Berlin"},
	}
	trial := halt.Policy{Name: "stricter-trial", Limit: 30, Window: time.Minute}
	// Few users send most.
	user := func(r *rand.Rand) int { return int(math.Pow(r.Float64(), 3) * 60) }
	key := func(n int) string { return "user:" + strconv.Itoa(1000+n*37) }
	return []kind{
		{"GET /v1/items/{id}", 0.6, func(r *rand.Rand) []halt.Charge {
			n := user(r)
			p := []halt.Policy{enterprise, free, pro}[n%3]
			shadow := trial.Charge(key(n), 1)
			shadow.Mode = halt.Shadow
			return []halt.Charge{p.Charge(key(n), 1), shadow}
		}},
		{"POST /v1/search", 0.25, func(r *rand.Rand) []halt.Charge {
			n := user(r)
			return []halt.Charge{pro.Charge(key(n), 1), search.Charge(key(n), 1+r.Int64N(40))}
		}},
		{"POST /login", 0.05, func(r *rand.Rand) []halt.Charge {
			return []halt.Charge{login.Charge("ip:203.0.113."+strconv.Itoa(r.IntN(9)), 1)}
		}},
		{"GET /v1/export", 0.1, func(r *rand.Rand) []halt.Charge {
			return []halt.Charge{quota.Charge(key(user(r)/20), 1)}
		}},
	}
}

// Play sends the scene's traffic through a limiter until ctx ends, up and down as a day's in a minute, with a store that
// fails for a while after 20 seconds.
func Play(ctx context.Context, c *stats.Collector) error {
	store := &unreliable{Store: memory.New(nil)}
	l := halt.New(store, &halt.Options{Observers: []halt.Observer{c}})
	r := rand.New(rand.NewPCG(8, 8))
	kinds := scene()
	start := time.Now()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for owed := 0.0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		t := time.Since(start).Seconds()
		store.down.Store(20 < t && t < 23)
		for owed += 0.02 * (90 + 60*math.Sin(t/8) + 15*math.Sin(t*1.7)); owed >= 1; owed-- {
			at := r.Float64()
			for _, k := range kinds {
				if at -= k.share; at > 0 {
					continue
				}
				call := halt.Call{Charges: k.charges(r), Route: k.route, FailOpen: true}
				if err := l.Do(ctx, &call); err != nil && !errors.Is(err, errDown) {
					return err
				}
				break
			}
		}
	}
}
