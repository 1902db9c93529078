//go:build unix

package testserver

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A fakeTB is a test that records how it fails.
type fakeTB struct {
	testing.TB // for what is not recorded

	mu       sync.Mutex
	cleanups []func()
	failed   bool
	failures []string
	logs     []string
}

// runFake runs f as a test with its cleanups and returns what it recorded.
func runFake(t *testing.T, f func(tb testing.TB)) *fakeTB {
	t.Helper()
	tb := &fakeTB{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			for len(tb.cleanups) > 0 {
				last := len(tb.cleanups) - 1
				cleanup := tb.cleanups[last]
				tb.cleanups = tb.cleanups[:last]
				cleanup()
			}
		}()
		f(tb)
	}()
	<-done
	return tb
}

func (tb *fakeTB) Helper()          {}
func (tb *fakeTB) Cleanup(f func()) { tb.cleanups = append(tb.cleanups, f) }

func (tb *fakeTB) Failed() bool {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	return tb.failed
}

func (tb *fakeTB) Errorf(format string, args ...any) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	tb.failed = true
	tb.failures = append(tb.failures, fmt.Sprintf(format, args...))
}

func (tb *fakeTB) Fatalf(format string, args ...any) {
	tb.Errorf(format, args...)
	runtime.Goexit()
}

func (tb *fakeTB) Logf(format string, args ...any) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	tb.logs = append(tb.logs, fmt.Sprintf(format, args...))
}

// wantFailure checks that there was one failure, with all of the words.
func (tb *fakeTB) wantFailure(t *testing.T, words ...string) {
	t.Helper()
	if len(tb.failures) != 1 {
		t.Fatalf("failures: %q, want one", tb.failures)
	}
	for _, word := range words {
		if !strings.Contains(tb.failures[0], word) {
			t.Errorf("the failure %q does not say %q", tb.failures[0], word)
		}
	}
}

// ask sends a line to the server and returns the first line of its answer.
func ask(s *Server, line string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := dial(ctx, s.Addr())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, line+"\r\n"); err != nil {
		return "", err
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimRight(answer, "\r\n"), err
}

func wantAnswer(t *testing.T, s *Server, line, want string) {
	t.Helper()
	if got, err := ask(s, line); err != nil || got != want {
		t.Fatalf("%s was answered by %q, %v; want %q", line, got, err, want)
	}
}

// wantDown checks that neither process nor listener is left.
func wantDown(t *testing.T, s *Server, pid int) {
	t.Helper()
	if got := s.Pid(); got != 0 {
		t.Errorf("Pid is %d, want 0", got)
	}
	if err := syscall.Kill(pid, 0); err == nil {
		t.Errorf("process %d is still there", pid)
	}
	if _, err := ask(s, "PING"); err == nil {
		t.Error("it still answers")
	}
	wantFree(t, s.Port())
}

// wantFree checks that the port is free. A child of another test that is just
// being started may hold a listener of this process for a moment longer.
func wantFree(t *testing.T, port int) {
	t.Helper()
	eventually(t, fmt.Sprintf("port %d is free", port), func() bool { return !portTaken(port) })
}

// take listens on a port that is free, like a stranger.
func take(t *testing.T, port int) net.Listener {
	t.Helper()
	var l net.Listener
	eventually(t, fmt.Sprintf("port %d is free", port), func() (ok bool) {
		var err error
		l, err = listen(port)
		return err == nil
	})
	return l
}

// wantGone checks that also the folder and the processes are gone.
func wantGone(t *testing.T, s *Server, pid int, all []member) {
	t.Helper()
	wantDown(t, s, pid)
	if _, err := os.Stat(s.Dir()); !os.IsNotExist(err) {
		t.Errorf("the folder %s is still there (%v)", s.Dir(), err)
	}
	for _, m := range all {
		if m.alive() {
			t.Errorf("process %+v is still there", m)
		}
	}
}

// eventually polls until ok or fails after 10 seconds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for !ok() {
		if sleep(ctx, 5*time.Millisecond) != nil {
			t.Fatalf("it did not come to pass: %s", what)
		}
	}
}
