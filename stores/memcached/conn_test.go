package haltmemcached

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/cas"
)

const moment = 100 * time.Millisecond // the timeout in these tests, of which the bubble's clock makes a figure

// pipes makes connections to a server that a test plays: it is called with each command, but for the first of a connection,
// which asks for the time.
type pipes struct {
	*server
	play func(command string, w io.Writer)
	wrap func(net.Conn) net.Conn
}

// withPipes runs a test, in a bubble of testing/synctest, on a server that answers each get by a miss.
func withPipes(t *testing.T, test func(t *testing.T, p *pipes)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{
			play: func(_ string, w io.Writer) { _, _ = io.WriteString(w, "EN\r\n") },
			wrap: func(c net.Conn) net.Conn { return c },
		}
		p.server = newServer("a", &Options{Timeout: moment, Dial: p.dial}, cas.NewClock().Now)
		test(t, p)
		p.close()
		time.Sleep(time.Hour) //nolint:forbidigo // the bubble's clock: all goroutines have ended, or the bubble fails
	})
}

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	commands := make(chan string, 1000) // the server reads on while it answers
	go func() {
		defer close(commands)
		for r := bufio.NewReader(server); ; {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			commands <- line
		}
	}()
	go func() {
		<-commands // for the time
		_, _ = io.WriteString(server, "END\r\n")
		for command := range commands {
			p.play(command, server)
		}
	}()
	return p.wrap(client), nil
}

// get asks for a key on the first lane, in time or not.
func (p *pipes) get(t *testing.T) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), moment)
	defer cancel()
	_, err := p.load(ctx, 0, "k")
	return err
}

// dials returns how many connections there have been.
func (p *pipes) dials() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dialed
}

// held is a connection whose writes and whose closing return when they are let go, long after they are done.
type held struct {
	net.Conn
	write, closing chan struct{} // nil: they return at once
}

func (c *held) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if c.write != nil {
		<-c.write
	}
	return n, err
}

func (c *held) Close() error {
	err := c.Conn.Close()
	if c.closing != nil {
		<-c.closing
	}
	return err
}

// A connection on which nothing is answered is given up, though a question was asked while one that is answered already was
// still being written.
func TestPatience(t *testing.T) {
	//nolint:forbidigo // the bubble's clock
	withPipes(t, func(t *testing.T, p *pipes) {
		var c *held
		p.wrap = func(n net.Conn) net.Conn {
			c = &held{Conn: n}
			return c
		}
		if err := p.get(t); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		first := make(chan struct{})
		c.write = first
		go func() { _ = p.get(t) }() // whoever asks writes, too
		synctest.Wait()              // it is answered
		p.play = func(string, io.Writer) {}
		if err := p.get(t); !errors.Is(err, halt.ErrDeadline) && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("no answer: %v", err)
		}
		c.write = nil
		close(first)
		for range 3 {
			_ = p.get(t)
		}
		time.Sleep(2 * moment)
		_ = p.get(t)
		if n := p.dials(); n < 3 {
			t.Errorf("%d connections in 7 times the timeout", n)
		}
	})
}

// A stream of answers of which each comes in time goes on for ever, though it never comes to the end of one and no further.
func TestStream(t *testing.T) {
	//nolint:forbidigo // the bubble's clock
	withPipes(t, func(t *testing.T, p *pipes) {
		begun := "EN\r\n"
		p.play = func(_ string, w io.Writer) {
			time.Sleep(moment * 6 / 10)
			_, _ = io.WriteString(w, begun+"EN\r")
			begun = "\n"
		}
		for range 10 {
			go func() { _ = p.get(t) }()
		}
		time.Sleep(moment * 63 / 10)
		_ = p.get(t)
		if n := p.dials(); n != 1 {
			t.Errorf("%d connections", n)
		}
	})
}

// An answer that comes byte by byte ends the connection all the same.
func TestSlowAnswer(t *testing.T) {
	//nolint:forbidigo // the bubble's clock
	withPipes(t, func(t *testing.T, p *pipes) {
		p.play = func(_ string, w io.Writer) {
			for range 1000 {
				time.Sleep(moment / 10)
				if _, err := io.WriteString(w, "E"); err != nil {
					return
				}
			}
		}
		for range 10 {
			_ = p.get(t)
		}
		if n := p.dials(); n < 5 {
			t.Errorf("%d connections in 10 times the timeout", n)
		}
	})
}

// Nobody waits for a broken connection to be closed.
func TestSlowClose(t *testing.T) {
	withPipes(t, func(t *testing.T, p *pipes) {
		closing := make(chan struct{})
		defer close(closing)
		p.wrap = func(n net.Conn) net.Conn { return &held{Conn: n, closing: closing} }
		good := p.play
		p.play = func(_ string, w io.Writer) { _, _ = io.WriteString(w, "HTTP/1.1 400 Bad Request\r\n") }
		if err := p.get(t); !errors.Is(err, errProtocol) {
			t.Errorf("%v", err)
		}
		p.play = good
		if err := p.get(t); err != nil {
			t.Errorf("on the next connection: %v", err)
		}
	})
}

// A Reset ends with its context although it writes by itself, and writing takes longer than that.
func TestSlowWrite(t *testing.T) {
	withPipes(t, func(t *testing.T, p *pipes) {
		var c *held
		p.wrap = func(n net.Conn) net.Conn {
			c = &held{Conn: n}
			return c
		}
		s, err := New([]string{"a:1"}, &Options{Timeout: moment, Dial: p.dial})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := s.Reset(t.Context(), lasting(1), "k"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		slow := make(chan struct{})
		defer close(slow)
		c.write = slow
		ctx, cancel := context.WithTimeout(t.Context(), moment/10)
		defer cancel()
		begun := time.Now()
		err = s.Reset(ctx, lasting(1), "k")
		if took := time.Since(begun); !errors.Is(err, halt.ErrDeadline) || took != moment/10 {
			t.Errorf("after %v: %v", took, err)
		}
	})
}

// A set that is acknowledged without the number of the entry, as Memcached 1.6.20 does, costs the next one a reading. It is never
// taken for the first one, which would put back what Memcached has forgotten or others have removed.
func TestNoNumber(t *testing.T) {
	const get, create, replace, remove = "mg k c v\r\n", "ms k 3 ME c T61\r\n", "ms k 3 C7 c T61\r\n", "md k C7\r\n"
	for _, done := range []string{"HD\r\n", "HD s3\r\n", "HD c0\r\n"} {
		withPipes(t, func(t *testing.T, p *pipes) {
			p.dated.Store(true)
			r := &register{servers: []*server{p.server}, clock: p.clock}
			there := "EN\r\n"
			sent := ""
			p.play = func(line string, w io.Writer) {
				answer := map[string]string{get: there, create: done, replace: done, remove: "HD\r\n"}[line]
				if answer != "" { // a value's line has none
					sent += line
					_, _ = io.WriteString(w, answer)
				}
			}
			swap := func(old cas.Entry, value []byte) cas.Result {
				t.Helper()
				sent = ""
				res, err := r.CompareAndSwap(t.Context(), "k", old, value, time.Minute)
				if err != nil {
					t.Fatal(err)
				}
				return res
			}
			is := func(res cas.Result, value string) cas.Entry {
				t.Helper()
				if !res.Swapped {
					t.Fatalf("%+v", res)
				}
				return cas.Entry{Value: []byte(value), Version: res.Entry.Version, Epoch: res.Entry.Epoch}
			}
			one := is(swap(cas.Entry{}, []byte("one")), "one")
			for _, value := range [][]byte{[]byte("two"), nil} {
				there = "EN\r\n"
				if res := swap(one, value); res.Swapped || !res.Found || res.Entry.Value != nil || sent != get {
					t.Errorf("%q: an entry that is gone, for %q: %+v by %q", done, value, res, sent)
				}
				there = "VA 3 c7\r\nnew\r\n"
				if res := swap(one, value); res.Swapped || !res.Found || string(res.Entry.Value) != "new" || sent != get {
					t.Errorf("%q: an entry that others replaced, for %q: %+v by %q", done, value, res, sent)
				}
			}
			there = "VA 3 c7\r\none\r\n"
			two := is(swap(one, []byte("two")), "two")
			if want := get + replace + get; sent != want {
				t.Errorf("%q: replaced by %q, want %q", done, sent, want)
			}
			there = "VA 3 c7\r\ntwo\r\n"
			is(swap(two, nil), "")
			if want := get + remove; sent != want {
				t.Errorf("%q: removed by %q, want %q", done, sent, want)
			}
		})
	}
}
