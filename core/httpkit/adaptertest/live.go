package adaptertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
)

// This file has clients that leave, and clients that all come at once.

// inside is a policy under which one may be inside at once, and its rule.
func (w *world[R, M, H]) inside() (halt.Policy, guard.Rule[R]) {
	p := halt.Policy{Name: "inside", Algorithm: halt.InFlight, Limit: 1, Window: time.Hour}
	return p, guard.Rule[R]{Policy: p, Key: w.ByRoute()}
}

// nobodyInside returns an error unless all of a route's places were given back n times.
func (w *world[R, M, H]) nobodyInside(n int) error {
	return w.store.await("inside", halt.Credit, n, w.patience)
}

// leavesInDelay: a client hangs up while its request waits in a leaky bucket.
func (w *world[R, M, H]) leavesInDelay() error {
	// Longer than the suite waits for its end; or, where nobody tells that the client has left, what can be waited for.
	delay := 2 * w.patience
	if !w.Disconnects {
		delay = 100 * time.Millisecond
	}
	queue := halt.Policy{Name: "queue", Algorithm: halt.LeakyBucket, Limit: 1, Window: delay, Burst: 1}
	_, inside := w.inside()
	outcomes := make(chan guard.Outcome, 2)
	var ran atomic.Int64
	w.routeTo(func(R) Reply { ran.Add(1); return Text(http.StatusOK, "ok\n") }, "GET", "/", w.rules(
		guard.Rule[R]{Policy: queue, Key: w.ByIP()},
		inside,
		w.settled(outcomes),
	))
	c := w.open()
	defer c.close()
	if _, err := c.get("/"); err != nil {
		return err
	}
	if err := w.settles(outcomes, http.StatusOK); err != nil {
		return err
	}
	leaver := c.another()
	if err := leaver.send("GET", "/", nil, ""); err != nil {
		return err
	}
	if err := w.store.await("queue", halt.Take, 2, w.patience); err != nil {
		return err
	}
	leaver.close()
	if err := w.nobodyInside(2); err != nil {
		return fmt.Errorf("the place in flight of a client that left: %w", err)
	}
	status := 0
	if w.Disconnects {
		status = guard.StatusClientClosed
	}
	if err := w.settles(outcomes, status); err != nil {
		return err
	}
	if n := ran.Load(); w.Disconnects && n != 1 {
		return fmt.Errorf("the handler ran %d times, and only the first of 2 clients waited for it", n)
	}
	return nil
}

// deadlineInDelay: the server itself gives up on a request that waits in a leaky bucket.
func (w *world[R, M, H]) deadlineInDelay() error {
	queue := halt.Policy{Name: "queue", Algorithm: halt.LeakyBucket, Limit: 1, Window: 2 * w.patience, Burst: 1}
	_, inside := w.inside()
	var ran atomic.Int64
	handle := func(R) Reply { ran.Add(1); return Text(http.StatusOK, "ok\n") }
	limit := w.rules(guard.Rule[R]{Policy: queue, Key: w.ByIP()}, inside)
	w.routeTo(handle, "GET", "/", limit)
	w.routeTo(handle, "GET", "/impatient", w.Deadline(500*time.Millisecond), limit) // enough to get as far as the delay
	c := w.open()
	defer c.close()
	if a, err := c.get("/"); err != nil || a.status != "200 OK" {
		return unexpected("without a delay", a, err)
	}
	if a, err := c.get("/impatient"); err != nil || a.status != "503 Service Unavailable" {
		return unexpected("after the deadline", a, err)
	}
	if n := ran.Load(); n != 1 {
		return fmt.Errorf("the handler ran %d times, and only the first of 2 requests was in time", n)
	}
	return w.nobodyInside(2)
}

// leavesInHandler: a client hangs up while its handler runs.
func (w *world[R, M, H]) leavesInHandler() error {
	p, rule := w.inside()
	w.route("GET", "/", w.rules(rule, guard.Rule[R]{Policy: perMinute("settled", 9), Key: w.ByIP(), Settle: w.ChargeOn(http.StatusUnauthorized)}))
	c := w.open()
	leaver := c.another()
	defer c.close()
	if err := leaver.send("GET", "/", []string{"X-Hold: door"}, ""); err != nil {
		return err
	}
	g := w.gate("door")
	select {
	case <-g.entered:
	case <-time.After(w.patience):
		return errors.New("its handler never ran")
	}
	leaver.close()
	if a, err := c.get("/"); err != nil || a.status[:3] != "429" {
		return unexpected("while the handler of a client that has left is inside of "+p.Name, a, err)
	}
	close(g.opened)
	if err := w.nobodyInside(1); err != nil {
		return err
	}
	if err := w.store.await("settled", halt.Credit, 1, w.patience); err != nil {
		return fmt.Errorf("the request of a client that left isn't settled: %w", err)
	}
	a, err := c.get("/")
	if err != nil || a.status[:3] != "200" {
		return unexpected("when it has left", a, err)
	}
	return nil
}

// crowd: a thousand requests at once, of which exactly the bound is admitted.
func (w *world[R, M, H]) crowd() error {
	const clients, connections, limit = 1000, 100, 137
	var ran atomic.Int64
	w.routeTo(func(R) Reply { ran.Add(1); return Text(http.StatusOK, "ok\n") }, "GET", "/",
		w.rules(guard.Rule[R]{Policy: halt.Policy{Name: "crowd", Limit: limit, Window: time.Hour}, Key: w.ByIP()}))
	url := w.Serve(w.tb, w.site)
	transport := &http.Transport{MaxConnsPerHost: connections, MaxIdleConnsPerHost: connections}
	defer transport.CloseIdleConnections()
	hc := &http.Client{Transport: transport, Timeout: 2 * w.patience}

	var statuses [600]atomic.Int64
	var failure atomic.Pointer[error]
	start := make(chan struct{})
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			<-start
			status, err := statusOf(hc, url)
			if err != nil {
				failure.Store(&err)
				return
			}
			statuses[status].Add(1)
		})
	}
	close(start)
	all.Wait()
	if err := failure.Load(); err != nil {
		return *err
	}
	ok, refused := statuses[http.StatusOK].Load(), statuses[http.StatusTooManyRequests].Load()
	if ok != limit || refused != clients-limit || ran.Load() != limit {
		return fmt.Errorf("of %d requests at once %d were answered 200, %d 429, and the handler ran %d times; the limit is %d",
			clients, ok, refused, ran.Load(), limit)
	}
	return nil
}

func statusOf(hc *http.Client, url string) (int, error) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	res, err := hc.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }() // it was read
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
}

// keys: what is counted is the same in all adapters, so that they share budgets on one store, and is nobody's buffer.
func (w *world[R, M, H]) keys() error {
	user := w.By("user", func(r R) string { return w.Header(r, "X-User") })
	for name, key := range map[string]guard.Key[R]{
		"of-ip": w.ByIP(), "of-proxied": w.ByIP(loopback), "of-apikey": w.ByAPIKey("X-Api-Key"), "of-tenant": w.ByHeader("x-tenant"),
		"of-user": user, "of-all": w.Everyone(), "of-both": w.ByHeader("X-Tenant").And(user), "of-either": user.Or(w.ByIP()),
	} {
		w.route("GET", "/"+name+"/{id}", w.rules(guard.Rule[R]{Policy: perMinute(name, 1000), Key: key}))
	}
	w.route("GET", "/of-route/{id}", w.rules(guard.Rule[R]{Policy: perMinute("of-route", 1000), Key: w.ByRoute()}))
	w.site.NotFound = w.handle
	want := []struct{ policy, key string }{
		{"of-ip", "ip:127.0.0.1"},
		{"of-proxied", "ip:2001:db8:1:2::/64"},
		{"of-apikey", "apikey:"}, // and its hash
		{"of-tenant", "header:X-Tenant=tenant-of-0"},
		{"of-user", "user:user-of-0"},
		{"of-all", "everyone"},
		{"of-both", "27:header:X-Tenant=tenant-of-0&user:user-of-0"},
		{"of-either", "user:user-of-0"},
		{"of-route", "route:GET "}, // and the framework's pattern
	}
	c := w.open()
	defer c.close()
	const rounds = 100
	for i := range rounds {
		for _, k := range want {
			a, err := c.get(fmt.Sprintf("/%s/id-of-%d", k.policy, i), fmt.Sprintf("X-User: user-of-%d", i), fmt.Sprintf("X-Tenant: tenant-of-%d", i),
				fmt.Sprintf("X-Api-Key: key-of-%d", i), fmt.Sprintf("X-Forwarded-For: 2001:db8:1:%x::1", i+2))
			if err != nil || a.status[:3] != "200" {
				return unexpected(fmt.Sprintf("%s, round %d", k.policy, i), a, err)
			}
		}
	}
	seen, _ := w.store.charges()
	if len(seen) != rounds*len(want) {
		return fmt.Errorf("the store saw %d charges of %d requests", len(seen), rounds*len(want))
	}
	for i, s := range seen {
		if s.text() != s.copied {
			return fmt.Errorf("what the limiter was asked for %q later read %q: it aliases a buffer of the framework's", s.copied, s.text())
		}
		if strings.Contains(s.route, "id-of-") {
			return fmt.Errorf("the route that observers are told is a path, %q: no pattern", s.route)
		}
		if i >= len(want) {
			continue
		}
		if k := want[i]; s.Policy.Name != k.policy || !strings.HasPrefix(s.Key, k.key) {
			return fmt.Errorf("the key under policy %s is %q, not %q", s.Policy.Name, s.Key, k.key)
		}
	}
	return nil
}
