package load

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// frameworks are those whose servers have the demo's routes.
var frameworks = []string{"gin", "net/http", "echo", "fiber", "chi"}

// A port is one server of the demo.
type port struct{ name, url string }

// buildDemo builds the demo and returns the path of the program.
func buildDemo(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "demo")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".")
	build.Dir = filepath.Join("..", "..", "demo")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return program
}

// A demo is a process of its own, with a store that nobody has used.
type demo struct {
	ports  []port
	cmd    *exec.Cmd
	exited chan error
}

var listens = regexp.MustCompile(`^(\S+)\s+listens on (http://127\.0\.0\.1:\d+)$`)

// startDemo starts the program and returns when all its servers listen.
func startDemo(t *testing.T, program string) *demo {
	t.Helper()
	d := &demo{cmd: exec.CommandContext(t.Context(), program, "-port", "0"), exited: make(chan error, 1)}
	d.cmd.Stderr = os.Stderr
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "All share one store") {
		if m := listens.FindStringSubmatch(lines.Text()); m != nil && slices.Contains(frameworks, m[1]) {
			d.ports = append(d.ports, port{m[1], m[2]})
		}
	}
	go func() {
		_, _ = io.Copy(io.Discard, out) // or it would block on a full pipe; Wait closes it
		d.exited <- d.cmd.Wait()
	}()
	return d
}

// graceful is how long the demo may take to end after it was told to.
const graceful = 3 * time.Second

// end tells the demo to end, and checks that it does so soon and cleanly. It returns how long that took.
func (d *demo) end(t *testing.T) time.Duration {
	t.Helper()
	start := time.Now()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-d.exited:
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			t.Errorf("the demo did not end cleanly: %v", exit)
		}
	case <-time.After(graceful):
		_ = d.cmd.Process.Kill()
		t.Errorf("the demo still ran %v after SIGTERM, and was killed: %v", graceful, <-d.exited)
	}
	return time.Since(start)
}
