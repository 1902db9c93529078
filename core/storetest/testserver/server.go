package testserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const (
	portTries    = 10                    // ports until a start gives up
	probeTimeout = 2 * time.Second       // of one call of Command.Ready
	probePause   = 10 * time.Millisecond // between two such calls
)

// A Server is a server that a test runs.
//
// All methods are safe for concurrent use, from any goroutine, and each
// returns when its effect is there. What fails is reported by tb.Errorf on the
// test that started the server. When that test has ended they do nothing.
type Server struct {
	tb      testing.TB
	command Command
	path    string
	attr    *syscall.SysProcAttr
	port    int
	dir     string
	output  output

	current atomic.Pointer[process]

	mu     sync.Mutex // held while the state changes
	closed bool
}

// Start starts the server and returns when it answers. At the end of the test
// it stops it and removes its folder.
//
// It ends the test by tb.Fatal if the program is missing, ends before it
// answers, or does not answer in time. If the port it was given went to
// somebody else in the meantime, it tries another one, with a new folder.
func Start(tb testing.TB, c Command) *Server {
	tb.Helper()
	s := &Server{tb: tb}
	tb.Cleanup(s.close)
	if err := s.start(c); err != nil {
		tb.Fatalf("testserver: %v", err) // close logs what it printed
	}
	return s
}

// Addr returns the address, as host:port. It never changes.
func (s *Server) Addr() string { return loopback(s.port) }

// Port returns the port at 127.0.0.1. It never changes.
func (s *Server) Port() int { return s.port }

// Dir returns the temporary folder. It never changes.
func (s *Server) Dir() string { return s.dir }

// Pid returns the process id of the server, or 0 when it does not run.
func (s *Server) Pid() int {
	p := s.current.Load()
	if p == nil || p.ended() {
		return 0
	}
	return p.pid()
}

// Output returns the end of what the server has printed, at most 64 KiB over
// all of its lives.
func (s *Server) Output() string { return s.output.since(0) }

// Kill ends the server and its children at once, by SIGKILL. It does nothing
// if the server does not run.
func (s *Server) Kill() {
	s.tb.Helper()
	s.change("kill", func(p *process) error { return p.kill() })
}

// Stop ends the server in an orderly way, by its StopSignal, paused or not,
// and kills it if it has not ended after 5 seconds. It does nothing if the
// server does not run.
func (s *Server) Stop() {
	s.tb.Helper()
	s.change("stop", func(p *process) error { return p.stop(s.command.StopSignal) })
}

// Restart starts the server again, after [Server.Stop] if it runs, and returns
// when it answers. Port, folder and arguments are the same, so it depends on
// the server's arguments which of its state it finds again.
func (s *Server) Restart() {
	s.tb.Helper()
	s.change("restart", func(p *process) error {
		if err := p.stop(s.command.StopSignal); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), s.command.Timeout)
		defer cancel()
		for {
			// The port stays, so all that can be done is to wait for it.
			err := s.run(ctx)
			if !errors.Is(err, errPortTaken) || sleep(ctx, probePause) != nil {
				return err
			}
		}
	})
}

// Pause stops the server and its children in their tracks, by SIGSTOP. The
// system still accepts connections for it and takes in what is sent, but no
// answer comes. It is an error if the server does not run.
func (s *Server) Pause() {
	s.tb.Helper()
	s.change("pause", (*process).pause)
}

// Resume ends a [Server.Pause]. It is an error if the server does not run.
func (s *Server) Resume() {
	s.tb.Helper()
	s.change("resume", (*process).resume)
}

// Run runs another program to its end, such as a server's own client or
// administration tool, and returns what it printed to its standard output. It
// runs in the server's folder, with its environment, as its user. It is looked
// for beside the server's program, then as that was.
//
// The error holds what the program printed to its standard error. When ctx
// ends the program is killed, with its children. Unlike the other methods Run
// reports nothing to the test.
func (s *Server) Run(ctx context.Context, program string, args ...string) ([]byte, error) {
	path, err := exec.LookPath(filepath.Join(filepath.Dir(s.path), program))
	if err != nil {
		if path, err = lookup(program, s.command.Folders); err != nil {
			return nil, fmt.Errorf("testserver: %w", err)
		}
	}
	cmd := s.newCmd(ctx, path, args)
	cmd.WaitDelay = drainTimeout
	var killed []member
	cmd.Cancel = func() error {
		killed = family(cmd.Process.Pid)
		killGroup(cmd.Process.Pid)
		killMembers(killed)
		return nil
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	// See launch: the thread that starts it has to outlive it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	out, err := cmd.Output()
	if !gone(killed, killTimeout) {
		err = errors.Join(err, errors.New("it is not gone after SIGKILL"))
	}
	if err != nil {
		return out, fmt.Errorf("testserver: %s: %w: %s", program, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}

// is returns an error unless pid, in digits, is that of the server.
func (s *Server) is(pid string) error {
	if own := s.Pid(); pid != strconv.Itoa(own) {
		return fmt.Errorf("process %s answers and not %d", pid, own)
	}
	return nil
}

// change does something to the current process and reports what goes wrong.
func (s *Server) change(what string, do func(p *process) error) {
	s.tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	if err := do(s.current.Load()); err != nil {
		s.tb.Errorf("testserver: %s of %s: %v", what, s.command.Program, err)
	}
}

// start is Start without the test.
func (s *Server) start(c Command) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.command, err = c.withDefaults(); err != nil {
		return err
	}
	if s.path, err = s.command.find(); err != nil {
		return err
	}
	if s.attr, err = attributes(s.command.User); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.command.Timeout)
	defer cancel()
	for range portTries {
		if err = s.attempt(ctx); !errors.Is(err, errPortTaken) {
			return err
		}
		failed := s.discard()
		s.port, s.dir = 0, "" // others may have them now
		if failed != nil {
			return failed
		}
	}
	return err
}

// attempt starts the server with a new port and a new folder.
func (s *Server) attempt(ctx context.Context) error {
	port, held, err := reservePort()
	if err != nil {
		return err
	}
	s.port = port
	err = s.prepare(ctx)
	if err := errors.Join(err, release(held)); err != nil {
		return err
	}
	return s.run(ctx)
}

// prepare makes the folder and what the server needs in it.
func (s *Server) prepare(ctx context.Context) (err error) {
	// Not a folder of the test's own: those are closed to other users.
	if s.dir, err = os.MkdirTemp("", filepath.Base(s.command.Program)+"-"); err != nil {
		return err
	}
	if err := give(s.dir, s.attr); err != nil {
		return err
	}
	if s.command.Prepare == nil {
		return nil
	}
	if err := s.command.Prepare(ctx, s); err != nil {
		return fmt.Errorf("preparing %s: %w", s.command.Program, err)
	}
	return nil
}

// run begins a life of the server and waits until it answers. If that fails
// nothing runs.
func (s *Server) run(ctx context.Context) error {
	// The life is longer than the context of the start.
	cmd := s.newCmd(context.WithoutCancel(ctx), s.path, s.command.Args(s.dir, s.port))
	mark := s.output.mark()
	p, err := launch(cmd, &s.output)
	if err != nil {
		return fmt.Errorf("starting %s: %w", s.command.Program, err)
	}
	s.current.Store(p)
	err = s.await(ctx, p)
	if err == nil {
		return nil
	}
	if !p.ended() {
		return errors.Join(err, p.kill())
	}
	p.drain()
	const text = "address already in use" // what strerror says in the C locale
	if strings.Contains(strings.ToLower(s.output.since(mark)), text) || portTaken(s.port) {
		return fmt.Errorf("%w: %d: %w", errPortTaken, s.port, err)
	}
	return err
}

// await waits until the server answers, ends, or runs out of time.
func (s *Server) await(ctx context.Context, p *process) error {
	var last error
	for {
		probe, cancel := context.WithTimeout(ctx, probeTimeout)
		err := s.command.Ready(probe, s)
		cancel()
		if p.ended() {
			return fmt.Errorf("%s ended before it was ready: %v", s.command.Program, p.cmd.ProcessState)
		}
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil {
			last = err // and not that the time for the last probe was short
		}
		if sleep(ctx, probePause) != nil {
			return fmt.Errorf("%s was not ready within %v: %w", s.command.Program, s.command.Timeout, last)
		}
	}
}

// newCmd returns a command that runs beside the server or as the server.
func (s *Server) newCmd(ctx context.Context, path string, args []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "HOME="+s.dir, "LC_ALL=C")
	cmd.Env = append(cmd.Env, s.command.Env...)
	cmd.SysProcAttr = s.attr
	return cmd
}

// close ends the server with its test.
func (s *Server) close() {
	s.tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	var errs []error
	if p := s.current.Load(); p != nil {
		errs = append(errs, p.stop(s.command.StopSignal))
	}
	errs = append(errs, s.discard())
	if err := errors.Join(errs...); err != nil {
		s.tb.Errorf("testserver: the end of %s: %v", s.command.Program, err)
	}
	if text := strings.TrimSpace(s.Output()); text != "" && s.tb.Failed() {
		s.tb.Logf("testserver: %s at %s printed:\n%s", s.command.Program, s.Addr(), text)
	}
}

// discard gives up the port and the folder of a server that does not run.
func (s *Server) discard() error {
	releasePort(s.port)
	if s.dir == "" {
		return nil
	}
	var err error
	if s.command.Cleanup != nil {
		ctx, cancel := context.WithTimeout(context.Background(), killTimeout)
		defer cancel()
		err = s.command.Cleanup(ctx, s)
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// sleep waits, and returns an error if ctx ends before.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
