package haltdynamo

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/cas"
	"github.com/halt-dev/halt/core/storetest"
)

// by returns a charge of 10 in a mode, a Credit for what first took.
func by(m halt.Mode, p halt.Policy, first halt.Decision) halt.Charge {
	c := halt.Charge{Policy: p, Key: "k", Cost: 10, Mode: m}
	if m == halt.Credit {
		c.At, c.Taken = first.At, 50
	}
	return c
}

// A write whose answer is lost is found to have happened: it is an error to nobody and counts once. The SDK by itself would
// send it again.
func TestLostAnswer(t *testing.T) {
	s, f := faulty(t, patient)
	for _, c := range []struct {
		mode halt.Mode
		left int64
	}{{halt.Take, 40}, {halt.Debit, 40}, {halt.Credit, 60}} {
		t.Run(c.mode.String(), func(t *testing.T) {
			p := lasting(100)
			p.Name = "lost-" + c.mode.String()
			first := take(t, s, p.Charge("k", 50))
			f.use(only("PutItem", 1, loses(nil)))
			if d, err := storetest.TakeOne(ctx, s, by(c.mode, p, first)); err != nil || !d.Allowed || d.Remaining != c.left {
				t.Errorf("%+v, %v", d, err)
			}
			if puts, gets := f.count("PutItem"), f.count("GetItem"); puts != 1 || gets != 1 {
				t.Errorf("%d writes and %d reads, want one of each", puts, gets)
			}
			f.use(nil)
			if d := take(t, s, p.Charge("k", 0)); d.Remaining != c.left {
				t.Errorf("%d are left, want %d", d.Remaining, c.left)
			}
		})
	}
}

// If others have written since, nobody can tell whether the write with the lost answer happened. Then a Credit or a Debit is an
// error and is not sent again; a Take is decided again, and only less is admitted.
func TestLostAnswerOverwritten(t *testing.T) {
	for _, c := range []struct {
		mode  halt.Mode
		fails bool
		left  int64
	}{{halt.Take, false, 29}, {halt.Debit, true, 39}, {halt.Credit, true, 59}} {
		t.Run(c.mode.String(), func(t *testing.T) {
			o := fresh(patient)
			s, f := faulty(t, o)
			other := newStore(t, connect(Endpoint), o)
			p := lasting(100)
			first := take(t, s, p.Charge("k", 50))
			f.use(only("PutItem", 1, loses(func() { take(t, other, p.Charge("k", 1)) })))
			d, err := storetest.TakeOne(ctx, s, by(c.mode, p, first))
			switch {
			case (err != nil) != c.fails:
				t.Errorf("%+v, %v", d, err)
			case c.fails && !failsAs(err, halt.ErrStore, io.ErrUnexpectedEOF):
				t.Errorf("the error is %v", err)
			}
			f.use(nil)
			if d := take(t, s, p.Charge("k", 0)); d.Remaining != c.left {
				t.Errorf("%d are left, want %d", d.Remaining, c.left)
			}
		})
	}
}

// A transaction whose answer is lost is not sent again: the nonces tell that it ran.
func TestLostTransaction(t *testing.T) {
	s, f := faulty(t, patient)
	p := lasting(100)
	q := halt.Policy{Name: "q", Limit: 100, Window: p.Window}
	ds := make([]halt.Decision, 2)
	for n, mode := range []halt.Mode{halt.Take, halt.Debit, halt.Take} {
		f.use(only("TransactWriteItems", 1, loses(nil)))
		if err := s.Take(ctx, []halt.Charge{{Policy: p, Key: "k", Cost: 10, Mode: mode}, {Policy: q, Key: "k", Cost: 20, Mode: mode}}, ds); err != nil {
			t.Fatalf("a %s: %v", mode, err)
		}
		if sent := f.count("TransactWriteItems"); sent != 1 {
			t.Errorf("it was sent %d times", sent)
		}
		left := [2]int64{take(t, s, p.Charge("k", 0)).Remaining, take(t, s, q.Charge("k", 0)).Remaining}
		if want := [2]int64{100 - 10*int64(n+1), 100 - 20*int64(n+1)}; left != want {
			t.Errorf("after a %s %v are left, want %v", mode, left, want)
		}
	}
}

// A transaction whose connection was cut may run after a later one was refused, because others were writing. A Debit counts once
// all the same.
func TestLateTransaction(t *testing.T) {
	s, f := faulty(t, patient)
	p := lasting(100)
	var late func()
	sendings := 0
	f.use(func(operation string, r *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		if operation != "TransactWriteItems" {
			return send()
		}
		sendings++
		switch sendings {
		case 1: // on its way for long
			body, _ := io.ReadAll(r.Body)
			again := r.Clone(ctx)
			late = func() {
				again.Body = io.NopCloser(bytes.NewReader(body))
				if answer, err := f.next.Do(again); err != nil || answer.StatusCode != http.StatusOK {
					t.Errorf("it does not run late: %v, %v", answer, err)
				} else {
					_ = answer.Body.Close()
				}
			}
			return nil, io.ErrUnexpectedEOF
		case 2:
			return answers(http.StatusBadRequest, "TransactionCanceledException",
				`,"CancellationReasons":[{"Code":"TransactionConflict"},{"Code":"None"}]`)(operation, r, send)
		case 3:
			late()
		}
		return send()
	})
	cs := []halt.Charge{{Policy: p, Key: "k", Cost: 10, Mode: halt.Debit}, {Policy: p, Key: "l", Cost: 10, Mode: halt.Debit}}
	if err := s.Take(ctx, cs, make([]halt.Decision, 2)); err != nil {
		t.Error(err)
	}
	if sendings < 3 {
		t.Errorf("it was sent %d times", sendings)
	}
	f.use(nil)
	for _, key := range []string{"k", "l"} {
		if d := take(t, s, p.Charge(key, 0)); d.Remaining != 90 {
			t.Errorf("%d are left of %s", d.Remaining, key)
		}
	}
}

// The suite where one connection in twenty is cut when the answer comes.
func TestLosesAnswers(t *testing.T) {
	p := newProxy(t)
	client := connect("http://" + p.Addr().String())
	h := newRig(t).harness()
	h.LosesReplies, h.Corrupt, h.TTL = true, nil, nil
	h.New = func(tb testing.TB) halt.Store {
		p.cuts.Store(strings.Contains(tb.Name(), "Concurrent")) // other cases follow what becomes of each call
		return newStore(tb, client, patient)
	}
	storetest.Run(t, h)
}

// proxy stands between the client and the server of all tests, and loses answers: the server has done what it was asked to.
type proxy struct {
	net.Listener
	cuts atomic.Bool
}

func newProxy(t *testing.T) *proxy {
	t.Helper()
	to, err := url.Parse(Endpoint)
	if err != nil || to.Scheme != "http" {
		t.Skipf("connections to %s can't be cut (%v)", Endpoint, err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l}
	var all sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	over, stop := context.WithCancel(ctx)
	t.Cleanup(stop) // which comes first
	all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to.Host)
			if err != nil {
				t.Error(err)
				_ = client.Close()
				return
			}
			end := func() { _, _ = client.Close(), server.Close() }
			context.AfterFunc(over, end)
			all.Go(func() {
				defer end()
				_, _ = io.Copy(server, client) // ends when either does
			})
			all.Go(func() {
				defer end()
				p.answers(client, server)
			})
		}
	})
	return p
}

// answers passes on what the server says, until it is time for a cut.
func (p *proxy) answers(client, server net.Conn) {
	b := make([]byte, 1<<16)
	for {
		n, err := server.Read(b)
		if err != nil || p.cuts.Load() && rand.IntN(20) == 0 {
			return
		}
		if _, err := client.Write(b[:n]); err != nil {
			return
		}
	}
}

// A register must not repeat a write by itself if the first sending may have swapped.
func TestRegisterTellsDoubt(t *testing.T) {
	client, f := newFaults()
	r := newRegister(t, client)
	for name, do := range map[string]fault{
		"lost": loses(nil), "500": answers(500, "InternalServerError", ""), "503": answers(503, "ServiceUnavailable", ""),
		"408": answers(408, "RequestTimeout", ""), "gateway": answers(502, "", ""), "proxy": answers(400, "", ""),
	} {
		for _, value := range [][]byte{[]byte("value"), nil} {
			f.use(do)
			result, err := r.CompareAndSwap(ctx, "doubt:"+name, cas.Entry{}, value, 0)
			if err == nil || isNotDone(err) || errors.Is(err, ErrThrottled) {
				t.Errorf("%s: %+v, %v", name, result, err)
			}
			if sent := f.count("PutItem") + f.count("DeleteItem"); sent != 1 {
				t.Errorf("%s: it was sent %d times", name, sent)
			}
		}
	}
	f.use(nil)
}
