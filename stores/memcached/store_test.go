package haltmemcached

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/cas"
	"github.com/halt-dev/halt/core/storetest"
	"github.com/halt-dev/halt/core/storetest/testserver"
)

func TestNew(t *testing.T) {
	s := open(t, nil, "localhost:1")
	if s.Name() != "memcached" {
		t.Errorf("its name is %q", s.Name())
	}
	for want, f := range map[string]func() (*Store, error){
		"at least one server": func() (*Store, error) { return New(nil, nil) },
		"twice":               func() (*Store, error) { return New([]string{"a:1", "a:1"}, nil) },
		"Options.Prefix":      func() (*Store, error) { return New([]string{"a:1"}, &Options{Prefix: "a b"}) },
		"100 bytes":           func() (*Store, error) { return New([]string{"a:1"}, &Options{Prefix: strings.Repeat("p", 101)}) },
		"Options.Timeout":     func() (*Store, error) { return New([]string{"a:1"}, &Options{Timeout: -1}) },
		"Options.Skew":        func() (*Store, error) { return New([]string{"a:1"}, &Options{Skew: time.Minute}) },
	} {
		if s, err := f(); s != nil || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	for _, server := range []string{
		"", "localhost", ":11211", "host:", "host:0", "host:65536", "host:x", "host:11211 ", " host:11211", "memcached://host:11211",
		"user:hunter2@host:11211", "hunter2@host:11211", "a/socket",
	} {
		if s, err := New([]string{server}, nil); s != nil || err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", server, err)
		}
	}
	for _, server := range []string{"127.0.0.1:11211", "[::1]:11211", "cache.internal:1", "/run/memcached.sock"} {
		if _, err := New([]string{server}, nil); err != nil {
			t.Errorf("%q: %v", server, err)
		}
	}
}

// What decisions cost, as the documentation has it. Who is alone writes once for each round trip.
func TestRoundTrips(t *testing.T) {
	server := testserver.Memcached(t)
	var writes atomic.Int64
	s := open(t, &Options{Timeout: patient.Timeout, Dial: counting(&writes)}, server.Addr())
	other := open(t, &patient, server.Addr())
	p := lasting(100)
	type cost struct{ trips, gets, sets int }
	so := func() cost {
		return cost{int(writes.Load()), stat(t, server, "cmd_get"), stat(t, server, "cmd_set")}
	}
	for _, c := range []struct {
		what   string
		charge halt.Charge
		other  int64 // what another process takes before
		want   cost
	}{
		{"the first decision of a process on a server", p.Charge("k", 1), 0, cost{2, 2, 1}},
		{"an admission", p.Charge("k", 1), 0, cost{1, 0, 1}},
		{"a refusal", p.Charge("k", 99), 0, cost{1, 1, 0}},
		{"a Peek", p.Charge("k", 0), 0, cost{1, 1, 0}},
		{"an admission, upon what was read", p.Charge("k", 1), 0, cost{1, 1, 1}},
		{"an admission, upon what was written", p.Charge("k", 1), 0, cost{1, 0, 1}},
		{"an admission where another process has written", p.Charge("k", 1), 1, cost{3, 2, 2}},
		{"a Peek", p.Charge("k", 0), 0, cost{1, 1, 0}},
		{"an admission where another has written what was read", p.Charge("k", 1), 1, cost{2, 2, 2}},
		{"a refusal where another process has written", p.Charge("k", 20), 80, cost{2, 1, 1}},
	} {
		if c.other > 0 {
			take(t, other, p.Charge("k", c.other))
		}
		before := so()
		take(t, s, c.charge)
		after := so()
		if got := (cost{after.trips - before.trips, after.gets - before.gets, after.sets - before.sets}); got != c.want {
			t.Errorf("%s took %+v, want %+v", c.what, got, c.want)
		}
	}
	for a := halt.TokenBucket; a <= halt.InFlight; a++ {
		before := so()
		for range 20 {
			take(t, s, halt.Policy{Name: "p", Algorithm: a, Limit: 100, Window: time.Hour}.Charge("k", 1))
		}
		// A key's first use costs a get that is sent with the set.
		if after := so(); after != (cost{before.trips + 20, before.gets + 1, before.sets + 20}) {
			t.Errorf("%s: 20 decisions took %+v to %+v", a, before, after)
		}
	}
}

// A Unix socket is a server like any other.
func TestUnixSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "halt") //nolint:usetesting // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	server := testserver.Memcached(t)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer l.Close()
	wg.Go(func() { // Memcached listens on a socket or on a port, and the tests' on a port
		for {
			a, err := l.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", server.Addr())
			if err != nil {
				t.Error(err)
				return
			}
			wg.Go(func() { _, _ = io.Copy(a, b); _ = a.Close() })
			wg.Go(func() { _, _ = io.Copy(b, a); _ = b.Close() })
		}
	})
	s, err := New([]string{path}, &patient)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if d := take(t, s, lasting(3).Charge("k", 1)); d.Remaining != 2 {
		t.Errorf("%+v", d)
	}
}

// Memcached's keys are short and have no spaces; ours are hashed where they are not so.
func TestKeys(t *testing.T) {
	r := newRegister([]string{"a"}, &Options{Prefix: "halt:"}, nil)
	name := func(key string) string { return r.wireKey(halt.StorageKey("halt:", lasting(1).Charge(key, 1))) }
	seen := make(map[string]string)
	for _, key := range []string{
		"k", "user:42", "\xff\xfe", " ", "", "a b", "a\x00b", "a\nb", "\x7f", strings.Repeat("k", 300), strings.Repeat("k", 301),
		strings.Repeat("k", 64<<10), "#" + strings.TrimPrefix(name(" "), "halt:#"),
	} {
		n := name(key)
		if len(n) > longestKey || !legal(n) {
			t.Errorf("%.20q becomes %q", key, n)
		}
		if hashed := strings.HasPrefix(n, "halt:#"); hashed != (len(key) > 200 || !legal(key)) {
			t.Errorf("%.20q becomes %q", key, n)
		}
		if other, ok := seen[n]; ok {
			t.Errorf("%.20q and %.20q are one key", key, other)
		}
		seen[n] = key
	}
}

// Servers share the keys evenly; one that is added takes its share of each and moves no others.
func TestServers(t *testing.T) {
	names := []string{"10.0.0.1:11211", "10.0.0.2:11211", "10.0.0.3:11211"}
	before := newRegister(names, &Options{Prefix: "halt:"}, nil)
	shuffled := newRegister([]string{names[2], names[0], names[1]}, &Options{Prefix: "halt:"}, nil)
	after := newRegister(append(names, "10.0.0.4:11211"), &Options{Prefix: "halt:"}, nil)
	counts := make(map[string]int)
	const keys = 12_000
	for i := range keys {
		key := fmt.Sprint("halt:api:T1m0s:user:", i)
		v, h := before.serverOf(key)
		w, _ := after.serverOf(key)
		if u, _ := shuffled.serverOf(key); u.name != v.name {
			t.Fatalf("%s is on %s or %s, by the order of the servers", key, v.name, u.name)
		}
		if w.name != v.name && w.name != "10.0.0.4:11211" {
			t.Errorf("%s moved from %s to %s", key, v.name, w.name)
		}
		counts["before "+v.name]++
		counts["after "+w.name]++
		counts[fmt.Sprint("lane ", h%lanes)]++
	}
	for name, n := range counts {
		want := map[byte]int{'b': keys / 3, 'a': keys / 4, 'l': keys / lanes}[name[0]]
		if n < want*9/10 || n > want*11/10 {
			t.Errorf("%s has %d keys, not about %d", name, n, want)
		}
	}
}

// An entry lives for as long as its budget is not as one never seen, in the server's own time, which moves in seconds.
func TestShortLives(t *testing.T) {
	s, server := newStore(t, &Options{Timeout: patient.Timeout, Skew: time.Second}) // a busy server's clock is late by more than one
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			time.Sleep(time.Duration(i) * 50 * time.Millisecond) //nolint:forbidigo // the server's clock has phases
			p := halt.Policy{Name: "short", Limit: 1, Window: time.Duration(1+i%3) * 500 * time.Millisecond}
			key := fmt.Sprint("k", i)
			d := take(t, s, p.Charge(key, 1))
			wire := "mg " + s.register.wireKey(halt.StorageKey("halt:", p.Charge(key, 1))) + " t\r\n"
			for {
				there, _ := text(t, server.Addr(), wire)
				lived := time.Since(d.At.Time())
				if there != "EN" && lived < d.ResetAfter+10*time.Second {
					continue
				}
				if lived < d.ResetAfter || there != "EN" {
					t.Errorf("an entry lived for %v, its budget was whole after %v", lived, d.ResetAfter)
				}
				return
			}
		})
	}
	wg.Wait()
}

// Entries that live for more than 30 days, or for ten years, or beyond what Memcached can say, are there.
func TestLongLives(t *testing.T) {
	server := testserver.Memcached(t)
	clock := cas.NewClock()
	r := newRegister([]string{server.Addr()}, &Options{Timeout: patient.Timeout, Dial: new(net.Dialer).DialContext}, clock.Now)
	defer r.servers[0].close()
	if _, err := r.Load(t.Context(), "another"); err != nil { // it asks for the time first
		t.Fatal(err)
	}
	const day = 24 * time.Hour
	for i, life := range []time.Duration{30*day - 2*time.Second, 30*day - time.Second, 30 * day, 31 * day, 3650 * day, 36500 * day} {
		key := fmt.Sprint("k", i)
		res, err := r.CompareAndSwap(t.Context(), key, cas.Entry{}, []byte("v"), life)
		if err != nil || !res.Swapped {
			t.Fatalf("%v: %+v, %v", life, res, err)
		}
		line, _ := text(t, server.Addr(), "mg "+key+" t\r\n")
		var seconds int64
		if _, err := fmt.Sscanf(line, "HD t%d", &seconds); err != nil {
			t.Errorf("an entry to live for %v: %q", life, line)
		}
		least := min(int64(life/time.Second), (1<<31)-1-time.Now().Unix()-5)
		if seconds < least || seconds > least+20 {
			t.Errorf("an entry to live for %v lives for %d s, not %d", life, seconds, least)
		}
	}
}

// The server's clock decides, to some seconds, however wrong this process's is.
func TestServersClock(t *testing.T) {
	server := testserver.Memcached(t)
	for _, off := range []time.Duration{0, time.Hour, -time.Hour} {
		now := func() halt.Instant { return halt.InstantOf(time.Now().Add(off)) }
		r := newRegister([]string{server.Addr()}, &Options{Timeout: patient.Timeout, Dial: new(net.Dialer).DialContext}, now)
		if _, err := r.Load(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		wrong := r.Ahead("k") + off
		if off == 0 && wrong != 0 || wrong > 4*time.Second || wrong < -4*time.Second {
			t.Errorf("with a clock that is off by %v, the server's is thought to be %v ahead", off, r.Ahead("k"))
		}
		r.servers[0].close()
	}
}

// A process whose clock is wrong decides by the server's from its first decision on: what it writes counts for the others.
func TestFirstDecision(t *testing.T) {
	right, server := newStore(t, &patient)
	for _, off := range []time.Duration{time.Hour, -time.Hour} {
		o := patient
		o.Dial = new(net.Dialer).DialContext
		clock := func() halt.Instant { return halt.InstantOf(time.Now().Add(off)) }
		r := newRegister([]string{server.Addr()}, &o, clock)
		wrong, err := cas.New(r, &cas.Options{Timeout: o.Timeout, Clock: clock})
		if err != nil {
			t.Fatal(err)
		}
		c := halt.Policy{Name: "p", Limit: 1, Window: 10 * time.Minute}.Charge(off.String(), 1)
		d, err := storetest.TakeOne(t.Context(), wrong, c)
		if err != nil || !d.Allowed {
			t.Errorf("%+v, %v", d, err)
		}
		if d := take(t, right, c); d.Allowed {
			t.Errorf("after a decision by a clock that is off by %v: %+v", off, d)
		}
		r.servers[0].close()
	}
}

// A server that can't compare and swap says so; its entries are not taken for something else.
func TestDisabledCAS(t *testing.T) {
	s, _ := newStore(t, &patient, "-C")
	for range 2 {
		_, err := storetest.TakeOne(t.Context(), s, lasting(5).Charge("k", 1))
		if err != nil && (!errors.Is(err, halt.ErrStore) || !errors.Is(err, errNoNumbers)) {
			t.Error(err)
		}
	}
	if _, err := storetest.TakeOne(t.Context(), s, lasting(5).Charge("k", 1)); !errors.Is(err, errNoNumbers) {
		t.Error(err)
	}
}

// A caller's context that has ended sends nothing.
func TestEnded(t *testing.T) {
	s, server := newStore(t, nil)
	take(t, s, lasting(3).Charge("k", 1))
	sets := stat(t, server, "cmd_set")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for range 10 {
		if _, err := storetest.TakeOne(ctx, s, lasting(3).Charge("k", 1)); err != context.Canceled { //nolint:errorlint // as it is
			t.Errorf("%v", err)
		}
	}
	if n := stat(t, server, "cmd_set") - sets; n != 0 {
		t.Errorf("%d sets", n)
	}
}

// FuzzReply: whatever comes, reading ends, and what is kept is bounded.
func FuzzReply(f *testing.F) {
	for _, s := range []string{
		"HD c17\r\n", "EN\r\n", "NS c0\r\n", "EX c0\r\n", "NF\r\n", "VA 2 c5\r\nhi\r\n", "VA 0 c5\r\n\r\n", "VA 99999 c1\r\nx\r\n", "VA -1\r\n",
		"STAT time 1795518566\r\nSTAT pid 3\r\nEND\r\n", "SERVER_ERROR out of memory storing object\r\n", "ERROR\r\n",
		"CLIENT_ERROR bad\r\n", "\n", "VA",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bufio.NewReader(strings.NewReader(string(b)))
		for {
			a, err := readReply(r)
			if err != nil {
				return
			}
			if len(a.value) > longestValue || a.value != nil && a.status != statusValue {
				t.Errorf("%+v", a)
			}
		}
	})
}
