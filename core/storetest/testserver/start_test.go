//go:build unix

package testserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

func TestMissingProgram(t *testing.T) {
	t.Parallel()
	returned := false
	tb := runFake(t, func(tb testing.TB) {
		c := redis(nil)
		c.Program = "no-such-server"
		c.Package = "no-such-package"
		c.Folders = []string{"/no/such/*/folder"}
		Start(tb, c)
		returned = true
	})
	tb.wantFailure(t, "no-such-server is not installed", "/no/such/*/folder", "apt-get install no-such-package")
	if returned {
		t.Error("Start returned")
	}
}

func TestProgramInAFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, version := range []string{"14", "15"} {
		if err := os.MkdirAll(dir+"/"+version+"/bin", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir+"/"+version+"/bin/some-server", []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	got, err := lookup("some-server", []string{dir + "/none", dir + "/*/bin"})
	if want := dir + "/15/bin/some-server"; err != nil || got != want {
		t.Errorf("found %q, %v; want %q", got, err, want)
	}
}

func TestBadCommand(t *testing.T) {
	t.Parallel()
	tb := runFake(t, func(tb testing.TB) { Start(tb, Command{}) })
	tb.wantFailure(t, "no Program")
	tb = runFake(t, func(tb testing.TB) { Start(tb, Command{Program: "redis-server"}) })
	tb.wantFailure(t, "redis-server has no Args")
}

func TestUnknownUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can be another user")
	}
	tb := runFake(t, func(tb testing.TB) {
		c := redis(nil)
		c.User = "no-such-user"
		Start(tb, c)
	})
	tb.wantFailure(t, "no-such-user")
}

func TestEarlyExit(t *testing.T) {
	t.Parallel()
	began := time.Now()
	tb := runFake(t, func(tb testing.TB) { Redis(tb, "--no-such-option", "1") })
	tb.wantFailure(t, "redis-server ended before it was ready: exit status 1")
	if log := strings.Join(tb.logs, "\n"); !strings.Contains(log, "no-such-option") {
		t.Errorf("the log does not say what the server printed: %q", log)
	}
	if took := time.Since(began); took >= defaultTimeout {
		t.Errorf("that took %v", took)
	}
}

func TestNeverReady(t *testing.T) {
	t.Parallel()
	var s *Server
	pid := 0
	tb := runFake(t, func(tb testing.TB) {
		c := redis(nil)
		c.Timeout = 300 * time.Millisecond
		c.Ready = func(_ context.Context, server *Server) error {
			s, pid = server, server.Pid()
			return errors.New("not yet")
		}
		Start(tb, c)
	})
	tb.wantFailure(t, "redis-server was not ready within 300ms: not yet")
	wantGone(t, s, pid, nil)
}

func TestPrepare(t *testing.T) {
	t.Parallel()
	tb := runFake(t, func(tb testing.TB) {
		c := redis(nil)
		c.Prepare = func(ctx context.Context, s *Server) error {
			_, err := s.Run(ctx, "sh", "-c", "echo printed; echo the reason >&2; exit 3")
			return err
		}
		Start(tb, c)
	})
	tb.wantFailure(t, "preparing redis-server", "sh: exit status 3: the reason")
}

func TestPortTaken(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"silent":           "",
		"of the same kind": "+PONG\r\n$16\r\nprocess_id:1234\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			var ports []int
			var dirs []string
			c := redis(nil)
			args := c.Args
			// Args is called when the port is no longer held and not yet the
			// server's. Thrice a stranger is quicker.
			c.Args = func(dir string, port int) []string {
				ports, dirs = append(ports, port), append(dirs, dir)
				if len(ports) <= 3 {
					l := take(t, port)
					t.Cleanup(func() { l.Close() })
					go serve(l, answer)
				}
				return args(dir, port)
			}
			s := Start(t, c)
			wantAnswer(t, s, "PING", "+PONG")
			if len(ports) != 4 || s.Port() != ports[3] {
				t.Fatalf("port %d after tries with %v, want the fourth", s.Port(), ports)
			}
			for _, dir := range dirs[:3] {
				if _, err := os.Stat(dir); !os.IsNotExist(err) {
					t.Errorf("the folder of a try is still there: %s (%v)", dir, err)
				}
			}
		})
	}
}

// serve gives every connection the answer until the listener is closed.
func serve(l net.Listener, answer string) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, answer) // to whoever still listens
		conn.Close()
	}
}

func TestEveryPortTaken(t *testing.T) {
	t.Parallel()
	tries := 0
	tb := runFake(t, func(tb testing.TB) {
		c := Command{
			Program: "sh",
			Args: func(string, int) []string {
				tries++
				return []string{"-c", "echo bind: Address already in use; exit 1"}
			},
		}
		Start(tb, c)
	})
	tb.wantFailure(t, "the port is taken", "exit status 1")
	if tries != portTries {
		t.Errorf("%d tries, want %d", tries, portTries)
	}
}

func TestLogOnlyOfFailedTests(t *testing.T) {
	t.Parallel()
	tb := runFake(t, func(tb testing.TB) { Redis(tb) })
	if tb.failures != nil || tb.logs != nil {
		t.Errorf("failures %q, logs %q, want none", tb.failures, tb.logs)
	}
	tb = runFake(t, func(tb testing.TB) {
		Redis(tb)
		tb.Errorf("an error of the test")
	})
	if len(tb.logs) != 1 || !strings.Contains(tb.logs[0], "Ready to accept connections") {
		t.Errorf("logs %q, want what Redis printed", tb.logs)
	}
}

func TestOutputIsBounded(t *testing.T) {
	t.Parallel()
	var o output
	fmt.Fprint(&o, strings.Repeat("a", outputLimit))
	mark := o.mark()
	fmt.Fprint(&o, "bc")
	if got := o.since(mark); got != "bc" {
		t.Errorf("since the mark came %q", got)
	}
	if got := o.since(0); len(got) != outputLimit || !strings.HasSuffix(got, "abc") {
		t.Errorf("%d bytes were kept, ending in %q", len(got), got[len(got)-3:])
	}
	fmt.Fprint(&o, strings.Repeat("d", 3*outputLimit))
	if got := o.since(mark); got != strings.Repeat("d", outputLimit) {
		t.Errorf("%d bytes were kept of a long write", len(got))
	}
}

// The default probe, and a program found by its path.
func TestCommandOfOnesOwn(t *testing.T) {
	t.Parallel()
	path, err := redis(nil).find()
	if err != nil {
		t.Fatal(err)
	}
	s := Start(t, Command{
		Program: path,
		Args:    redis(nil).Args,
		Env:     []string{"COLOUR=blue"},
	})
	wantAnswer(t, s, "PING", "+PONG")
	out, err := s.Run(t.Context(), "sh", "-c", "pwd; echo $COLOUR")
	if want := s.Dir() + "\nblue\n"; err != nil || string(out) != want {
		t.Errorf("Run: %q, %v; want %q", out, err, want)
	}
}

func TestRunIsBounded(t *testing.T) {
	t.Parallel()
	s := Redis(t)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := s.Run(ctx, "sh", "-c", "sleep 1000 & echo $! > child.pid; wait"); err == nil {
		t.Error("a killed program is no error")
	}
	if child := childOf(t, s); lives(child) {
		t.Errorf("the child %d is still there", child)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("that took %v", took)
	}
	if _, err := s.Run(ctx, "no-such-program"); err == nil || !strings.Contains(err.Error(), "not installed") {
		t.Errorf("a missing program: %v", err)
	}
}
