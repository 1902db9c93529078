package testserver

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// dieWithParent has the kernel kill the process when the tests are killed. The
// order does not survive a change of user by the server itself: let Command.User
// change it.
func dieWithParent(attr *syscall.SysProcAttr) {
	attr.Pdeathsig = syscall.SIGKILL
}

// A member is one process of a program. Its start time tells it from a later
// process with the same number.
type member struct {
	pid    int
	parent int
	group  int
	start  string
	state  byte
}

// family returns a program's living processes: itself, the rest of its group,
// and all that descend from these, such as the children of PostgreSQL, which
// leave its group.
func family(leader int) []member {
	names, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil
	}
	var members []member
	children := map[int][]member{}
	for _, name := range names {
		m, ok := readStat(name)
		if !ok || m.dead() {
			continue
		}
		if m.pid == leader || m.group == leader {
			members = append(members, m)
		} else {
			children[m.parent] = append(children[m.parent], m)
		}
	}
	for i := 0; i < len(members); i++ {
		members = append(members, children[members[i].pid]...)
	}
	return members
}

// readStat reads /proc/*/stat; see proc(5).
func readStat(name string) (member, bool) {
	text, err := os.ReadFile(name)
	if err != nil {
		return member{}, false
	}
	// The second field, the program's name, may hold spaces and parentheses.
	line := string(text)
	pid, _, _ := strings.Cut(line, " ")
	fields := strings.Fields(line[strings.LastIndexByte(line, ')')+1:])
	if len(fields) < 20 {
		return member{}, false
	}
	m := member{state: fields[0][0], start: fields[19]}
	for _, number := range []struct {
		to   *int
		text string
	}{{&m.pid, pid}, {&m.parent, fields[1]}, {&m.group, fields[2]}} {
		if *number.to, err = strconv.Atoi(number.text); err != nil {
			return member{}, false
		}
	}
	return m, true
}

// dead reports whether the process has ended and only waits to be reaped.
func (m member) dead() bool {
	return m.state == 'Z' || m.state == 'X'
}

// now reads the member anew and reports whether it is still the same process.
func (m member) now() (member, bool) {
	again, ok := readStat("/proc/" + strconv.Itoa(m.pid) + "/stat")
	return again, ok && again.start == m.start
}

func (m member) alive() bool {
	again, same := m.now()
	return same && !again.dead()
}

func (m member) signal(signal syscall.Signal) {
	if m.alive() {
		_ = syscall.Kill(m.pid, signal) // it may have ended by now
	}
}

// still reports whether every thread of every process is stopped.
func still(all []member) bool {
	for _, m := range all {
		threads, err := filepath.Glob("/proc/" + strconv.Itoa(m.pid) + "/task/[0-9]*/stat")
		if err != nil {
			return false
		}
		for _, name := range threads {
			if thread, ok := readStat(name); ok && thread.state != 'T' && !thread.dead() {
				return false
			}
		}
	}
	return true
}
