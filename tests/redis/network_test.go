package redis

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
	"github.com/halt-dev/halt/core/storetest/testserver"
	haltredis "github.com/halt-dev/halt/stores/redis"
)

// timeout is that of the store. The aim is that no call outlives it by more than 20 ms. A machine that is busy with other
// tests can't keep that, so what fails a test is leeway; the worst that was seen is logged.
const (
	timeout = 50 * time.Millisecond
	leeway  = 500 * time.Millisecond
	callers = 16
)

// network is a store whose way to Redis can be spoilt.
type network struct {
	t      *testing.T
	proxy  *toxiproxy.Proxy
	client *redis.Client
	server *redis.Client // past the proxy
	store  *haltredis.Store

	before  int // goroutines
	over    atomic.Bool
	wg      sync.WaitGroup
	done    atomic.Int64 // calls that were decided
	longest atomic.Int64 // ns that a call took
	mu      sync.Mutex
	failed  map[string]int // by kind
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	server := testserver.Redis(t)
	api := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	n := &network{t: t, proxy: toxiproxy.NewProxy(api, t.Name(), "127.0.0.1:0", server.Addr()), failed: map[string]int{}}
	n.start()
	t.Cleanup(n.proxy.Stop)
	n.client = redis.NewClient(&redis.Options{Addr: n.proxy.Listen})
	n.server = redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _, _ = n.client.Close(), n.server.Close() })
	var err error
	if n.store, err = haltredis.New(n.client, &haltredis.Options{Timeout: timeout}); err != nil {
		t.Fatal(err)
	}
	n.server.Ping(t.Context())
	n.before = runtime.NumGoroutine()
	return n
}

func (n *network) start() {
	n.t.Helper()
	if err := n.proxy.Start(); err != nil {
		n.t.Fatal(err)
	}
}

// poison makes the way to the client or to the server bad; the returned function makes it good again.
func (n *network) poison(toxic, direction, attributes string) (cure func()) {
	n.t.Helper()
	body := fmt.Sprintf(`{"name":%q,"type":%q,"stream":%q,"toxicity":1,"attributes":{%s}}`, toxic, toxic, direction, attributes)
	if _, err := n.proxy.Toxics.AddToxicJson(strings.NewReader(body)); err != nil {
		n.t.Fatal(err)
	}
	return func() {
		n.t.Helper()
		if err := n.proxy.Toxics.RemoveToxic(context.Background(), toxic); err != nil {
			n.t.Error(err)
		}
	}
}

var policy = halt.Policy{Name: "api", Limit: 1 << 40, Window: time.Hour}

// load keeps the callers calling.
func (n *network) load() {
	for range callers {
		n.wg.Go(func() {
			for !n.over.Load() {
				begin := time.Now()
				_, err := storetest.TakeOne(context.Background(), n.store, policy.Charge("k", 1))
				took := int64(time.Since(begin))
				for old := n.longest.Load(); took > old; old = n.longest.Load() {
					n.longest.CompareAndSwap(old, took)
				}
				if err == nil {
					n.done.Add(1)
					continue
				}
				n.mu.Lock()
				n.failed[halt.ErrorKind(err)]++
				n.mu.Unlock()
			}
		})
	}
}

// within waits until done, at most for d.
func within(t *testing.T, d time.Duration, what string, done func() bool) {
	t.Helper()
	end := time.NewTimer(d)
	defer end.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-end.C:
			t.Fatalf("in %v it did not come to this: %s", d, what)
		}
	}
}

// more waits until n more calls were decided.
func (n *network) more(calls int64, d time.Duration) {
	n.t.Helper()
	from, begin := n.done.Load(), time.Now()
	defer func() { n.t.Logf("%d decisions after %v", calls, time.Since(begin).Round(time.Millisecond)) }()
	within(n.t, d, fmt.Sprintf("%d more decisions", calls), func() bool { return n.done.Load() >= from+calls })
}

// refused waits until n more calls failed.
func (n *network) refused(calls int) {
	n.t.Helper()
	count := func() (sum int) {
		n.mu.Lock()
		defer n.mu.Unlock()
		for _, f := range n.failed {
			sum += f
		}
		return sum
	}
	from := count()
	within(n.t, 30*time.Second, "calls fail", func() bool { return count() >= from+calls })
}

// end stops the callers and looks at what is left.
func (n *network) end() {
	n.t.Helper()
	n.over.Store(true)
	n.wg.Wait()
	worst := time.Duration(n.longest.Load())
	n.t.Logf("%d decided, failed: %v; the longest call outlived its timeout by %v", n.done.Load(), n.failed, worst-timeout)
	if worst > timeout+leeway {
		n.t.Errorf("a call took %v, with a timeout of %v", worst, timeout)
	}
	for kind := range n.failed {
		if kind != "deadline" && kind != "store" {
			n.t.Errorf("errors of the kind %q", kind)
		}
	}
	if open := n.client.PoolStats().TotalConns; int(open) > n.client.Options().PoolSize {
		n.t.Errorf("%d connections are open", open)
	}
	if err := n.client.Close(); err != nil {
		n.t.Error(err)
	}
	n.proxy.Stop()
	within(n.t, 30*time.Second, "the goroutines are gone", func() bool { return runtime.NumGoroutine() <= n.before })
	within(n.t, 30*time.Second, "the connections are gone", func() bool {
		all, err := n.server.ClientList(context.Background()).Result()
		return err == nil && strings.Count(all, "\n") == 1
	})
}

// enough is how many decisions show that all is as before; a fraction of a second's.
const enough = 500

func TestSlow(t *testing.T) {
	n := newNetwork(t)
	n.load()
	n.more(enough, 30*time.Second)
	cure := n.poison("latency", "downstream", `"latency":200`)
	n.refused(5 * callers)
	cure()
	n.more(enough, 10*time.Second)
	n.end()
}

func TestCut(t *testing.T) {
	n := newNetwork(t)
	n.load()
	for range 2 {
		n.more(enough, 30*time.Second)
		n.proxy.Stop()
		n.refused(5 * callers)
		n.start()
	}
	n.more(enough, 10*time.Second)
	n.end()
}

func TestHalfOpen(t *testing.T) {
	for _, direction := range []string{"upstream", "downstream"} {
		t.Run(direction, func(t *testing.T) {
			n := newNetwork(t)
			n.load()
			n.more(enough, 30*time.Second)
			cure := n.poison("timeout", direction, `"timeout":0`)
			n.refused(5 * callers)
			cure()
			n.more(enough, 10*time.Second)
			n.end()
		})
	}
}

// A Credit behind a network that swallows replies is an error and not repeated.
func TestSwallowedCredit(t *testing.T) {
	n := newNetwork(t)
	ctx := context.Background()
	p := halt.Policy{Name: "room", Algorithm: halt.InFlight, Limit: 10, Window: time.Hour}
	var d halt.Decision
	var err error
	for range 100 { // the first calls connect, which may take longer than the timeout
		if d, err = storetest.TakeOne(ctx, n.store, p.Charge("k", 10)); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	cure := n.poison("timeout", "downstream", `"timeout":0`)
	credit := halt.Charge{Policy: p, Key: "k", Cost: 3, Mode: halt.Credit, At: d.At, Taken: 10}
	if _, err := storetest.TakeOne(ctx, n.store, credit); !errors.Is(err, halt.ErrDeadline) {
		t.Errorf("a Credit whose reply is swallowed: %v", err)
	}
	cure()
	within(t, 10*time.Second, "3 of 10 have left", func() bool {
		d, err := storetest.TakeOne(ctx, n.store, halt.Charge{Policy: p, Key: "k", Mode: halt.Peek})
		if err == nil && d.Remaining > 3 {
			t.Fatalf("%d of 10 places are free, after a Credit of 3", d.Remaining)
		}
		return err == nil && d.Remaining == 3
	})
	n.end()
}
