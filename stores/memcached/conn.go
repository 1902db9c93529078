package haltmemcached

import (
	"bufio"
	"context"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// conn is a connection on which many exchanges are under way at once: what is to be sent while something is being written goes
// with the next write, and the answers come in the order of the questions.
//
// It is made when it is needed and ends when it breaks, when nothing is answered for the store's timeout, or when the store is
// closed. A goroutine reads from it as long as it lives.
type conn struct {
	server *server
	lane   int
	epoch  uint64 // its number among the server's connections

	mu       sync.Mutex
	net      net.Conn // nil: not connected yet
	err      error    // why it is no more
	out      []byte   // is to be written
	spare    []byte   // memory for out
	writing  bool
	asked    []*exchange // those without an answer, in order, from head on
	head     int
	unsent   int // how many of these, from the end, were not written yet
	replying int // how many replies the first of these has got
}

// exchange is one question or several, sent together, and the answers. Both who asks and the connection hold it; who is done
// with it last releases it.
type exchange struct {
	server  *server
	send    []byte
	want    int // how many replies
	replies [2]reply
	epoch   uint64 // of the connection it was sent on
	heard   func() // called with the answer, if nobody waits for it
	err     error
	unsent  bool // it failed and was not sent

	state atomic.Int32
	done  chan struct{} // receives once the replies or err are there
}

// What an exchange's state can be.
const (
	waiting = iota
	answered
	gone // nobody waits any more
)

// newExchange returns an exchange of one question; who adds another counts it.
func (v *server) newExchange() *exchange {
	x, ok := v.exchanges.Get().(*exchange)
	if !ok {
		x = &exchange{server: v, done: make(chan struct{}, 1)}
	}
	x.want = 1
	return x
}

func (x *exchange) release() {
	const most = 4 << 10 // of memory that is kept
	if cap(x.send) > most {
		x.send = nil
	}
	x.send, x.replies, x.epoch, x.heard, x.err, x.unsent = x.send[:0], [2]reply{}, 0, nil, nil, false
	x.state.Store(waiting)
	x.server.exchanges.Put(x)
}

// finish hands over the replies, or the error.
func (x *exchange) finish(err error) {
	x.err = err
	switch {
	case x.heard != nil:
		x.heard()
	case x.state.CompareAndSwap(waiting, answered):
		x.done <- struct{}{}
		return
	}
	x.release()
}

// wait waits for the replies. After an error of ctx the exchange is no longer the caller's.
func (x *exchange) wait(ctx context.Context) error {
	select {
	case <-x.done:
		return nil
	case <-ctx.Done():
	}
	if x.state.CompareAndSwap(waiting, gone) {
		return ctx.Err()
	}
	<-x.done // they came at the same moment
	return nil
}

// dialTimeout is how long connecting may take at least: those who wait for it leave earlier, but without it nobody would ever
// get through to a server that is far away.
const dialTimeout = time.Second

// dial connects, and reads until the connection ends.
func (c *conn) dial() {
	v := c.server
	ctx, cancel := context.WithTimeout(context.Background(), max(v.o.Timeout, dialTimeout))
	defer cancel()
	n, err := v.o.Dial(ctx, v.network(), v.name)
	if err != nil {
		c.fail(err)
		return
	}
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		_ = n.Close()
		return
	}
	c.net = n
	c.writing = true
	c.board()
	c.mu.Unlock()
	go c.write()
	c.read()
}

// board puts what waited for the connection into out, but for what nobody waits for any more. The lock is held.
func (c *conn) board() {
	asked := c.asked[:0]
	for _, x := range c.asked {
		if x.state.Load() == gone {
			x.release()
			continue
		}
		asked = append(asked, x)
		c.out = append(c.out, x.send...)
	}
	clear(c.asked[len(asked):])
	c.asked, c.unsent = asked, len(asked)
}

// start sends x, or will as soon as there is a connection. It returns why not if the connection has ended. It may write for others
// too, so it has a whole Timeout for that, whatever becomes of the caller: a write that is broken off ends the connection.
func (c *conn) start(x *exchange) error {
	c.mu.Lock()
	if c.err != nil {
		defer c.mu.Unlock()
		return c.err
	}
	c.asked = append(c.asked, x)
	c.unsent++
	if c.net == nil {
		c.mu.Unlock()
		return nil
	}
	if len(c.asked)-c.head == 1 {
		c.patient() // also if what was answered already is still being written
	}
	c.out = append(c.out, x.send...)
	if c.writing {
		c.mu.Unlock()
		return nil
	}
	c.writing = true
	c.mu.Unlock()
	runtime.Gosched() // whoever is about to ask something, too, goes with the same write
	c.write()
	return nil
}

// patient gives the next answer some time. The lock is held.
func (c *conn) patient() {
	var until time.Time
	if len(c.asked) > c.head {
		until = time.Now().Add(c.server.o.Timeout)
	}
	_ = c.net.SetReadDeadline(until) // a closed connection is found out by reading
}

// write writes what is to be written. What comes meanwhile is left to another goroutine, so that no caller works for others
// for long.
func (c *conn) write() {
	c.mu.Lock()
	b := c.out
	c.out, c.spare, c.unsent = c.spare[:0], nil, 0
	c.mu.Unlock()
	if len(b) > 0 {
		_ = c.net.SetWriteDeadline(time.Now().Add(c.server.o.Timeout)) // as above
		if _, err := c.net.Write(b); err != nil {
			c.fail(err)
			return
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	const most = 64 << 10 // of memory that is kept
	if cap(b) <= most {
		c.spare = b
	}
	if c.err == nil && len(c.out) > 0 {
		go c.write()
		return
	}
	c.writing = false
}

// read gives the exchanges their answers, until the connection ends.
func (c *conn) read() {
	from := &reader{conn: c}
	r := bufio.NewReaderSize(from, 16<<10)
	for {
		from.awaits = true
		a, err := readReply(r)
		if err != nil || !c.reply(a) {
			if err == nil {
				err = errProtocol // nobody asked
			}
			c.fail(err)
			return
		}
	}
}

// reader reads from the connection. An answer has its time from when it is first waited for: neither does a stream of answers
// end because it never pauses, nor does one that comes byte by byte last.
type reader struct {
	conn   *conn
	awaits bool // an answer of which nothing was read since the one before
}

func (r *reader) Read(b []byte) (int, error) {
	if r.awaits {
		r.awaits = false
		r.conn.mu.Lock()
		r.conn.patient()
		r.conn.mu.Unlock()
	}
	return r.conn.net.Read(b)
}

// reply gives the answer to the exchange whose turn it is, and tells whether there is one.
func (c *conn) reply(a reply) bool {
	c.mu.Lock()
	if c.err != nil || c.head == len(c.asked) {
		c.mu.Unlock()
		return false
	}
	x := c.asked[c.head]
	x.replies[c.replying] = a
	c.replying++
	if c.replying < x.want {
		c.mu.Unlock()
		return true
	}
	c.replying = 0
	c.asked[c.head] = nil
	c.head++
	if c.head*2 >= len(c.asked) { // or it would grow for as long as the connection is busy
		n := copy(c.asked, c.asked[c.head:])
		clear(c.asked[n:])
		c.asked, c.head = c.asked[:n], 0
	}
	c.mu.Unlock()
	x.finish(nil)
	return true
}

// fail ends the connection, and what is under way on it by that error.
func (c *conn) fail(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	n, asked, unsent := c.net, c.asked[c.head:], c.unsent
	c.asked, c.head, c.out = nil, 0, nil
	c.mu.Unlock()
	c.server.drop(c)
	for i, x := range asked {
		x.unsent = i >= len(asked)-unsent
		x.finish(err)
	}
	if n != nil {
		_ = n.Close() // last: over TLS it may take seconds
	}
}
