package haltmemcached

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/cas"
	"github.com/halt-dev/halt/core/cas/castest"
	"github.com/halt-dev/halt/core/storetest"
)

// The register by itself, against the suite of package castest.
func TestRegisterContract(t *testing.T) {
	_, server := newStore(t, &patient)
	handle := func(tb testing.TB) cas.Register {
		tb.Helper()
		o := patient
		return open(tb, &o, server.Addr()).register
	}
	castest.Run(t, castest.Harness{New: handle, Another: func(tb testing.TB, _ cas.Register) cas.Register { return handle(tb) }})
}

func TestConformance(t *testing.T) {
	addrs := servers(t, 3)
	t.Run("one server", func(t *testing.T) { storetest.Run(t, harness(&patient, addrs[0])) })
	t.Run("three servers", func(t *testing.T) { storetest.Run(t, harness(&patient, addrs...)) })
}

// The suite where one answer in twenty is lost, with its connection.
func TestLosesReplies(t *testing.T) {
	f := new(faulty)
	lose := func() bool { return rand.IntN(20) == 0 }
	h := harness(&Options{Timeout: patient.Timeout, Dial: f.dial}, servers(t, 2)...)
	h.LosesReplies, h.Corrupt, h.TTL = true, nil, nil
	connect := h.New
	h.New = func(tb testing.TB) halt.Store {
		f.lose.Store(nil)
		if strings.Contains(tb.Name(), "Concurrent") { // other cases follow what becomes of each call
			f.lose.Store(&lose)
		}
		return connect(tb)
	}
	storetest.Run(t, h)
}

// The suite where all that is sent and answered comes in pieces.
func TestPieces(t *testing.T) {
	f := new(faulty)
	f.cut.Store(true)
	h := harness(&Options{Timeout: patient.Timeout, Dial: f.dial}, servers(t, 1)...)
	h.Corrupt, h.TTL, h.MaxKey = nil, nil, 1000
	connect := h.New
	h.New = func(tb testing.TB) halt.Store {
		if name := tb.Name(); !strings.Contains(name, "Concurrent") && !strings.HasSuffix(name, "/Keys") {
			tb.Skip("it is the same for whole commands")
		}
		return connect(tb)
	}
	storetest.Run(t, h)
}

// harness describes stores on the servers.
func harness(o *Options, servers ...string) storetest.Harness {
	return storetest.Harness{
		New: func(tb testing.TB) halt.Store {
			for _, addr := range servers {
				text(tb, addr, "flush_all\r\n")
			}
			return open(tb, o, servers...)
		},
		Corrupt: map[string]func(testing.TB, halt.Store, halt.Charge){
			"empty":        overwrite(func(string) string { return "" }),
			"text":         overwrite(func(string) string { return "hello, world: this is somebody else's" }),
			"number":       overwrite(func(string) string { return "42" }),
			"long":         overwrite(func(string) string { return strings.Repeat("long", 10_000) }),
			"cut off":      overwrite(func(v string) string { return v[:len(v)-1] }),
			"too long":     overwrite(func(v string) string { return v + "\x00" }),
			"other format": overwrite(func(v string) string { return string(v[0]+1) + v[1:] }),
		},
		TTL: func(tb testing.TB, s halt.Store, c halt.Charge) (time.Duration, bool) {
			line, _ := meta(tb, s, c, "mg", " t\r\n")
			ttl, ok := strings.CutPrefix(line, "HD t")
			switch n, err := strconv.Atoi(ttl); {
			case !ok:
				return 0, false
			case n == -1:
				return halt.Never, true
			default:
				if err != nil {
					tb.Fatal(err)
				}
				return time.Duration(n) * time.Second, true
			}
		},
	}
}

// overwrite returns a way to spoil what a key holds.
func overwrite(f func(v string) string) func(testing.TB, halt.Store, halt.Charge) {
	return func(tb testing.TB, s halt.Store, c halt.Charge) {
		tb.Helper()
		line, v := meta(tb, s, c, "mg", " v\r\n")
		if !strings.HasPrefix(line, "VA ") {
			tb.Fatalf("no value to be spoiled: %q", line)
		}
		v = f(v)
		if line, _ := meta(tb, s, c, "ms", fmt.Sprintf(" %d T600\r\n%s\r\n", len(v), v)); line != "HD" {
			tb.Fatalf("a value could not be spoiled: %q", line)
		}
	}
}

// meta sends a command on the charge's key to its server, and returns the answer and the value.
func meta(tb testing.TB, s halt.Store, c halt.Charge, command, rest string) (line, value string) {
	tb.Helper()
	r := s.(*Store).register
	key := r.wireKey(halt.StorageKey(r.prefix, c))
	v, _ := r.serverOf(key)
	return text(tb, v.name, command+" "+key+rest)
}

// text sends a command to a server, and returns the line that it answers, and what follows it.
func text(tb testing.TB, addr, command string) (line, value string) {
	tb.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte(command)); err != nil {
		tb.Fatal(err)
	}
	r := bufio.NewReader(c)
	line, err = r.ReadString('\n')
	if err != nil {
		tb.Fatal(err)
	}
	line = strings.TrimRight(line, "\r\n")
	if size, ok := strings.CutPrefix(line, "VA "); ok {
		size, _, _ = strings.Cut(size, " ")
		n, err := strconv.Atoi(size)
		if err != nil {
			tb.Fatal(err)
		}
		b := make([]byte, n)
		for i := range b {
			if b[i], err = r.ReadByte(); err != nil {
				tb.Fatal(err)
			}
		}
		value = string(b)
	}
	return line, value
}

// textUntil sends commands to a server, and returns all that it answers, up to and with the last line.
func textUntil(tb testing.TB, addr, commands, last string) string {
	tb.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	defer c.Close()
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write([]byte(commands))
		sent <- err
	}()
	var b strings.Builder
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			tb.Fatal(err)
		}
		b.WriteString(line)
		if line == last {
			break
		}
	}
	if err := <-sent; err != nil {
		tb.Fatal(err)
	}
	return b.String()
}
