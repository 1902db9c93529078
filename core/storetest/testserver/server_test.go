//go:build unix

package testserver

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestLife(t *testing.T) {
	t.Parallel()
	s := Redis(t)
	first, addr := s.Pid(), s.Addr()
	wantAnswer(t, s, "SET k v", "+OK")

	s.Stop()
	wantDown(t, s, first)
	s.Stop() // once more is nothing

	s.Restart()
	second := s.Pid()
	if second == first || second == 0 {
		t.Errorf("process %d came after %d", second, first)
	}
	if s.Addr() != addr {
		t.Errorf("the address changed from %s to %s", addr, s.Addr())
	}
	wantAnswer(t, s, "EXISTS k", ":0")

	s.Kill()
	wantDown(t, s, second)
	s.Kill()

	s.Restart()
	third := s.Pid()
	s.Restart() // of one that runs
	if s.Pid() == third {
		t.Error("Restart kept the process")
	}
	wantAnswer(t, s, "PING", "+PONG")
}

func TestPause(t *testing.T) {
	t.Parallel()
	s := Redis(t)
	conn, err := dial(t.Context(), s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	s.Pause()
	s.Pause() // once more is nothing
	if _, err := io.WriteString(conn, "PING\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if line, err := r.ReadString('\n'); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a paused server answered %q, %v", line, err)
	}
	s.Resume()
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if line, err := r.ReadString('\n'); line != "+PONG\r\n" {
		t.Fatalf("a resumed server answered %q, %v", line, err)
	}

	for _, end := range []struct {
		name string
		do   func()
	}{{"Stop", s.Stop}, {"Kill", s.Kill}, {"Restart", s.Restart}} {
		s.Restart()
		s.Pause()
		pid, began := s.Pid(), time.Now()
		end.do()
		if took := time.Since(began); took >= stopTimeout {
			t.Errorf("%s of a paused server took %v", end.name, took)
		}
		if s.Pid() == pid {
			t.Errorf("%s of a paused server left it", end.name)
		}
	}
	s.Pause() // the test ends with a paused server
}

func TestCleanup(t *testing.T) {
	for name, start := range map[string]func(testing.TB, ...string) *Server{
		"redis": Redis, "memcached": Memcached, "postgres": Postgres,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s *Server
			var pid int
			var all []member
			t.Run("test", func(t *testing.T) {
				s = start(t)
				pid, all = s.Pid(), s.current.Load().members()
				if !portTaken(s.Port()) {
					t.Error("nobody listens on the port")
				}
			})
			wantGone(t, s, pid, all)

			// After the test nothing happens any more.
			for _, do := range []func(){s.Kill, s.Stop, s.Restart, s.Pause, s.Resume} {
				do()
			}
			wantGone(t, s, pid, all)
		})
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	addrs := map[string]bool{}
	for range 3 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			var all []*Server
			for i := range 8 {
				s := Redis(t)
				all = append(all, s)
				mu.Lock()
				if addrs[s.Addr()] {
					t.Errorf("two servers have %s", s.Addr())
				}
				addrs[s.Addr()] = true
				mu.Unlock()
				t.Cleanup(func() { // when the server still runs
					mu.Lock()
					delete(addrs, s.Addr())
					mu.Unlock()
				})
				wantAnswer(t, s, "SET k "+strconv.Itoa(i), "+OK")
				if i%2 == 0 {
					s.Kill() // and keep the port
				}
			}
			for i, s := range all {
				if i%2 == 0 {
					s.Restart()
					wantAnswer(t, s, "EXISTS k", ":0")
				} else {
					wantAnswer(t, s, "APPEND k 0", ":2")
				}
			}
		})
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	s := Redis(t)
	var wg sync.WaitGroup
	for range 3 {
		for _, do := range []func(){
			s.Kill, s.Stop, s.Restart,
			func() { s.Pid() }, func() { s.Output() }, func() { s.Addr() },
		} {
			wg.Go(do)
		}
	}
	wg.Wait()
	s.Restart()
	wantAnswer(t, s, "PING", "+PONG")
}

func TestErrorsOfMethods(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(s *Server){"pause": (*Server).Pause, "resume": (*Server).Resume} {
		tb := runFake(t, func(tb testing.TB) {
			s := Redis(tb)
			s.Kill()
			do(s)
		})
		tb.wantFailure(t, name+" of redis-server", "process already finished")
	}
	tb := runFake(t, func(tb testing.TB) {
		c := redis(nil)
		c.Timeout = 2 * time.Second
		s := Start(tb, c)
		s.Kill()
		defer take(t, s.Port()).Close()
		s.Restart()
		if s.Pid() != 0 {
			t.Error("it runs without its port")
		}
	})
	tb.wantFailure(t, "restart of redis-server", "the port is taken")
}

func TestRestartWaitsForThePort(t *testing.T) {
	t.Parallel()
	starts := 0
	var l net.Listener
	c := redis(nil)
	args := c.Args
	c.Args = func(dir string, port int) []string {
		switch starts++; starts {
		case 2:
			l = take(t, port)
		case 3:
			l.Close()
		}
		return args(dir, port)
	}
	s := Start(t, c)
	s.Kill()
	s.Restart()
	wantAnswer(t, s, "PING", "+PONG")
	if starts != 3 {
		t.Errorf("%d starts, want 3", starts)
	}
}

// Children of a server end with it, even those that want no part of it.
func TestChildren(t *testing.T) {
	t.Parallel()
	const inGroup, ofItsOwn = "sleep 1000", "setsid sleep 1000"
	shutdown := func(s *Server) {
		if _, err := ask(s, "SHUTDOWN"); err == nil {
			t.Error("SHUTDOWN was answered")
		}
		eventually(t, "the server ends", func() bool { return s.Pid() == 0 })
	}
	for _, test := range []struct {
		name, child string
		end         func(s *Server)
	}{
		{"Kill", inGroup, (*Server).Kill},
		{"Kill", ofItsOwn, (*Server).Kill},
		{"Stop", inGroup, (*Server).Stop},
		{"Stop", ofItsOwn, (*Server).Stop},
		{"SHUTDOWN", inGroup, shutdown},
	} {
		if test.child == ofItsOwn && runtime.GOOS != "linux" {
			continue // lost from sight
		}
		c := redis(nil)
		args := c.Args
		c.Program = "sh"
		c.Args = func(dir string, port int) []string {
			script := test.child + ` & echo $! > child.pid; exec redis-server "$@"`
			return append([]string{"-c", script, "sh"}, args(dir, port)...)
		}
		s := Start(t, c)
		child := childOf(t, s)
		if !lives(child) {
			t.Fatalf("no child %d", child)
		}
		test.end(s)
		if test.name == "SHUTDOWN" {
			eventually(t, "the child ends", func() bool { return !lives(child) })
		}
		if lives(child) {
			t.Errorf("%s left the child %q", test.name, test.child)
		}
	}
}

// childOf reads the number of a process that a script has left in child.pid.
func childOf(t *testing.T, s *Server) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.Dir(), "child.pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func TestEndOfItsOwn(t *testing.T) {
	t.Parallel()
	s := Redis(t)
	pid := s.Pid()
	if _, err := ask(s, "SHUTDOWN"); err == nil {
		t.Error("SHUTDOWN was answered")
	}
	eventually(t, "the server ends", func() bool { return s.Pid() == 0 })
	wantDown(t, s, pid)
	s.Restart()
	wantAnswer(t, s, "PING", "+PONG")
}
