package haltmemcached

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
	"github.com/halt-dev/halt/core/storetest/testserver"
)

// load takes from s in some goroutines until stop is called, which returns how many were admitted and the errors by kind.
func load(s *Store, c halt.Charge) (stop func() (admitted int64, failed map[string]int)) {
	var wg sync.WaitGroup
	var over atomic.Bool
	var admitted atomic.Int64
	var mu sync.Mutex
	failed := map[string]int{}
	for range 8 {
		wg.Go(func() {
			for !over.Load() {
				d, err := storetest.TakeOne(context.Background(), s, c)
				switch {
				case err != nil:
					mu.Lock()
					failed[halt.ErrorKind(err)]++
					mu.Unlock()
				case d.Allowed:
					admitted.Add(1)
				}
			}
		})
	}
	return func() (int64, map[string]int) {
		over.Store(true)
		wg.Wait()
		return admitted.Load(), failed
	}
}

// A server that was killed and comes back empty admits the limit once more, and no more. Meanwhile errors say so.
func TestRestart(t *testing.T) {
	s, server := newStore(t, nil)
	p := lasting(1000)
	stop := load(s, p.Charge("k", 1))
	for life := range 3 {
		eventually(t, "the limit is reached", func() bool {
			d, err := storetest.TakeOne(context.Background(), s, p.Charge("k", 0))
			return err == nil && d.Remaining == 0
		})
		if life == 2 {
			break
		}
		server.Kill()
		_, err := storetest.TakeOne(context.Background(), s, p.Charge("k", 1))
		if !errors.Is(err, halt.ErrStore) && !errors.Is(err, halt.ErrDeadline) {
			t.Errorf("with the server down: %v", err)
		}
		server.Restart()
	}
	if admitted, _ := stop(); admitted > 3*p.Limit {
		t.Errorf("%d were admitted over three lives of the server, of %d each", admitted, p.Limit)
	}
}

// A restarted server numbers its entries from 1 again: a number that was learned before must not replace an entry that came
// to it after.
func TestNumbersAfterRestart(t *testing.T) {
	for mode := halt.Take; mode <= halt.Debit; mode++ {
		s, server := newStore(t, &patient)
		p := lasting(10)
		take(t, s, p.Charge("k", 1)) // number 1
		server.Restart()
		other := open(t, &patient, server.Addr())
		take(t, other, p.Charge("k", 5)) // number 1
		if number, _ := text(t, server.Addr(), "mg halt:lasting:F24000h0m0s:k c\r\n"); number != "HD c1" {
			t.Fatalf("the entry is %q; the test means one of number 1", number)
		}
		if mode == halt.Shadow {
			continue
		}
		d := take(t, s, halt.Charge{Policy: p, Key: "k", Cost: 2, Mode: mode})
		want := int64(3)
		if mode == halt.Peek {
			want = 5
		}
		if d.Remaining != want {
			t.Errorf("%s: %d are left, not %d", mode, d.Remaining, want)
		}
	}
}

// An entry whose connection broke is known by its value: it is read once, and then written without reading again.
func TestReconnect(t *testing.T) {
	f := new(faulty)
	s, server := newStore(t, &Options{Timeout: patient.Timeout, Dial: f.dial})
	p := lasting(100)
	take(t, s, p.Charge("k", 1))
	for i := range int64(10) {
		for _, c := range s.register.servers[0].conns {
			if c != nil {
				c.fail(errors.New("the test's"))
			}
		}
		if d := take(t, s, p.Charge("k", 1)); d.Remaining != 98-2*i {
			t.Errorf("%d are left", d.Remaining)
		}
		gets, sets := stat(t, server, "cmd_get"), stat(t, server, "cmd_set")
		take(t, s, p.Charge("k", 1))
		if g, n := stat(t, server, "cmd_get")-gets, stat(t, server, "cmd_set")-sets; g != 0 || n != 1 {
			t.Errorf("a decision took %d gets and %d sets", g, n)
		}
	}
}

// stat returns one of the server's statistics.
func stat(tb testing.TB, server *testserver.Server, name string) int {
	tb.Helper()
	for line := range strings.Lines(textUntil(tb, server.Addr(), "stats\r\n", "END\r\n")) {
		if f := strings.Fields(line); len(f) == 3 && f[1] == name {
			n, err := strconv.Atoi(f[2])
			if err != nil {
				tb.Fatal(err)
			}
			return n
		}
	}
	tb.Fatalf("no statistic %s", name)
	return 0
}

// A Credit or a Debit whose answer is lost counts once, and so does a Take: the nonce tells whether it happened.
func TestLostReply(t *testing.T) {
	f := new(faulty)
	s, _ := newStore(t, &Options{Timeout: patient.Timeout, Dial: f.dial})
	p := lasting(100)
	first := take(t, s, p.Charge("k", 50))
	for _, c := range []struct {
		mode halt.Mode
		left int64
	}{{halt.Credit, 60}, {halt.Debit, 50}, {halt.Peek, 50}, {halt.Take, 40}} {
		charge := halt.Charge{Policy: p, Key: "k", Cost: 10, Mode: c.mode}
		if c.mode == halt.Credit {
			charge.At, charge.Taken = first.At, 50
		}
		f.armed.Store(true)
		d, err := storetest.TakeOne(context.Background(), s, charge)
		if c.mode == halt.Peek {
			// Nothing was to be written: there is nothing to find out.
			if err == nil {
				t.Error("a Peek whose answer is lost: no error")
			}
			continue
		}
		if err != nil || d.Remaining != c.left {
			t.Errorf("a %s whose answer is lost: %d left, %v", c.mode, d.Remaining, err)
		}
		if d := take(t, s, p.Charge("k", 0)); d.Remaining != c.left {
			t.Errorf("after a %s whose answer was lost, %d are left, not %d", c.mode, d.Remaining, c.left)
		}
	}
}

// With a server that does not answer, or a network that is slow, no call outlives its timeout by much, and nothing is left
// behind.
func TestNoAnswer(t *testing.T) {
	f := new(faulty)
	server := testserver.Memcached(t)
	before := runtime.NumGoroutine()
	s, err := New([]string{server.Addr()}, &Options{Timeout: 50 * time.Millisecond, Dial: f.dial})
	if err != nil {
		t.Fatal(err)
	}
	p := lasting(1 << 40)
	stop := load(s, p.Charge("k", 1))
	late := func(what string) {
		eventually(t, what+": calls time out", func() bool {
			begun := time.Now()
			_, err := storetest.TakeOne(context.Background(), s, p.Charge("l", 1))
			if took := time.Since(begun); took > 10*time.Second { // a busy machine stalls, but not for so long
				t.Errorf("%s: a call took %v", what, took)
			}
			return errors.Is(err, halt.ErrDeadline)
		})
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := storetest.TakeOne(ctx, s, p.Charge("l", 1)); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: a caller who has left: %v", what, err)
		}
	}
	dialed := func() uint64 {
		v := s.register.servers[0]
		v.mu.Lock()
		defer v.mu.Unlock()
		return v.dialed
	}
	first := dialed()
	server.Pause()
	late("paused")
	eventually(t, "the connections are given up", func() bool { return dialed() > first+lanes })
	server.Resume()
	eventually(t, "it answers again", func() bool {
		_, err := storetest.TakeOne(context.Background(), s, p.Charge("l", 1))
		return err == nil
	})
	f.slow.Store(int64(300 * time.Millisecond))
	late("slow")
	f.slow.Store(0)
	stop()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	eventually(t, "Close has closed it", func() bool { // what is late under the key comes first
		_, err := storetest.TakeOne(context.Background(), s, p.Charge("k", 1))
		return errors.Is(err, errClosed) && errors.Is(err, halt.ErrStore)
	})
	eventually(t, "all goroutines are gone", func() bool { return runtime.NumGoroutine() <= before })
}

// Connecting may take longer than a call.
func TestSlowDial(t *testing.T) {
	f := new(faulty)
	f.dials.Store(int64(300 * time.Millisecond))
	s, _ := newStore(t, &Options{Timeout: 20 * time.Millisecond, Dial: f.dial})
	late := 0
	eventually(t, "it connects", func() bool {
		_, err := storetest.TakeOne(context.Background(), s, lasting(1<<40).Charge("k", 1))
		if err != nil {
			late++
		}
		return err == nil
	})
	if late < 4 {
		t.Errorf("only %d calls were late", late)
	}
}

// What was given up before there was a connection is not sent.
func TestGivenUp(t *testing.T) {
	c := &conn{server: newServer("s", &patient, nil)}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for i := range 6 {
		x := c.server.newExchange()
		x.get(fmt.Sprint("k", i))
		if err := c.start(x); err != nil {
			t.Fatal(err)
		}
		if i%3 != 0 {
			if err := x.wait(ended); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
	}
	c.board()
	if got := string(c.out); got != "mg k0 c v\r\nmg k3 c v\r\n" || len(c.asked) != 2 || c.unsent != 2 {
		t.Errorf("%q is sent, %d answers are awaited, %d of what is unsent", got, len(c.asked), c.unsent)
	}
}

// A server that is full and may not evict tells so, and so do we. The entry that could not be written is lost: that is
// Memcached's way.
func TestFull(t *testing.T) {
	s, server := newStore(t, &patient, "-M", "-m", "2")
	p := lasting(10)
	take(t, s, p.Charge("k", 7))
	key := s.register.wireKey(halt.StorageKey(s.register.prefix, p.Charge("k", 1)))
	fill(t, server, key, func(answer string) bool { return strings.HasPrefix(answer, "SERVER_ERROR") })
	_, err := storetest.TakeOne(context.Background(), s, p.Charge("k", 1))
	if !errors.Is(err, halt.ErrStore) || !strings.Contains(fmt.Sprint(err), "SERVER_ERROR out of memory") {
		t.Errorf("a full server: %v", err)
	}
	text(t, server.Addr(), "flush_all\r\n")
	if d := take(t, s, p.Charge("k", 1)); !d.Allowed || d.Remaining != 9 {
		t.Errorf("once there is room: %+v", d)
	}
}

// What Memcached evicts starts afresh, and is admitted no more than its limit again.
func TestEviction(t *testing.T) {
	s, server := newStore(t, &patient, "-m", "2")
	p := lasting(3)
	for range 2 {
		for i := range 5 {
			if d := take(t, s, p.Charge("k", 1)); d.Allowed != (i < 3) {
				t.Fatalf("number %d: %+v", i+1, d)
			}
		}
		key := s.register.wireKey(halt.StorageKey(s.register.prefix, p.Charge("k", 1)))
		fill(t, server, key, func(string) bool {
			there, _ := text(t, server.Addr(), "me "+key+"\r\n") // looks without using it
			return there == "EN"
		})
	}
}

// fill writes entries as large as that of the key to the server, until done, which is asked now and then with the last answer.
// That can take seconds: Memcached keeps what was in use apart from what is new, until it is older than that by its clock.
func fill(tb testing.TB, server *testserver.Server, key string, done func(answer string) bool) {
	tb.Helper()
	_, value := text(tb, server.Addr(), "mg "+key+" v\r\n")
	fills++
	const batch = 500
	n, start := 0, time.Now()
	for ; time.Since(start) < 30*time.Second; n++ {
		var b strings.Builder
		for i := range batch {
			name := fmt.Sprintf("%d:%d:%d:", fills, n, i)
			fmt.Fprintf(&b, "ms %s%s %d T1000\r\n%s\r\n", name, strings.Repeat("f", len(key)-len(name)), len(value), value)
		}
		b.WriteString("mn\r\n")
		answers := strings.Split(textUntil(tb, server.Addr(), b.String(), "MN\r\n"), "\r\n")
		if done(answers[len(answers)-3]) {
			return
		}
	}
	tb.Fatalf("%d entries did not fill the server", batch*n)
}

var fills int

// Keys of a server that is down fail, and are not moved to another, which would admit them their limits again. The others'
// go on.
func TestOneServerDown(t *testing.T) {
	one, two := testserver.Memcached(t), testserver.Memcached(t)
	s := open(t, &Options{Timeout: 5 * time.Second}, one.Addr(), two.Addr())
	p := lasting(10)
	two.Kill()
	failed, admitted := 0, 0
	for i := range 40 {
		c := p.Charge(fmt.Sprint("k", i), 1)
		v, _ := s.register.serverOf(s.register.wireKey(halt.StorageKey(s.register.prefix, c)))
		d, err := storetest.TakeOne(context.Background(), s, c)
		switch {
		case v.name == two.Addr() && !errors.Is(err, halt.ErrStore):
			t.Errorf("a key of the server that is down: %+v, %v", d, err)
		case v.name == one.Addr() && (err != nil || !d.Allowed):
			t.Errorf("a key of the server that is up: %+v, %v", d, err)
		case err != nil:
			failed++
		default:
			admitted++
		}
	}
	if failed == 0 || admitted == 0 {
		t.Errorf("%d keys failed and %d did not", failed, admitted)
	}
}
