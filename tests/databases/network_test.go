package databases

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/rs/zerolog"
)

// The aim is that no call outlives its store's timeout by more than 20 ms. A machine that is busy with other tests can't keep
// that, so what fails a test is leeway; the worst that was seen is logged.
const leeway = 500 * time.Millisecond

// comeback is how long it may take after the network's return until enough calls were decided. The aim is a second, and what it
// took is logged; the rest is for a machine that is busy with other tests.
const comeback = 10 * time.Second

// patience is how long anything else may take.
const patience = 30 * time.Second

// A network is the way to a server, or to those of a cluster, which can be spoilt.
type network struct {
	t        *testing.T
	proxies  []*toxiproxy.Proxy // one for each server
	addr     string             // that stands for the first server's
	ways     map[string]string  // by a server's address, that of its proxy
	up, down *weather           // of what goes to the servers, and to the client
}

func newNetwork(t *testing.T, addrs []string) *network {
	t.Helper()
	api := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	n := &network{t: t, ways: map[string]string{}}
	for _, addr := range addrs {
		n.proxies = append(n.proxies, toxiproxy.NewProxy(api, t.Name()+" "+addr, "127.0.0.1:0", addr))
	}
	n.up, n.down = n.weather("upstream"), n.weather("downstream")
	n.start()
	t.Cleanup(n.stop)
	for _, p := range n.proxies {
		n.ways[p.Upstream] = p.Listen
	}
	n.addr = n.ways[addrs[0]]
	return n
}

func (n *network) start() {
	n.t.Helper()
	for _, p := range n.proxies {
		if err := p.Start(); err != nil {
			n.t.Fatal(err)
		}
	}
}

func (n *network) stop() {
	for _, p := range n.proxies {
		p.Stop()
	}
}

// servers returns the addresses of the servers themselves, which dial knows.
func (n *network) servers() []string { return slices.Collect(maps.Keys(n.ways)) }

// dial is for clients that learn the addresses from the servers: it makes a connection by the network.
func (n *network) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", n.ways[addr])
}

func (n *network) weather(direction string) *weather {
	n.t.Helper()
	w := new(weather)
	for _, toxic := range n.add("weather", direction, "") {
		toxic.Toxic.(*outdoors).weather = w
	}
	return w
}

func (n *network) add(toxic, direction, attributes string) (added []*toxics.ToxicWrapper) {
	n.t.Helper()
	body := fmt.Sprintf(`{"name":%q,"type":%q,"stream":%q,"toxicity":1,"attributes":{%s}}`, toxic+" "+direction, toxic, direction, attributes)
	for _, p := range n.proxies {
		a, err := p.Toxics.AddToxicJson(strings.NewReader(body))
		if err != nil {
			n.t.Fatal(err)
		}
		added = append(added, a)
	}
	return added
}

// poison makes the way to the client ("downstream") or to the servers ("upstream") bad; the returned function makes it good again.
func (n *network) poison(toxic, direction, attributes string) (cure func()) {
	n.t.Helper()
	added := n.add(toxic, direction, attributes)
	return func() {
		n.t.Helper()
		for i, p := range n.proxies {
			if err := p.Toxics.RemoveToxic(context.Background(), added[i].Name); err != nil {
				n.t.Error(err)
			}
		}
	}
}

// outdoors is a toxic that is there from the beginning: a weather, which changes.
type outdoors struct{ *weather }

// weather is the same for all servers. It does what toxiproxy's own latency and limit_data do, without
// being removed: that makes toxiproxy wait for clients which have closed their connections, 5 s for each answer that it still
// has for them, or for good. And it does what none of them does: make connections half-open.
type weather struct {
	// By how much all is late, in ns: latency, and at random up to jitter less or more.
	latency, jitter atomic.Int64
	// cutting: one in four of what is sent is cut somewhere, and its connection closed.
	cutting atomic.Bool
	// forgetting: a connection on which anything is sent stays open and passes nothing on from then on, as if a router between
	// had forgotten it. (Of toxiproxy's own the one called timeout also swallows what is sent, but when it is removed the
	// connections are closed, and both sides know.)
	forgetting atomic.Bool
}

func init() { toxics.Register("weather", new(outdoors)) }

// journey is what a weather knows of a connection.
type journey struct {
	forgotten bool
	held      *stream.StreamChunk // has come and is to go on; interrupts find it on its way
	due       time.Time
}

// NewState implements toxics.StatefulToxic.
func (*weather) NewState() any { return new(journey) }

// Pipe implements toxics.Toxic.
func (w *weather) Pipe(stub *toxics.ToxicStub) {
	j := stub.State.(*journey)
	for {
		if j.held == nil {
			select {
			case <-stub.Interrupt:
				return
			case c := <-stub.Input:
				if c == nil {
					stub.Close()
					return
				}
				if j.forgotten = j.forgotten || w.forgetting.Load(); j.forgotten {
					continue
				}
				j.held, j.due = c, c.Timestamp.Add(w.delay())
			}
		}
		late := time.NewTimer(time.Until(j.due))
		select {
		case <-stub.Interrupt:
			late.Stop()
			return
		case <-late.C:
		}
		cut := w.cutting.Load() && rand.IntN(4) == 0
		if cut {
			j.held.Data = j.held.Data[:rand.IntN(len(j.held.Data))]
		}
		select {
		case <-stub.Interrupt:
			return
		case stub.Output <- j.held:
			j.held = nil
		}
		if cut {
			stub.Close()
			return
		}
	}
}

func (w *weather) delay() time.Duration {
	d := w.latency.Load()
	if j := w.jitter.Load(); j > 0 {
		d += rand.Int64N(2*j) - j
	}
	return time.Duration(d)
}

// within waits until done, at most for d, and returns for how long.
func within(t *testing.T, d time.Duration, what string, done func() bool) time.Duration {
	t.Helper()
	begin := time.Now()
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
	return time.Since(begin)
}

// others returns the goroutines that are not toxiproxy's: some of its own hang for good behind a toxic that has closed a
// connection.
func others() (stacks []string) {
	b := make([]byte, 1<<20)
	for {
		if n := runtime.Stack(b, true); n < len(b) {
			b = b[:n]
			break
		}
		b = make([]byte, 2*len(b))
	}
	for g := range strings.SplitSeq(string(b), "\n\n") {
		if !strings.Contains(g, "github.com/Shopify/toxiproxy") {
			stacks = append(stacks, g)
		}
	}
	return stacks
}

// trouble is what happens to a network under load, between two times of peace.
type trouble struct {
	name string
	do   func(n *network, l *load)
}

var troubles = []trouble{
	{"slow", func(n *network, l *load) {
		n.down.jitter.Store(int64(l.timeout))
		n.down.latency.Store(int64(l.timeout * 3 / 2))
		l.fails()
		n.down.latency.Store(0)
		n.down.jitter.Store(0)
	}},
	{"refused", func(n *network, l *load) {
		n.stop()
		l.fails()
		n.start()
	}},
	{"reset", func(n *network, l *load) {
		cure := n.poison("reset_peer", "downstream", `"timeout":0`)
		l.fails()
		cure()
	}},
	{"questions cut", cut(func(n *network) *weather { return n.up })},
	{"answers cut", cut(func(n *network) *weather { return n.down })},
	{"closed in silence", func(n *network, l *load) {
		cure := n.poison("timeout", "downstream", fmt.Sprintf(`"timeout":%d`, l.timeout.Milliseconds()/2))
		l.fails()
		cure()
	}},
	{"questions swallowed", swallow("upstream")},
	{"answers swallowed", swallow("downstream")},
	{"half-open to the server", forget(func(n *network) *weather { return n.up })},
	{"half-open to the client", forget(func(n *network) *weather { return n.down })},
}

func cut(which func(*network) *weather) func(*network, *load) {
	return func(n *network, l *load) {
		which(n).cutting.Store(true)
		l.ends(10 * callers) // stores mend most of it
		which(n).cutting.Store(false)
	}
}

func swallow(direction string) func(*network, *load) {
	return func(n *network, l *load) {
		cure := n.poison("timeout", direction, `"timeout":0`)
		l.fails()
		cure()
	}
}

func forget(which func(*network) *weather) func(*network, *load) {
	return func(n *network, l *load) {
		which(n).forgetting.Store(true)
		l.fails()
		which(n).forgetting.Store(false)
	}
}

func TestNetwork(t *testing.T) {
	for _, db := range databases {
		t.Run(db.name, func(t *testing.T) {
			addrs := db.start(t)
			if db.prepare != nil {
				db.prepare(t, addrs[0])
			}
			for _, x := range troubles {
				t.Run(x.name, func(t *testing.T) { testTrouble(t, &db, addrs, x) })
			}
			t.Run("far away", func(t *testing.T) { testFarAway(t, &db, addrs) })
			t.Run("lost Credit", func(t *testing.T) { testLostCredit(t, &db, addrs) })
		})
	}
}

func testTrouble(t *testing.T, db *database, addrs []string, x trouble) {
	before := len(others())
	n := newNetwork(t, addrs)
	s, closeStore := db.open(t, n, db.timeout)
	l := newLoad(t, s, db.timeout)
	l.locks = db.locks
	shut := sync.OnceFunc(func() {
		l.stop()
		n.stop() // first: pgx takes 15 s to close a connection that answers nothing
		closeStore()
	})
	t.Cleanup(shut)
	l.start()
	l.decides(db.enough, patience)
	l.next()
	x.do(n, l)
	l.next()
	first := l.decides(1, comeback)
	all := first + l.decides(db.enough, comeback-first)
	l.stop()
	t.Logf("after the network's return: the first decision after %v, %d more after %v",
		first.Round(time.Millisecond), db.enough, all.Round(time.Millisecond))
	l.check()
	shut()
	defer func() {
		if t.Failed() {
			t.Logf("goroutines:\n%s", strings.Join(others(), "\n\n"))
		}
	}()
	within(t, patience, "the goroutines are gone", func() bool { return len(others()) <= before })
}
