package testserver

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// crashEnv makes TestCrashHelper, in a second test process, start the server
// that it names.
const crashEnv = "TESTSERVER_CRASH"

var crashing = map[string]func(testing.TB, ...string) *Server{
	"redis": Redis, "memcached": Memcached, "postgres": Postgres,
}

// lives reports whether the process is there and has not ended. Nobody may reap
// orphans in a container, so that they stay as zombies.
func lives(pid int) bool {
	m, ok := readStat(fmt.Sprintf("/proc/%d/stat", pid))
	return ok && !m.dead()
}

func TestCrashHelper(t *testing.T) {
	start, ok := crashing[os.Getenv(crashEnv)]
	if !ok {
		t.Skip("it is a part of TestCrash")
	}
	s := start(t)
	fmt.Printf("server %d %d %s\n", s.Pid(), s.Port(), s.Dir())
	select {} // until the kill
}

// A killed test process takes its servers with it.
func TestCrash(t *testing.T) {
	t.Parallel()
	for name := range crashing {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tmp, err := os.MkdirTemp("", "crash-") //nolint:usetesting // t.TempDir is closed to the server's user
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(tmp) })
			if err := os.Chmod(tmp, 0o755); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCrashHelper$", "-test.v")
			cmd.Env = append(os.Environ(), crashEnv+"="+name, "TMPDIR="+tmp)
			cmd.Stderr = os.Stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			s := &Server{command: Command{Program: name}}
			pid := 0
			for lines := bufio.NewScanner(out); lines.Scan(); {
				if _, err := fmt.Sscanf(lines.Text(), "server %d %d %s", &pid, &s.port, &s.dir); err == nil {
					break
				}
			}
			if pid == 0 {
				t.Fatalf("the second process did not start a server: %v", cmd.Wait())
			}
			if name == "postgres" {
				s.attr, err = attributes("postgres")
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					if err := postgresCleanup(context.WithoutCancel(t.Context()), s); err != nil {
						t.Error(err)
					}
				})
			}
			all := family(pid)
			if len(all) == 0 {
				t.Fatalf("process %d is not there", pid)
			}
			if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // killed
			eventually(t, "all processes end", func() bool {
				for _, m := range all {
					if m.alive() {
						return false
					}
				}
				return true
			})
			wantFree(t, s.port)
		})
	}
}

// The kernel binds the life of a child to the thread that started it. Threads
// come and go with goroutines that are locked to them, and none of that may
// end a server.
func TestThreadsEnd(t *testing.T) {
	t.Parallel()
	var s *Server
	var tids []int
	var mu sync.Mutex
	var all, locked sync.WaitGroup
	const many = 50
	locked.Add(many)
	for i := range many {
		all.Go(func() {
			runtime.LockOSThread() // and never unlock it: the thread ends too
			if i == 0 {
				s = Redis(t)
			}
			mu.Lock()
			tids = append(tids, syscall.Gettid())
			mu.Unlock()
			locked.Done()
			locked.Wait() // each has a thread of its own
		})
	}
	all.Wait()
	for _, tid := range tids {
		if tid == os.Getpid() {
			continue // the main thread never ends
		}
		eventually(t, "the thread ends", func() bool {
			_, err := os.Stat(fmt.Sprintf("/proc/self/task/%d", tid))
			return os.IsNotExist(err)
		})
	}
	wantAnswer(t, s, "PING", "+PONG")
}

func TestReadStat(t *testing.T) {
	t.Parallel()
	m, ok := readStat("/proc/self/stat")
	if !ok || m.pid != os.Getpid() || m.parent != os.Getppid() || m.group != syscall.Getpgrp() || m.dead() {
		t.Errorf("this process is %+v, %v", m, ok)
	}
	file := t.TempDir() + "/stat"
	line := "12 (a) S (b) T 3 4" + strings.Repeat(" 0", 16) + " 77 0"
	if err := os.WriteFile(file, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	want := member{pid: 12, parent: 3, group: 4, start: "77", state: 'T'}
	if m, ok := readStat(file); !ok || m != want {
		t.Errorf("read %+v, %v; want %+v", m, ok, want)
	}
}
