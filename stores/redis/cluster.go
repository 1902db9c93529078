package haltredis

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// nodes are the lanes of a cluster: one for each master.
type nodes struct {
	first *lane // by way of the cluster's client, until that knows the cluster
	known atomic.Bool
	slots *[slots]atomic.Pointer[lane]

	mu    sync.Mutex
	lanes map[*redis.Client]*lane
}

// join prepares the lanes of a cluster.
func (s *Store) join(c *redis.ClusterClient) {
	s.cluster = c
	s.nodes.first = s.newLane(c)
	s.nodes.slots = new([slots]atomic.Pointer[lane])
	s.nodes.lanes = make(map[*redis.Client]*lane)
}

// laneOf returns the lane of the call's keys, which in a cluster are in one slot. It does not wait for the network.
func (s *Store) laneOf(ctx context.Context, w *call) *lane {
	if s.cluster == nil {
		return s.single
	}
	w.slot = s.slotOf(w.charges[0].Key)
	if l := s.nodes.slots[w.slot].Load(); l != nil {
		return l
	}
	if !s.nodes.known.Load() {
		return s.nodes.first
	}
	node, err := s.cluster.MasterForKey(ctx, s.storageKey(&w.charges[0]))
	if err != nil {
		return s.nodes.first
	}
	s.nodes.mu.Lock()
	defer s.nodes.mu.Unlock()
	l := s.nodes.lanes[node]
	if l == nil {
		l = s.newLane(node.WithTimeout(s.timeout))
		s.nodes.lanes[node] = l
	}
	s.nodes.slots[w.slot].Store(l)
	return l
}

// answered is told of a lane that works.
func (n *nodes) answered(l *lane) {
	if l == n.first {
		n.known.Store(true)
	}
}

// reroute draws the conclusions from an error about where keys are.
func (s *Store) reroute(l *lane, slot int, what outcome) {
	switch what {
	case elsewhere:
		s.nodes.slots[slot].Store(nil)
	case unheard, unknown, late:
		s.lost(l)
	default:
	}
}

// lost is told that a lane's server does not answer, or is no master: its slots are looked up again, now and once the
// client has asked the cluster anew.
func (s *Store) lost(l *lane) {
	n := &s.nodes
	n.mu.Lock()
	defer n.mu.Unlock()
	for node, other := range n.lanes {
		if other == l {
			delete(n.lanes, node)
		}
	}
	for i := range n.slots {
		n.slots[i].CompareAndSwap(l, nil)
	}
	s.cluster.ReloadState(background)
}
