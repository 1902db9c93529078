package testserver

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"time"
)

const (
	pauseTimeout = 5 * time.Second  // until every thread stands still
	stopTimeout  = 5 * time.Second  // of an orderly end, before the kill
	childTimeout = time.Second      // of children that outlive an orderly end
	killTimeout  = 10 * time.Second // until the system has taken it all away
	drainTimeout = time.Second      // until the rest of the output was read
)

// A process is one life of a server.
type process struct {
	cmd     *exec.Cmd
	done    chan struct{} // closed when the program has ended and was reaped
	pipe    *os.File
	drained chan struct{} // closed when all output was read
}

// launch starts the command and copies what it prints to out.
func launch(cmd *exec.Cmd, out io.Writer) (*process, error) {
	// With a pipe of its own, Wait returns when the program ends, however long
	// its children hold on to their standard output.
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = w, w
	p := &process{cmd: cmd, done: make(chan struct{}), pipe: r, drained: make(chan struct{})}
	started := make(chan error)
	go func() {
		// On Linux the child is told to die with the thread that started it,
		// not with the process. So this thread stays until the child is gone.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		_ = w.Close() // the child has its own
		started <- err
		if err != nil {
			return
		}
		_ = cmd.Wait() // cmd.ProcessState tells how it ended
		killGroup(cmd.Process.Pid)
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, errors.Join(err, r.Close())
	}
	go func() {
		defer close(p.drained)
		_, _ = io.Copy(out, r) // ends with the last writer, or by drain
	}()
	return p, nil
}

func (p *process) pid() int {
	return p.cmd.Process.Pid
}

// members returns the living processes of the server.
func (p *process) members() []member {
	if p.ended() {
		return nil // the number may be somebody else's by now
	}
	return family(p.pid())
}

// ended reports whether the program has ended, for whatever reason.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// wait waits for the program's end and reports whether it came in time.
func (p *process) wait(timeout time.Duration) bool {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-p.done:
		return true
	case <-timer.C:
		return false
	}
}

// drain waits until the output of a program that has ended was read.
func (p *process) drain() {
	timer := time.NewTimer(drainTimeout)
	defer timer.Stop()
	select {
	case <-p.drained:
	case <-timer.C: // a process that fled from the family holds the other end
	}
	_ = p.pipe.Close() // wakes the reader
	<-p.drained
}

// stop asks the server to end, kills it if it does not, and returns when all
// of its processes are gone.
func (p *process) stop(signal os.Signal) error {
	if p.ended() {
		p.drain()
		return nil
	}
	all := p.members()
	err := p.resume()
	if err == nil {
		err = p.cmd.Process.Signal(signal)
	}
	if err != nil && !errors.Is(err, os.ErrProcessDone) || !p.wait(stopTimeout) {
		return p.kill()
	}
	if !gone(all, childTimeout) {
		killMembers(all)
		if !gone(all, killTimeout) {
			return fmt.Errorf("children of process %d live on after it and after SIGKILL", p.pid())
		}
	}
	p.drain()
	return nil
}

// kill ends the server at once and returns when all of its processes are gone.
func (p *process) kill() error {
	if p.ended() {
		p.drain()
		return nil
	}
	// While they stand still they can have no more children, who would be lost
	// from sight. If they cannot be stopped they can still be killed.
	_ = p.pause()
	all := p.members()
	killGroup(p.pid())
	killMembers(all)
	if !p.wait(killTimeout) || !gone(all, killTimeout) {
		return fmt.Errorf("process %d and its children are not gone %v after SIGKILL", p.pid(), killTimeout)
	}
	p.drain()
	return nil
}
