package haltredis

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
	"github.com/halt-dev/halt/core/storetest/testserver"
)

// While slots move from node to node, calls go on, none is admitted beyond its limit, and no error but a passing one comes.
func TestReshard(t *testing.T) {
	cluster, client := newCluster(t)
	s := open(t, client, &patient)
	const keys, limit = 1000, 20
	p, second := lasting(limit), lasting(1<<40)
	second.Name = "second"
	var admitted [keys]atomic.Int64
	var over atomic.Bool
	var calls, failed atomic.Int64
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for n := g; !over.Load(); n += 7 {
				k := n % keys
				key := fmt.Sprint("key:", k)
				ds := make(halt.Decisions, 2)
				calls.Add(1)
				err := s.Take(context.Background(), []halt.Charge{p.Charge(key, 1), second.Charge(key, 1)}, ds)
				switch {
				case err != nil:
					failed.Add(1)
					if !errors.Is(err, halt.ErrStore) && !errors.Is(err, halt.ErrDeadline) {
						t.Errorf("while slots move: %v", err)
					}
				case ds.Allowed():
					admitted[k].Add(1)
				}
			}
		})
	}
	cluster.Move(cluster.Nodes[0], cluster.Nodes[1], 400)
	cluster.Move(cluster.Nodes[1], cluster.Nodes[2], 400)
	over.Store(true)
	wg.Wait()
	for k := range admitted {
		key := fmt.Sprint("key:", k)
		n := admitted[k].Load()
		d := take(t, s, p.Charge(key, 0))
		if n > limit || d.Remaining > limit-n {
			t.Errorf("%s: %d were admitted of %d, and %d are left", key, n, limit, d.Remaining)
		}
	}
	if f, n := failed.Load(), calls.Load(); f*100 > n {
		t.Errorf("%d of %d calls failed while slots moved", f, n)
	}
}

// A flood of calls that one slot refuses leaves what they would have taken in others whole.
func TestRefusedAcross(t *testing.T) {
	_, client := newCluster(t)
	s := open(t, client, &patient)
	own, shared := lasting(1), lasting(1000)
	shared.Name = "shared"
	ctx := context.Background()
	call := func(key string) (halt.Decisions, error) {
		ds := make(halt.Decisions, 2)
		return ds, s.Take(ctx, []halt.Charge{own.Charge(key, 1), shared.Charge("everyone", 1)}, ds)
	}
	if ds, err := call("attacker"); err != nil || !ds.Allowed() {
		t.Fatalf("the first: %+v, %v", ds, err)
	}
	var wg sync.WaitGroup
	var served atomic.Int64
	for g := range 16 {
		wg.Go(func() {
			for i := range 50 {
				if ds, err := call("attacker"); err != nil || ds.Allowed() {
					t.Errorf("the attacker: %+v, %v", ds, err)
				}
				ds, err := call(fmt.Sprint("user:", g, ":", i))
				if err != nil {
					t.Error(err)
				}
				if ds.Allowed() {
					served.Add(1)
				}
			}
		})
	}
	wg.Wait()
	left := take(t, s, shared.Charge("everyone", 0)).Remaining
	if n := served.Load(); n != 800 || left != 1000-801 {
		t.Errorf("%d of 800 users were served beside a flood of refused calls, and %d of 1000 are left", n, left)
	}
}

// When a Sentinel makes a replica the master, calls go to it. Redis replicates without waiting, so what the old master had
// not passed on is forgotten: that is all.
func TestFailover(t *testing.T) {
	sentinel := testserver.RedisSentinel(t)
	client := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: sentinel.Name, SentinelAddrs: []string{sentinel.Watcher.Addr()}})
	t.Cleanup(func() { _ = client.Close() })
	s := open(t, client, nil)
	p := lasting(2000)
	stop := load(s, p.Charge("k", 1))
	works := func() bool {
		_, err := storetest.TakeOne(context.Background(), s, p.Charge("other", 0))
		return err == nil
	}
	for range 2 {
		eventually(t, "calls work", works)
		sentinel.Failover()
	}
	eventually(t, "calls work after failovers", works)
	eventually(t, "the limit is reached", func() bool {
		d, err := storetest.TakeOne(context.Background(), s, p.Charge("k", 0))
		return err == nil && d.Remaining == 0
	})
	admitted, failed := stop()
	if admitted > 3*p.Limit {
		t.Errorf("%d were admitted of %d, with two failovers", admitted, p.Limit)
	}
	for kind := range failed {
		if kind != "store" && kind != "deadline" {
			t.Errorf("an error of kind %q", kind)
		}
	}
}
