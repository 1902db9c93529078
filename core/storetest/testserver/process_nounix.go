//go:build !unix

package testserver

import (
	"errors"
	"syscall"
	"time"
)

// errSystem fails every start, so that nothing else here is reached.
var errSystem = errors.New("real servers can be run on Unix systems only")

type member struct{}

func attributes(string) (*syscall.SysProcAttr, error) { return nil, errSystem }
func give(string, *syscall.SysProcAttr) error         { return errSystem }
func (p *process) pause() error                       { return errSystem }
func (p *process) resume() error                      { return errSystem }
func family(int) []member                             { return nil }
func killGroup(int)                                   {}
func killMembers([]member)                            {}
func gone(all []member, timeout time.Duration) bool   { return true }
