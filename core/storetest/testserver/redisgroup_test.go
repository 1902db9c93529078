//go:build unix

package testserver

import (
	"context"
	"strings"
	"testing"
)

func TestRedisCluster(t *testing.T) {
	t.Parallel()
	c := RedisCluster(t, 3)
	slots := func(n *Server) string {
		t.Helper()
		all, err := redisCLI(t.Context(), n, "CLUSTER", "NODES")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(all) {
			if strings.Contains(line, "myself") {
				return strings.Join(strings.Fields(line)[8:], " ")
			}
		}
		return ""
	}
	before := slots(c.Nodes[0])
	c.Move(c.Nodes[0], c.Nodes[1], 10)
	if after := slots(c.Nodes[0]); before == "" || after == before {
		t.Errorf("the slots of a node are %q, and %q after 10 of them moved", before, after)
	}
}

func TestRedisSentinel(t *testing.T) {
	t.Parallel()
	s := RedisSentinel(t)
	old := s.Master()
	if _, err := redisCLI(context.Background(), old, "SET", "k", "v"); err != nil {
		t.Fatal(err)
	}
	s.Failover()
	if now := s.Master(); now == old || now.Pid() == 0 || old.Pid() == 0 {
		t.Errorf("after a failover the master is at %s, as before, or one of the servers is down", now.Addr())
	}
}
