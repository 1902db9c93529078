package haltmemcached

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/cas"
)

// lanes is how many connections a server has. A key has one of them.
const lanes = 2

// server is a server and the connections to it.
type server struct {
	name   string
	hash   uint64
	o      *Options
	clock  func() halt.Instant
	offset cas.Offset
	dated  atomic.Bool // its time is known, if it tells it

	exchanges sync.Pool // for the next use

	mu     sync.Mutex
	conns  [lanes]*conn // nil: not connected
	dialed uint64       // how many connections there have been
	asked  halt.Instant // when the server was last asked for its time
	closed bool
}

func newServer(name string, o *Options, clock func() halt.Instant) *server {
	return &server{name: name, hash: hash(name), o: o, clock: clock}
}

// The errors of what was not sent.
var (
	errClosed = errors.New("halt/memcached: the store is closed")
	// errNumber: an entry's number is of another connection, or was not told.
	errNumber = errors.New("halt/memcached: the number of the entry is not known")
)

// typed returns an error of the network as one of halt's kinds, if it is one.
func typed(err error) error {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return &halt.StoreError{Kind: halt.ErrDeadline, Cause: err}
	}
	return err
}

// do sends an exchange on the key's connection, which has to be the one of the epoch unless that is 0, and waits for the
// replies. Its error is cas.NotDone's if it was not sent. After an error the exchange is no longer the caller's.
func (v *server) do(ctx context.Context, h uint64, x *exchange, epoch uint64) error {
	for again := false; ; again = true {
		c, err := v.conn(int(h % lanes))
		if err == nil && epoch != 0 && c.epoch != epoch {
			err = errNumber
		}
		if err == nil {
			x.epoch = c.epoch
			if err = c.start(x); err != nil && !again {
				v.drop(c) // it broke a moment ago
				continue
			}
		}
		if err != nil {
			x.release()
			return cas.NotDone(typed(err))
		}
		if err := x.wait(ctx); err != nil {
			return err
		}
		if err = typed(x.err); err != nil {
			if x.unsent {
				err = cas.NotDone(err)
			}
			x.release()
		}
		return err
	}
}

// conn returns the lane's connection, or one that is about to be.
func (v *server) conn(lane int) (*conn, error) {
	v.mu.Lock()
	if v.closed {
		v.mu.Unlock()
		return nil, errClosed
	}
	c := v.conns[lane]
	fresh := c == nil
	if fresh {
		v.dialed++
		c = &conn{server: v, lane: lane, epoch: v.dialed}
		v.conns[lane] = c
	}
	now := v.clock()
	ask := fresh || now-v.asked > askEvery
	if ask {
		v.asked = now
	}
	if fresh {
		v.ask(c, now) // before anybody's question; nothing is sent yet
		go c.dial()
	}
	v.mu.Unlock()
	if ask && !fresh {
		v.ask(c, now)
	}
	return c, nil
}

const (
	askEvery = halt.Instant(time.Minute / time.Microsecond)
	// What a server shows is a whole second of when it was started plus the whole seconds since, as of up to a second ago: 3 s
	// less than the time, to 1 s more.
	early  = 1
	coarse = 4 * time.Second
)

// ask asks the server for its time.
func (v *server) ask(c *conn, sent halt.Instant) {
	x := v.newExchange()
	x.send = append(x.send, "stats\r\n"...)
	x.heard = func() {
		if t := x.replies[0].time; t > 0 {
			v.offset.Observe(sent, v.clock(), halt.Instant((t-early)*1_000_000), coarse)
		}
	}
	_ = c.start(x) // another connection asks again
}

// drop forgets a connection that is broken.
func (v *server) drop(c *conn) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.conns[c.lane] == c {
		v.conns[c.lane] = nil
	}
}

func (v *server) close() {
	v.mu.Lock()
	v.closed = true
	conns := v.conns
	v.mu.Unlock()
	for _, c := range conns {
		if c != nil {
			c.fail(errClosed)
		}
	}
}

// network returns what kind of address the server's name is.
func (v *server) network() string {
	if strings.Contains(v.name, "/") {
		return "unix"
	}
	return "tcp"
}
