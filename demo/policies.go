package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// The policies of the demo. Their windows are long, so that a run of -drive meets none of them twice.
var (
	tokenBucket   = halt.Policy{Name: "token-bucket", Limit: 10, Window: time.Hour}
	leakyBucket   = halt.Policy{Name: "leaky-bucket", Limit: 2, Window: time.Second, Algorithm: halt.LeakyBucket, Burst: 3}
	fixedWindow   = halt.Policy{Name: "fixed-window", Limit: 10, Window: time.Hour, Algorithm: halt.FixedWindow}
	slidingWindow = halt.Policy{Name: "sliding-window", Limit: 10, Window: time.Hour, Algorithm: halt.SlidingWindow}
	inFlight      = halt.Policy{Name: "in-flight", Limit: 2, Window: time.Minute, Algorithm: halt.InFlight}

	loginFailures = halt.Policy{
		Name: "login-failures", Limit: 3, Window: time.Minute, Algorithm: halt.SlidingWindow, Block: 5 * time.Minute,
	}
	searchCost   = halt.Policy{Name: "search", Limit: 100, Window: time.Hour}
	monthlyQuota = halt.Policy{
		Name: "monthly", Limit: 12, Algorithm: halt.FixedWindow, Period: halt.Period{Unit: halt.Month, Zone: "UTC"},
	}
	generous = halt.Policy{Name: "generous", Limit: 1000, Window: time.Hour}
	tighter  = halt.Policy{Name: "tighter", Limit: 3, Window: time.Hour} // on trial, as a shadow
)

// simpleRoutes are limited by one policy, per client address.
var simpleRoutes = []struct {
	path   string
	policy halt.Policy
}{
	{"/token-bucket", tokenBucket},
	{"/leaky-bucket", leakyBucket},
	{"/fixed-window", fixedWindow},
	{"/sliding-window", slidingWindow},
}

// service is what the handlers of all frameworks share.
type service struct {
	limiter   *halt.Limiter
	plans     *planDatabase
	planCache *halt.PolicyCache[string]
}

// users are those that the demo knows, by API key.
var users = map[string]string{"free-key": "frida", "pro-key": "paula"}

// password is everyone's.
const password = "correct"

// planDatabase is a slow database of which user has which plan.
type planDatabase struct {
	latency time.Duration
	loads   atomic.Int64
}

func newPlanDatabase(latency time.Duration) *planDatabase { return &planDatabase{latency: latency} }

// load is the loader of a PolicyCache: users wait for the database only once.
func (d *planDatabase) load(ctx context.Context, user string) (halt.Policy, error) {
	d.loads.Add(1)
	select {
	case <-time.After(d.latency):
	case <-ctx.Done():
		return halt.Policy{}, ctx.Err()
	}
	switch user {
	case "frida":
		return halt.Policy{Name: "plan", Plan: "free", Limit: 5, Window: time.Hour}, nil
	case "paula":
		return halt.Policy{Name: "plan", Plan: "pro", Limit: 20, Window: time.Hour}, nil
	}
	return halt.Policy{}, fmt.Errorf("no user %q", user)
}

// login returns the status of a login.
func login(given string) int {
	if given != password {
		return http.StatusUnauthorized
	}
	return http.StatusOK
}

// searchSize returns what a search costs: as much as it asks for, from 1 on.
func searchSize(asked string) int64 {
	n, err := strconv.ParseInt(asked, 10, 64)
	if err != nil || n < 1 {
		return 1
	}
	return n
}

// hold occupies a place in flight: it answers at once, and stays until the client leaves, or for a while.
func hold(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(http.StatusOK)
	_, _ = fmt.Fprintln(w, "inside") // the client may be gone
	_ = http.NewResponseController(w).Flush()
	select {
	case <-time.After(5 * time.Second):
	case <-r.Context().Done():
	}
}
