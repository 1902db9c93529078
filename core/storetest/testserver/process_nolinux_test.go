//go:build unix && !linux

package testserver

import "syscall"

// lives reports whether the process is there.
func lives(pid int) bool { return syscall.Kill(pid, 0) == nil }
