package haltredis

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	halt "github.com/halt-dev/halt/core"
)

// nodes are the ways into a cluster: one for each master.
type nodes struct {
	first *way // by the cluster's client, until that knows the cluster
	known atomic.Bool
	slots *[slots]atomic.Pointer[way]

	mu   sync.Mutex
	ways map[*redis.Client]*way
}

// join prepares the ways into a cluster.
func (s *Store) join(c *redis.ClusterClient) {
	s.cluster = c
	s.nodes.first = &way{c}
	s.nodes.slots = new([slots]atomic.Pointer[way])
	s.nodes.ways = make(map[*redis.Client]*way)
}

// wayTo returns the way to the charge's key, and in a cluster its slot. It does not wait for the network.
func (s *Store) wayTo(ctx context.Context, c *halt.Charge) (w *way, slot int) {
	if s.cluster == nil {
		return s.single, 0
	}
	slot = s.slotOf(c.Key)
	if w := s.nodes.slots[slot].Load(); w != nil {
		return w, slot
	}
	if !s.nodes.known.Load() {
		return s.nodes.first, slot
	}
	node, err := s.cluster.MasterForKey(ctx, s.storageKey(c))
	if err != nil {
		return s.nodes.first, slot
	}
	s.nodes.mu.Lock()
	defer s.nodes.mu.Unlock()
	w = s.nodes.ways[node]
	if w == nil {
		w = &way{node.WithTimeout(s.timeout)}
		s.nodes.ways[node] = w
	}
	s.nodes.slots[slot].Store(w)
	return w, slot
}

// answered is told of a way that works.
func (n *nodes) answered(w *way) {
	if w == n.first {
		n.known.Store(true)
	}
}

// reroute draws the conclusions from an error about where keys are.
func (s *Store) reroute(w *way, slot int, what outcome) {
	switch what {
	case elsewhere:
		s.nodes.slots[slot].Store(nil)
	case unheard, unknown, late:
		s.lost(w)
	default:
	}
}

// lost is told that the server at the end of a way does not answer, or is no master: its slots are looked up again, now and
// once the client has asked the cluster anew.
func (s *Store) lost(w *way) {
	n := &s.nodes
	n.mu.Lock()
	defer n.mu.Unlock()
	for node, other := range n.ways {
		if other == w {
			delete(n.ways, node)
		}
	}
	for i := range n.slots {
		n.slots[i].CompareAndSwap(w, nil)
	}
	s.cluster.ReloadState(background)
}
