package testserver

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
)

// Redis starts a Redis server that keeps nothing: after [Server.Restart] it is
// empty. The arguments are those of redis-server and override that:
//
//	testserver.Redis(t, "--appendonly", "yes", "--appendfsync", "always")
//
// It fails as [Start] does. Debian has the program in the package
// redis-server.
func Redis(tb testing.TB, args ...string) *Server {
	tb.Helper()
	return Start(tb, redis(args))
}

func redis(args []string) Command {
	return Command{
		Program: "redis-server",
		Args: func(dir string, port int) []string {
			return append([]string{
				"--bind", "127.0.0.1",
				"--port", strconv.Itoa(port),
				"--dir", dir,
				"--save", "",
				"--appendonly", "no",
			}, args...)
		},
		Ready: redisReady,
	}
}

// redisReady sends PING, which a server that still loads its data refuses, and
// asks the server which process it is.
func redisReady(ctx context.Context, s *Server) error {
	conn, err := dial(ctx, s.Addr())
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "PING\r\nINFO server\r\n"); err != nil {
		return err
	}
	r := bufio.NewReader(conn)
	pong, err := r.ReadString('\n')
	if err != nil {
		return err
	}
	if strings.HasPrefix(pong, "-NOAUTH") {
		return nil // it answers; who it is it tells only to those who log in
	}
	if pong != "+PONG\r\n" {
		return fmt.Errorf("PING was answered by %q", pong)
	}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return fmt.Errorf("INFO server without a process_id: %w", err)
		}
		if pid, ok := strings.CutPrefix(line, "process_id:"); ok {
			return s.is(strings.TrimSpace(pid))
		}
	}
}
