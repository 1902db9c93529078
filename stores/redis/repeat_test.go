package haltredis

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
	"github.com/halt-dev/halt/core/storetest/testserver"
)

// lossy makes connections that lose replies: the server has done what it was asked to, and the client hears nothing.
type lossy struct {
	armed atomic.Bool                 // the next reply to a script is lost
	lose  atomic.Pointer[func() bool] // or those that it says
	sent  atomic.Int64                // how many scripts were sent
}

func (l *lossy) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, network, addr)
	return &lossyConn{Conn: c, from: l}, err
}

type lossyConn struct {
	net.Conn
	from   *lossy
	script atomic.Bool // the last thing sent was one
}

func (c *lossyConn) Write(b []byte) (int, error) {
	script := strings.Contains(string(b), "evalsha") || strings.Contains(string(b), "\r\neval\r\n")
	c.script.Store(script)
	n, err := c.Conn.Write(b)
	if script {
		c.from.sent.Add(1)
	}
	return n, err
}

func (c *lossyConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil || !c.script.Load() {
		return n, err
	}
	lose := c.from.lose.Load()
	if c.from.armed.CompareAndSwap(true, false) || lose != nil && (*lose)() {
		_ = c.Close()
		return 0, io.EOF
	}
	return n, err
}

// scripts returns how many scripts a server has run.
func scripts(tb testing.TB, c *redis.Client) int {
	tb.Helper()
	info, err := c.Info(context.Background(), "commandstats").Result()
	if err != nil {
		tb.Fatal(err)
	}
	total := 0
	for line := range strings.Lines(info) {
		if strings.HasPrefix(line, "cmdstat_eval") {
			_, calls, _ := strings.Cut(line, "calls=")
			calls, _, _ = strings.Cut(calls, ",")
			n, err := strconv.Atoi(calls)
			if err != nil {
				tb.Fatal(err)
			}
			total += n
		}
	}
	return total
}

// A Credit or a Debit whose reply is lost runs once and is an error; a Take is repeated once. go-redis by itself would
// send any of them up to four times.
func TestLostReply(t *testing.T) {
	single := testserver.Redis(t)
	cluster := testserver.RedisCluster(t, 3)
	for _, to := range []string{"Single", "Cluster"} {
		t.Run(to, func(t *testing.T) {
			l := new(lossy)
			servers := []*testserver.Server{single}
			var client redis.UniversalClient
			if to == "Cluster" {
				servers = cluster.Nodes
				client = connectCluster(t, cluster, &redis.ClusterOptions{Dialer: l.dial})
			} else {
				client = redis.NewClient(&redis.Options{Addr: single.Addr(), Dialer: l.dial})
				t.Cleanup(func() { _ = client.Close() })
			}
			s := open(t, client, &patient)
			count := func() (n int) {
				for _, server := range servers {
					n += scripts(t, connect(t, server.Addr()))
				}
				return n
			}
			p := lasting(100)
			first := take(t, s, p.Charge("k", 50))
			for _, c := range []struct {
				mode  halt.Mode
				runs  int
				fails bool
				left  int64
			}{
				{halt.Credit, 1, true, 60},
				{halt.Debit, 1, true, 50},
				{halt.Peek, 2, false, 50},
				{halt.Take, 2, false, 30}, // twice: less is admitted than could be
			} {
				charge := halt.Charge{Policy: p, Key: "k", Cost: 10, Mode: c.mode, At: first.At, Taken: 50}
				if c.mode != halt.Credit {
					charge.At, charge.Taken = 0, 0
				}
				before := count()
				l.armed.Store(true)
				_, err := storetest.TakeOne(context.Background(), s, charge)
				if (err != nil) != c.fails || err != nil && halt.ErrorKind(err) != "store" {
					t.Errorf("a %s whose reply is lost: %v", c.mode, err)
				}
				if runs := count() - before; runs != c.runs {
					t.Errorf("a %s whose reply is lost ran %d times, want %d", c.mode, runs, c.runs)
				}
				if d := take(t, s, p.Charge("k", 0)); d.Remaining != c.left {
					t.Errorf("after a %s of 10 whose reply was lost, %d are left, want %d", c.mode, d.Remaining, c.left)
				}
			}
		})
	}
}

// The suite where one reply in twenty is lost.
func TestLosesReplies(t *testing.T) {
	server := testserver.Redis(t)
	plain := connect(t, server.Addr())
	l := new(lossy)
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), Dialer: l.dial})
	t.Cleanup(func() { _ = client.Close() })
	lose := func() bool { return rand.IntN(20) == 0 }
	h := harness(client)
	h.LosesReplies, h.Corrupt, h.TTL = true, nil, nil
	h.New = func(tb testing.TB) halt.Store {
		flush(tb, plain)
		l.lose.Store(nil)
		if strings.Contains(tb.Name(), "Concurrent") { // other cases follow what becomes of each call
			l.lose.Store(&lose)
		}
		return open(tb, client, &patient)
	}
	storetest.Run(t, h)
}
