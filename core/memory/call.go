package memory

import (
	"context"
	"slices"
	"sync"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/algorithm"
)

// call is what a Take of several charges works with. It holds no key.
type call struct {
	fps     []uint64
	states  []algorithm.State
	changed []bool
	counts  []int64  // all the states' Counts
	shards  []uint32 // those that are locked, in ascending order
}

var calls = sync.Pool{New: func() any { return new(call) }}

// Take decides the charges of cs as one call, atomically, at one instant.
func (s *Store) Take(_ context.Context, cs []halt.Charge, ds []halt.Decision) error {
	if len(cs) == 1 {
		s.one(&cs[0], &ds[0])
		return nil
	}
	if len(cs) == 0 {
		return nil
	}
	c := calls.Get().(*call)
	defer calls.Put(c)
	c.prepare(s, cs)
	c.lock(s)
	defer c.unlock(s)

	// After the locks: no decision on any of these keys is from a later instant.
	now := s.clock.now()
	for _, i := range c.shards {
		now = max(now, s.shards[i].last)
	}
	for _, i := range c.shards {
		s.shards[i].last = now
	}
	for i, fp := range c.fps {
		c.load(i, s.shard(fp), &cs[i].Policy)
	}
	algorithm.DecideAll(cs, c.states, halt.Instant(now), ds, c.changed)
	for i, fp := range c.fps {
		if c.changed[i] {
			sh := s.shard(fp)
			p := &cs[i].Policy
			at, found := sh.find(fp) // only now: those before it may have moved it
			s.keep(sh, fp, at, found, &c.states[i], p, countsOf(p), &ds[i])
		}
	}
	return nil
}

// prepare sizes c for the charges, and finds out their fingerprints and shards.
func (c *call) prepare(s *Store, cs []halt.Charge) {
	n, counts := len(cs), 0
	c.fps, c.shards = c.fps[:0], c.shards[:0]
	for i := range cs {
		fp := s.hash.fingerprint(&cs[i], cs[i].OnShadow())
		c.fps = append(c.fps, fp)
		c.shards = append(c.shards, uint32(fp&s.mask))
		counts += countsOf(&cs[i].Policy)
	}
	slices.Sort(c.shards)
	c.shards = slices.Compact(c.shards)
	c.states = slices.Grow(c.states[:0], n)[:n]
	c.changed = slices.Grow(c.changed[:0], n)[:n]
	c.counts = slices.Grow(c.counts[:0], counts)[:0]
	clear(c.states)
	clear(c.changed)
}

// load copies what the shard keeps: entries move while the call's others are written.
func (c *call) load(i int, sh *shard, p *halt.Policy) {
	st, n := &c.states[i], countsOf(p)
	if at, found := sh.find(c.fps[i]); found {
		sh.load(st, &sh.slots[at], p, n)
	}
	if n == 0 {
		return
	}
	at := len(c.counts)
	c.counts = c.counts[:at+n]
	own := c.counts[at : at+n : at+n]
	if copy(own, st.Counts) == 0 {
		clear(own)
	}
	st.Counts = own
}

// lock locks all shards of the call, in the order that every call follows.
func (c *call) lock(s *Store) {
	for _, i := range c.shards {
		s.shards[i].mu.Lock()
	}
}

func (c *call) unlock(s *Store) {
	for _, i := range c.shards {
		s.shards[i].mu.Unlock()
	}
}
