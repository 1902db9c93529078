package haltmemcached

import (
	"context"
	"net"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
	"github.com/halt-dev/halt/core/storetest/testserver"
)

func TestMain(m *testing.M) {
	processes.Child()
	os.Exit(testserver.Main(m, func(tb testing.TB) { ExampleAddr = testserver.Memcached(tb).Addr() }))
}

// ExampleAddr is the address of a server for the examples, which have no test to start one with.
var ExampleAddr string

// patient are options for tests on a machine that is busy with other tests, too.
var patient = Options{Timeout: 30 * time.Second}

// servers returns the addresses of n servers: those in HALT_TEST_MEMCACHED_SERVERS, with commas between, or servers of the
// test's own.
func servers(tb testing.TB, n int) []string {
	tb.Helper()
	if list := os.Getenv("HALT_TEST_MEMCACHED_SERVERS"); list != "" {
		addrs := strings.Split(list, ",")
		addrs = addrs[:min(n, len(addrs))]
		version, _ := text(tb, addrs[0], "version\r\n")
		tb.Logf("on the servers %v of HALT_TEST_MEMCACHED_SERVERS, %s", addrs, version)
		return addrs
	}
	addrs := make([]string, n)
	for i := range addrs {
		addrs[i] = testserver.Memcached(tb).Addr()
	}
	version, _ := text(tb, addrs[0], "version\r\n")
	tb.Logf("on %d servers of the test's own, %s", n, version)
	return addrs
}

// open returns a store on servers, closed with the test.
func open(tb testing.TB, o *Options, servers ...string) *Store {
	tb.Helper()
	s, err := New(servers, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	return s
}

// newStore returns a store on a server of its own.
func newStore(tb testing.TB, o *Options, args ...string) (*Store, *testserver.Server) {
	tb.Helper()
	server := testserver.Memcached(tb, args...)
	return open(tb, o, server.Addr()), server
}

// take takes c, and fails the test at an error.
func take(tb testing.TB, s *Store, c halt.Charge) halt.Decision {
	tb.Helper()
	d, err := storetest.TakeOne(context.Background(), s, c)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

// lasting is a policy under which nothing comes back while a test runs.
func lasting(limit int64) halt.Policy {
	return halt.Policy{Name: "lasting", Algorithm: halt.FixedWindow, Limit: limit, Window: 1000 * 24 * time.Hour}
}

// eventually waits until done, which it asks again and again.
func eventually(tb testing.TB, what string, done func() bool) {
	tb.Helper()
	const patience = 30 * time.Second
	end := time.NewTimer(patience)
	defer end.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-end.C:
			tb.Fatalf("in %v it did not come to this: %s", patience, what)
		}
	}
}

// faulty makes connections that can be made to fail.
type faulty struct {
	lose  atomic.Pointer[func() bool] // a read that it says loses what came, and ends the connection
	armed atomic.Bool                 // the next read is lost
	slow  atomic.Int64                // ns by which each write is late
	dials atomic.Int64                // ns by which connecting is late
	cut   atomic.Bool                 // every other byte that is written comes later, so that commands are cut in two
}

func (f *faulty) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if d := time.Duration(f.dials.Load()); d > 0 {
		t := time.NewTimer(d)
		<-t.C
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &faultyConn{Conn: c, from: f}, nil
}

type faultyConn struct {
	net.Conn
	from *faulty
}

func (c *faultyConn) Write(b []byte) (int, error) {
	if d := time.Duration(c.from.slow.Load()); d > 0 {
		t := time.NewTimer(d)
		<-t.C
	}
	if !c.from.cut.Load() {
		return c.Conn.Write(b)
	}
	for i := range b {
		if _, err := c.Conn.Write(b[i : i+1]); err != nil {
			return i, err
		}
		runtime.Gosched()
	}
	return len(b), nil
}

func (c *faultyConn) Read(b []byte) (int, error) {
	if c.from.cut.Load() {
		b = b[:min(len(b), 3)]
	}
	n, err := c.Conn.Read(b)
	if err != nil {
		return n, err
	}
	lose := c.from.lose.Load()
	if c.from.armed.CompareAndSwap(true, false) || lose != nil && (*lose)() {
		_ = c.Close()
		return 0, net.ErrClosed
	}
	return n, nil
}
