package testserver

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A Cluster is a Redis Cluster that a test runs: several masters that share
// the slots among them, without replicas.
type Cluster struct {
	Nodes []*Server
	tb    testing.TB
}

// clusterTimeout bounds how long the nodes may take to agree.
const clusterTimeout = 30 * time.Second

// RedisCluster starts a cluster of so many masters, at least three, and
// returns when all of them say that it is complete. The arguments are those of
// redis-server, for every node. It needs redis-cli, which comes with the
// server.
func RedisCluster(tb testing.TB, masters int, args ...string) *Cluster {
	tb.Helper()
	c := &Cluster{tb: tb}
	args = append([]string{
		"--cluster-enabled", "yes",
		"--cluster-config-file", "nodes.conf",
		"--cluster-node-timeout", "2000",
	}, args...)
	for range masters {
		c.Nodes = append(c.Nodes, Start(tb, redis(args)))
	}
	ctx, cancel := context.WithTimeout(context.Background(), clusterTimeout)
	defer cancel()
	create := append([]string{"--cluster", "create"}, c.Addrs()...)
	if _, err := c.Nodes[0].Run(ctx, "redis-cli", append(create, "--cluster-replicas", "0", "--cluster-yes")...); err != nil {
		tb.Fatalf("testserver: %v", err)
	}
	c.await(ctx)
	return c
}

// Addrs returns the addresses of all nodes.
func (c *Cluster) Addrs() []string {
	var addrs []string
	for _, n := range c.Nodes {
		addrs = append(addrs, n.Addr())
	}
	return addrs
}

// Move moves so many slots, with the keys in them, from one node to another,
// and returns when all nodes know. Clients are served meanwhile.
func (c *Cluster) Move(from, to *Server, slots int) {
	c.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), clusterTimeout)
	defer cancel()
	var ids [2]string
	for i, n := range []*Server{from, to} {
		id, err := redisCLI(ctx, n, "CLUSTER", "MYID")
		if err != nil {
			c.tb.Errorf("testserver: %v", err)
			return
		}
		ids[i] = id
	}
	_, err := from.Run(ctx, "redis-cli", "--cluster", "reshard", from.Addr(), "--cluster-from", ids[0], "--cluster-to", ids[1],
		"--cluster-slots", strconv.Itoa(slots), "--cluster-yes")
	if err != nil {
		c.tb.Errorf("testserver: %v", err)
		return
	}
	c.await(ctx)
}

// await waits until every node says that the cluster is complete.
func (c *Cluster) await(ctx context.Context) {
	c.tb.Helper()
	for _, n := range c.Nodes {
		for {
			info, err := redisCLI(ctx, n, "CLUSTER", "INFO")
			if strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:"+strconv.Itoa(len(c.Nodes))) {
				break
			}
			if sleep(ctx, probePause) != nil {
				c.tb.Fatalf("testserver: the cluster did not become complete: %v\n%s", err, info)
			}
		}
	}
}

// redisCLI asks a node and returns its answer.
func redisCLI(ctx context.Context, s *Server, words ...string) (string, error) {
	out, err := s.Run(ctx, "redis-cli", append([]string{"-h", "127.0.0.1", "-p", strconv.Itoa(s.Port())}, words...)...)
	answer := strings.TrimSpace(string(out))
	if err == nil && strings.HasPrefix(answer, "ERR ") {
		err = fmt.Errorf("testserver: %s: %s", words[0], answer)
	}
	return answer, err
}
