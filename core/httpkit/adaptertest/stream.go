package adaptertest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
)

// This file has bodies that are more than a few bytes in one piece, on routes that are settled: where an adapter has to
// watch the answer, it must not get in its way.

// settled is a rule that tells how its requests end.
func (w *world[R, M, H]) settled(outcomes chan<- guard.Outcome) guard.Rule[R] {
	return guard.Rule[R]{Policy: perMinute("settled", 99), Key: w.ByIP(), Settle: func(_ R, o guard.Outcome) int64 {
		outcomes <- o
		return 0
	}}
}

// settles returns an error unless the next request settles, and as this status; 0: any.
func (w *world[R, M, H]) settles(outcomes <-chan guard.Outcome, status int) error {
	select {
	case o := <-outcomes:
		if status != 0 && o.Status != status {
			return fmt.Errorf("a request of status %d settled as %d", status, o.Status)
		}
		return nil
	case <-time.After(w.patience):
		return errors.New("a request was not settled")
	}
}

// streams: what a handler flushes arrives while the handler still runs.
func (w *world[R, M, H]) streams() error {
	outcomes := make(chan guard.Outcome, 1)
	received := make(chan struct{})
	const first, second = "data: first\n\n", "data: second\n\n"
	events := Reply{
		Status: http.StatusAccepted,
		Fields: [][2]string{{"Content-Type", "text/event-stream"}},
		Stream: func(body io.Writer, flush func()) {
			_, _ = io.WriteString(body, first) // what fails shows at the client
			flush()
			select {
			case <-received:
			case <-time.After(2 * w.patience): // the client, whose patience is less, tells first
			}
			_, _ = io.WriteString(body, second)
			flush()
		},
	}
	w.routeTo(func(R) Reply { return events }, "GET", "/events", w.rules(w.settled(outcomes)))
	c := w.open()
	defer c.close()
	if err := c.send("GET", "/events", nil, ""); err != nil {
		return err
	}
	a, body, err := c.head("GET")
	if err != nil {
		return fmt.Errorf("the first event did not arrive before the second: %w", err)
	}
	got := make([]byte, len(first))
	if _, err = io.ReadFull(body, got); err != nil {
		return fmt.Errorf("the first event did not arrive before the second: %w", err)
	}
	if string(got) != first {
		return fmt.Errorf("the first event came as %q", got)
	}
	close(received)
	rest, err := io.ReadAll(body)
	if err != nil || string(rest) != second {
		return errors.Join(fmt.Errorf("after the first event came %q", rest), err)
	}
	if a.status != "202 Accepted" || a.field("Content-Type") != "text/event-stream" || a.field("Ratelimit") == "" {
		return fmt.Errorf("the stream began with\n%v", a)
	}
	return w.settles(outcomes, http.StatusAccepted)
}

// largeBodies: 8 MB each way, to the byte.
func (w *world[R, M, H]) largeBodies() error {
	outcomes := make(chan guard.Outcome, 2)
	large := make([]byte, 8<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(large) // never fails
	w.routeTo(func(R) Reply {
		return Reply{Status: http.StatusOK, Fields: [][2]string{{"Content-Type", "application/octet-stream"}}, Stream: func(body io.Writer, _ func()) {
			for chunk := range chunksOf(large, 50_000) {
				_, _ = body.Write(chunk) // what fails shows at the client
			}
		}}
	}, "GET", "/large", w.rules(w.settled(outcomes)))
	w.routeTo(func(r R) Reply {
		if got, err := io.ReadAll(w.Body(r)); err != nil || !bytes.Equal(got, large) {
			return Text(http.StatusBadRequest, "not what was sent\n")
		}
		return Text(http.StatusCreated, "as it was sent\n")
	}, "POST", "/large", w.rules(w.settled(outcomes)))
	c := w.open()
	defer c.close()
	a, err := c.get("/large")
	if err != nil {
		return fmt.Errorf("reading a body of %d bytes: %w", len(large), err)
	}
	if a.body != string(large) {
		return fmt.Errorf("of a body of %d bytes came %s", len(large), differs([]byte(a.body), large))
	}
	if a, err = c.do("POST", "/large", nil, string(large)); err != nil || a.status != "201 Created" {
		return unexpected(fmt.Sprintf("an upload of %d bytes", len(large)), a, err)
	}
	return errors.Join(w.settles(outcomes, http.StatusOK), w.settles(outcomes, http.StatusCreated))
}

func chunksOf(b []byte, n int) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(b) > 0 {
			m := min(n, len(b))
			if !yield(b[:m]) {
				return
			}
			b = b[m:]
		}
	}
}

func differs(got, want []byte) string {
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Sprintf("%d, which differ at %d", len(got), i)
		}
	}
	return fmt.Sprint(len(got))
}

// unread: a refused upload is answered, though nobody reads it.
func (w *world[R, M, H]) unread() error {
	w.route("POST", "/", w.rules(guard.Rule[R]{Policy: perMinute("unread", 1), Key: w.ByIP()}))
	c := w.open()
	defer c.close()
	if _, err := c.do("POST", "/", nil, "first"); err != nil {
		return err
	}
	upload := c.another()
	if err := upload.connect(); err != nil {
		return err
	}
	sent := make(chan struct{})
	go func(conn io.Writer) {
		defer close(sent)
		// The server may close the connection without having read it all: that fails the sending, not the answer.
		_, _ = io.WriteString(conn, request("POST", "/", nil, string(make([]byte, 1<<20))))
	}(upload.conn)
	a, err := upload.read("POST")
	upload.close()
	<-sent
	if err != nil || a.status != "429 Too Many Requests" {
		return unexpected("an upload that nobody reads", a, err)
	}
	if a, err = c.do("POST", "/", nil, "third"); err != nil || a.status != "429 Too Many Requests" {
		return unexpected("the one after it", a, err)
	}
	return nil
}

// upgrade: a handler takes the connection over, as websockets do, and the adapter keeps its hands off it.
func (w *world[R, M, H]) upgrade() error {
	outcomes := make(chan guard.Outcome, 1)
	_, inside := w.inside()
	const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
	w.routeTo(func(R) Reply {
		return Reply{Hijack: func(conn io.ReadWriteCloser) {
			defer func() { _ = conn.Close() }() // the client sees
			_, _ = io.WriteString(conn, switching)
			_, _ = io.Copy(conn, conn)
		}}
	}, "GET", "/", w.rules(inside, w.settled(outcomes)))
	c := w.open()
	defer c.close()
	if err := c.send("GET", "/", []string{"Connection: Upgrade", "Upgrade: echo"}, ""); err != nil {
		return err
	}
	a, _, err := c.head("GET")
	if err != nil || a.status != "101 Switching Protocols" {
		return unexpected("an upgrade", a, err)
	}
	for range 3 {
		ping := []byte("anything but HTTP\x00")
		pong := make([]byte, len(ping))
		if _, err := c.conn.Write(ping); err != nil {
			return err
		}
		if _, err := io.ReadFull(c.r, pong); err != nil || !bytes.Equal(ping, pong) {
			return errors.Join(fmt.Errorf("after an upgrade %q came back as %q", ping, pong), err)
		}
	}
	if b := w.peekInside(); b != 0 {
		return fmt.Errorf("%d places are free in flight while an upgraded connection holds the only one", b)
	}
	half, ok := c.conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.New("not a TCP connection")
	}
	if err := half.CloseWrite(); err != nil {
		return err
	}
	if rest, err := io.ReadAll(c.r); err != nil || len(rest) > 0 {
		return errors.Join(fmt.Errorf("after its end an upgraded connection carried %q", rest), err)
	}
	if err := w.nobodyInside(1); err != nil {
		return err
	}
	return w.settles(outcomes, 0) // of what status is the framework's affair
}

// peekInside returns how many places the store says are free.
func (w *world[R, M, H]) peekInside() int64 {
	p, _ := w.inside()
	seen, _ := w.store.charges()
	for _, s := range seen {
		if s.Policy.Name == p.Name {
			ds := make([]halt.Decision, 1)
			if err := w.store.Take(w.tb.Context(), []halt.Charge{{Policy: p, Key: s.Key, Cost: 1, Mode: halt.Peek}}, ds); err != nil {
				return -1
			}
			return ds[0].Remaining
		}
	}
	return -1
}
