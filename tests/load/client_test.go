package load

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// client keeps its connections alive, and knows them.
type client struct {
	http.Client

	mu    sync.Mutex
	conns map[*conn]bool // those that are open
}

func newClient() *client {
	c := &client{conns: map[*conn]bool{}}
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	c.Client = http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		MaxIdleConnsPerHost: 1000,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			dialled, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			n := &conn{Conn: dialled, of: c}
			c.conns[n] = true
			return n, nil
		},
	}}
	return c
}

// open is how many connections are open.
func (c *client) open() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.conns)
}

// closeUnused closes the connections that were dialled and then not needed: a server of net/http that shuts down allows
// them five seconds for a first request.
func (c *client) closeUnused() {
	var unused []*conn
	c.mu.Lock()
	for n := range c.conns {
		if !n.used.Load() {
			unused = append(unused, n)
		}
	}
	c.mu.Unlock()
	for _, n := range unused {
		_ = n.Close()
	}
}

type conn struct {
	net.Conn
	of   *client
	used atomic.Bool
}

func (n *conn) Write(b []byte) (int, error) {
	n.used.Store(true)
	return n.Conn.Write(b)
}

func (n *conn) Close() error {
	n.of.mu.Lock()
	delete(n.of.conns, n)
	n.of.mu.Unlock()
	return n.Conn.Close()
}
