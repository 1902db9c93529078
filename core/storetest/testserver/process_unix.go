//go:build unix

package testserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
	"time"
)

// attributes returns how to start a process: in a group of its own, so that a
// signal can reach it with its children, and as the named user if the tests
// run as root.
func attributes(name string) (*syscall.SysProcAttr, error) {
	attr := &syscall.SysProcAttr{Setpgid: true}
	dieWithParent(attr)
	if name == "" || os.Geteuid() != 0 {
		return attr, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("the user to run as: %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("the user %s: %w", name, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("the group of user %s: %w", name, err)
	}
	attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return attr, nil
}

// give makes the folder belong to the user of attr.
func give(dir string, attr *syscall.SysProcAttr) error {
	if attr.Credential == nil {
		return nil
	}
	return os.Chown(dir, int(attr.Credential.Uid), int(attr.Credential.Gid))
}

// pause stops every process of the server and returns when all stand still.
func (p *process) pause() error {
	ctx, cancel := context.WithTimeout(context.Background(), pauseTimeout)
	defer cancel()
	for {
		if p.ended() {
			return os.ErrProcessDone
		}
		if err := p.signalAll(syscall.SIGSTOP); err != nil {
			return err
		}
		// Children that were born before their parent stood still show up in
		// this list and are stopped in the next round.
		if still(p.members()) {
			return nil
		}
		if sleep(ctx, time.Millisecond) != nil {
			return fmt.Errorf("process %d still runs %v after SIGSTOP", p.pid(), pauseTimeout)
		}
	}
}

// resume lets every process of the server run on.
func (p *process) resume() error {
	if p.ended() {
		return os.ErrProcessDone
	}
	return p.signalAll(syscall.SIGCONT)
}

// signalAll sends the signal to the server's group and to its other members.
func (p *process) signalAll(signal syscall.Signal) error {
	all := p.members()
	if err := syscall.Kill(-p.pid(), signal); err != nil {
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		return fmt.Errorf("%v to process group %d: %w", signal, p.pid(), err)
	}
	for _, m := range all {
		m.signal(signal)
	}
	return nil
}

// killGroup kills what is left of a process group.
func killGroup(pid int) {
	_ = syscall.Kill(-pid, syscall.SIGKILL) // none left is what we want
}

func killMembers(all []member) {
	for _, m := range all {
		m.signal(syscall.SIGKILL)
	}
}

// gone waits until none of the processes lives, and reports whether that came
// in time.
func gone(all []member, timeout time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	for _, m := range all {
		for m.alive() {
			if sleep(ctx, time.Millisecond) != nil {
				return false
			}
		}
	}
	return true
}
