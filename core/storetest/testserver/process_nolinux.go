//go:build unix && !linux

package testserver

import "syscall"

// dieWithParent does nothing: these systems have no such order.
func dieWithParent(*syscall.SysProcAttr) {}

// A member is the process group of a program, as far as these systems let us
// see without help.
type member struct {
	group int
}

func family(leader int) []member {
	return []member{{group: leader}}
}

func (m member) alive() bool {
	return syscall.Kill(-m.group, 0) == nil
}

func (m member) signal(signal syscall.Signal) {
	_ = syscall.Kill(-m.group, signal) // it may have ended by now
}

// still takes the signal's delivery for its effect.
func still([]member) bool { return true }
