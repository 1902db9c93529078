package testserver

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A Sentinel is a Redis master with a replica, and a Sentinel that watches
// over them and makes the replica the master when the master is down.
type Sentinel struct {
	// Name is what the Sentinel calls the master.
	Name string
	// Servers are the two Redis servers. Which of them is the master changes.
	Servers []*Server
	// Watcher is the Sentinel itself.
	Watcher *Server
	tb      testing.TB
}

// RedisSentinel starts a master, a replica and a Sentinel, and returns when
// the replica is in step and the Sentinel knows of it. One Sentinel decides
// alone that a master is down, after 500 ms.
func RedisSentinel(tb testing.TB, args ...string) *Sentinel {
	tb.Helper()
	s := &Sentinel{Name: "halt", tb: tb}
	args = append([]string{"--repl-diskless-sync-delay", "0"}, args...)
	master := Start(tb, redis(args))
	replica := Start(tb, redis(append([]string{"--replicaof", "127.0.0.1", strconv.Itoa(master.Port())}, args...)))
	s.Servers = []*Server{master, replica}
	s.await("the replica is in step", func(ctx context.Context) bool {
		info, _ := redisCLI(ctx, replica, "INFO", "replication")
		return strings.Contains(info, "master_link_status:up")
	})
	s.Watcher = Start(tb, Command{
		Program: "redis-server",
		Prepare: func(_ context.Context, w *Server) error {
			config := fmt.Sprintf("bind 127.0.0.1\nport %d\nsentinel monitor %s 127.0.0.1 %d 1\nsentinel down-after-milliseconds %s 500\n"+
				"sentinel failover-timeout %s 3000\n", w.Port(), s.Name, master.Port(), s.Name, s.Name)
			return os.WriteFile(filepath.Join(w.Dir(), "sentinel.conf"), []byte(config), 0o600)
		},
		Args:  func(dir string, _ int) []string { return []string{filepath.Join(dir, "sentinel.conf"), "--sentinel"} },
		Ready: redisReady,
	})
	s.await("the Sentinel knows the replica", func(ctx context.Context) bool {
		known, _ := redisCLI(ctx, s.Watcher, "SENTINEL", "REPLICAS", s.Name)
		return strings.Contains(known, strconv.Itoa(replica.Port()))
	})
	return s
}

// Master returns the server that the Sentinel names as the master.
func (s *Sentinel) Master() *Server {
	s.tb.Helper()
	var master *Server
	s.await("the Sentinel names a master", func(ctx context.Context) bool {
		addr, _ := redisCLI(ctx, s.Watcher, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", s.Name)
		for _, server := range s.Servers {
			if strings.HasSuffix(addr, strconv.Itoa(server.Port())) {
				master = server
			}
		}
		return master != nil
	})
	return master
}

// Failover kills the master, waits until the other server is the master, and
// starts the old one again, as its replica.
func (s *Sentinel) Failover() {
	s.tb.Helper()
	old := s.Master()
	old.Kill()
	var now *Server
	s.await("another master", func(ctx context.Context) bool {
		now = s.Master()
		role, _ := redisCLI(ctx, now, "ROLE")
		return now != old && strings.HasPrefix(role, "master")
	})
	old.Restart()
	// The Sentinel would do it, eight seconds later.
	s.await("the old master is a replica", func(ctx context.Context) bool {
		_, _ = redisCLI(ctx, old, "REPLICAOF", "127.0.0.1", strconv.Itoa(now.Port()))
		info, _ := redisCLI(ctx, old, "INFO", "replication")
		return strings.Contains(info, "role:slave") && strings.Contains(info, "master_link_status:up")
	})
}

func (s *Sentinel) await(what string, done func(ctx context.Context) bool) {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for !done(ctx) {
		if sleep(ctx, probePause) != nil {
			s.tb.Fatalf("testserver: in a minute it did not come to this: %s", what)
		}
	}
}
