package memory

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/algorithm"
)

const defaultMaxKeys = 1_000_000

// Options are a [Store]'s. The zero value, or nil, is the default.
type Options struct {
	// MaxKeys bounds how many keys the store keeps, counted per policy: 0 means 1,000,000. At the bound a new key takes the
	// place of another, which is then as one never seen; see [Store]. Choose it well above the number of keys that are alive
	// at once; a bucket's takes 48 bytes.
	MaxKeys int
}

// Store is a [halt.Store] in this process's memory. It is safe for concurrent use, decides every call, of however many
// charges, atomically at one instant, and never fails: contexts are not looked at, errors are always nil.
//
// At most MaxKeys keys are kept (for a moment, one more per call under way). A key is kept until its reset (see
// [halt.Decision].ResetAfter); expired ones are removed bit by bit as new ones come, so a store that was full once shrinks
// again. At the bound a new key takes the place of an expired one, else of the one nearest to its reset: of the next 16 that
// its shard holds, round and round, not of all; and of one that is exhausted or blocked only if all 16 are. So a key deep in
// debt outlives a flood of keys that are seen once. An eviction is a loss of state nevertheless: what that key had used is
// forgotten early, and so is its block.
type Store struct {
	hash   hasher
	clock  clock
	shards []shard
	mask   uint64 // the bits of a fingerprint that are the number of its shard
	max    int64

	_ [64]byte // n is written as keys come and go, the fields above are read by every decision
	n atomic.Int64
	_ [64]byte
}

// shard is a table with its lock. What every decision needs comes first, in one cache line; the whole is a multiple of two, so
// that a neighbour's processor isn't disturbed.
type shard struct {
	mu   sync.Mutex
	last int64 // the latest instant of a decision here: what was forgotten then must not come back to an earlier one
	table
	zero []int64 // Counts for keys never seen, all 0 between decisions
	_    [96]byte
}

// New returns an empty store. It panics if MaxKeys is negative. In a testing/synctest bubble its time is the bubble's, as
// long as New was called there.
func New(o *Options) *Store {
	limit := 0
	if o != nil {
		limit = o.MaxKeys
	}
	if limit < 0 {
		panic("halt/memory: Options.MaxKeys must be 0 (1,000,000) or more") //nolint:forbidigo // wrong at wiring
	}
	if limit == 0 {
		limit = defaultMaxKeys
	}
	s := &Store{hash: newHasher(), max: int64(limit)}
	s.clock.start()
	n := shards(limit)
	s.mask = uint64(n - 1)
	s.shards = make([]shard, n)
	for i := range s.shards {
		s.shards[i].init()
	}
	return s
}

// shards returns how many shards a store has, a power of two: enough for processors not to meet often and for a table to grow
// within a fraction of a millisecond, but few enough that a full store's tables are large: each then holds a sample to
// evict from, and little is lost to rounding.
func shards(limit int) int {
	const most = 1 << 16
	n := 1
	for want := max(16*runtime.GOMAXPROCS(0), limit>>14); n < want && n < most && n <= limit>>11; {
		n *= 2
	}
	return n
}

// Name returns "memory", for telemetry.
func (s *Store) Name() string { return "memory" }

// Len returns how many keys the store keeps, counted per policy: those that are expired but not yet removed included.
func (s *Store) Len() int { return int(s.n.Load()) }

// one decides a charge by itself and writes the decision to d.
func (s *Store) one(c *halt.Charge, d *halt.Decision) {
	// Read before the lock, which then is held for less long. A reading that is late by then counts as the latest.
	now := s.clock.now()
	fp := s.hash.fingerprint(c, c.OnShadow())
	sh := s.shard(fp)
	sh.mu.Lock()
	defer sh.mu.Unlock() // even if the policy is one that the Limiter would have refused, and Decide panics
	now = max(now, sh.last)
	sh.last = now

	var st algorithm.State
	counts := countsOf(&c.Policy)
	i, found := sh.find(fp)
	if found {
		sh.load(&st, &sh.slots[i], &c.Policy, counts)
	}
	fresh := counts > 0 && st.Counts == nil
	if fresh {
		st.Counts = sh.zeroes(counts)
	}
	if algorithm.DecideTo(d, c, &st, halt.Instant(now)) {
		s.keep(sh, fp, i, found, &st, &c.Policy, counts, d)
	}
	if fresh {
		clear(st.Counts)
	}
}

// shard returns the shard of a fingerprint.
func (s *Store) shard(fp uint64) *shard { return &s.shards[fp&s.mask] }

// keep writes a changed state to the entry at i, if it was found there.
func (s *Store) keep(sh *shard, fp uint64, i int, found bool, st *algorithm.State, p *halt.Policy, counts int, d *halt.Decision) {
	if d.ResetAfter == 0 { // it is as one never seen
		if found {
			sh.remove(i)
			s.n.Add(-1)
		}
		return
	}
	reset := resetOf(d)
	var e *slot
	if found {
		e = &sh.slots[i]
	} else {
		e = s.insert(sh, fp, reset)
	}
	sh.save(e, st, p, counts, reset)
	if d.Remaining == 0 {
		e.reset |= 2
	}
}

// insert makes an entry for a new key, at the expense of others if need be.
func (s *Store) insert(sh *shard, fp uint64, reset int64) *slot {
	full := s.n.Add(1) > s.max
	look := reclaimed
	if full {
		look = sampled
	}
	if removed := sh.sweep(sh.last, look, full); removed > 0 {
		s.n.Add(int64(-removed))
	}
	return sh.insert(fp, reset<<2)
}

// zeroes returns n zeroes, which whoever changes them sets to 0 again.
func (sh *shard) zeroes(n int) []int64 {
	if len(sh.zero) < n {
		sh.zero = make([]int64, n)
	}
	return sh.zero[:n:n]
}

// Reset forgets what key has used under p, its shadow's budget and blocks included.
func (s *Store) Reset(_ context.Context, p halt.Policy, key string) error {
	c := halt.Charge{Policy: p, Key: key}
	for _, shadow := range [...]bool{false, true} {
		s.forget(s.hash.fingerprint(&c, shadow))
	}
	return nil
}

func (s *Store) forget(fp uint64) {
	sh := s.shard(fp)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if i, found := sh.find(fp); found {
		sh.remove(i)
		s.n.Add(-1)
	}
}
