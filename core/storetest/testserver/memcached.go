package testserver

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
)

// Memcached starts a Memcached server. After [Server.Restart] it is empty. The
// arguments are those of memcached and override the defaults:
//
//	testserver.Memcached(t, "-m", "8") // evict soon
//
// It fails as [Start] does. Debian has the program in the package memcached.
func Memcached(tb testing.TB, args ...string) *Server {
	tb.Helper()
	return Start(tb, memcached(args))
}

func memcached(args []string) Command {
	return Command{
		Program: "memcached",
		// It would change to another user by itself, but then would no longer
		// die with the tests.
		User: "nobody",
		Args: func(_ string, port int) []string {
			return append([]string{
				"-l", "127.0.0.1",
				"-p", strconv.Itoa(port),
				"-U", "0",
			}, args...)
		},
		Ready: memcachedReady,
		// It has nothing to put in order, and takes a second over SIGTERM.
		StopSignal: os.Kill,
	}
}

// memcachedReady asks the server which process it is.
func memcachedReady(ctx context.Context, s *Server) error {
	conn, err := dial(ctx, s.Addr())
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "stats\r\n"); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return err
	}
	pid, ok := strings.CutPrefix(line, "STAT pid ")
	if !ok {
		return fmt.Errorf("stats was answered by %q", line)
	}
	return s.is(strings.TrimSpace(pid))
}
