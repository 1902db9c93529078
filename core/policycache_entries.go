package halt

import (
	"context"
	"errors"
	"hash/maphash"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Why there is no policy, apart from what the load function itself returns.
var (
	errLoadLate = &LoadError{Cause: context.DeadlineExceeded}
	errLoadBusy = &LoadError{Cause: errors.New("too many loads are running")}
	errLoadGone = errors.New("the load function ended its goroutine")
)

// reason is a constant label, fit for a log.
func (e *LoadError) reason() string {
	switch {
	case e.Panic != nil:
		return "panic"
	case errors.Is(e, context.DeadlineExceeded):
		return "timeout"
	case e == errLoadBusy:
		return "busy"
	}
	return "error"
}

// entry is what is known of one key. Its shard guards it.
type entry[K comparable] struct {
	key      K
	slot     int // 1 + its index in the ring; 0 while it isn't in the shard
	used     atomic.Bool
	known    bool
	policy   Policy        // if known
	loadedAt time.Duration // likewise
	err      *LoadError    // of the last load, if that failed
	failedAt time.Duration // likewise
	flight   *flight       // the load that runs, if any
}

// touch marks the entry as used. Only the first touch writes, so that readers of a hot key share its cache line.
func (e *entry[K]) touch() {
	if !e.used.Load() {
		e.used.Store(true)
	}
}

// flight is one load, from its start until it returns.
type flight struct {
	outdated bool            // the key was invalidated meanwhile; guarded by the shard
	expired  <-chan struct{} // closed when nobody waits for it any longer
	done     chan struct{}   // closed once the rest is set
	policy   Policy
	err      *LoadError
}

var closedDone = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// failedFlight is a load that has failed already.
func failedFlight(err *LoadError) *flight { return &flight{done: closedDone, err: err} }

// entryState is what can be done with an entry.
type entryState uint8

const (
	entryUnknown entryState = iota // no policy: load it, or wait for the load that runs
	entryFailing                   // no policy, and too early to load it again
	entryFresh
	entryStale  // usable, and a load is due
	entryServed // usable, and a load runs or is not due yet
)

// look tells the state of e, which its shard guards.
func (c *PolicyCache[K]) look(e *entry[K], now time.Duration) entryState {
	if e.known && within(now, e.loadedAt, c.ttl) {
		return entryFresh
	}
	rests := e.err != nil && within(now, e.failedAt, c.retry)
	switch {
	case e.known && within(now, e.loadedAt, c.keep):
		if rests || e.flight != nil {
			return entryServed
		}
		return entryStale
	case rests: // so no load runs
		return entryFailing
	}
	return entryUnknown
}

// within tells whether now is less than d after at. It isn't if it is before at: the clock of another testing/synctest
// bubble.
func within(now, at, d time.Duration) bool { return uint64(now-at) < uint64(d) }

// now is the time since the cache was made.
func (c *PolicyCache[K]) now() time.Duration { return time.Since(c.base) }

// owned returns key with copies of its strings, of those in structs, arrays and interfaces too: some frameworks reuse the
// memory that theirs point to.
func owned[K comparable](key K) K {
	own(reflect.ValueOf(&key).Elem())
	return key
}

// own is owned of what v, which is addressable, stands for.
func own(v reflect.Value) {
	v = reflect.NewAt(v.Type(), v.Addr().UnsafePointer()).Elem() // a field that isn't exported can be set, too
	switch v.Kind() {
	case reflect.String:
		v.SetString(strings.Clone(v.String()))
	case reflect.Struct:
		for i := range v.NumField() {
			own(v.Field(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			own(v.Index(i))
		}
	case reflect.Interface:
		if v.IsNil() {
			return
		}
		inner := reflect.New(v.Elem().Type()).Elem()
		inner.Set(v.Elem())
		own(inner)
		v.Set(inner)
	default: // a pointer, channel or number is what it is
	}
}

// cacheShard holds some of the keys. Its entries stand in a ring, for the clock algorithm of evict.
type cacheShard[K comparable] struct {
	mu      sync.RWMutex
	entries map[K]*entry[K]
	ring    []*entry[K]
	hand    int
	loading int // how many entries have a flight
	limit   int // how many others there may be
	_       [64]byte
}

const (
	maxShards     = 64
	minShardLimit = 256 // below that, keys that happen to meet in a shard would crowd each other out
	evictPeek     = 8   // how many entries evict looks at for an expired one
	evictPasses   = 128 // how many used ones it passes
)

// newCacheShards divides room for n entries among shards.
func newCacheShards[K comparable](n int) []cacheShard[K] {
	count := maxShards
	for count > 1 && n/count < minShardLimit {
		count /= 2
	}
	shards := make([]cacheShard[K], count)
	for i := range shards {
		shards[i].entries = make(map[K]*entry[K])
		shards[i].limit = n / count
		if i < n%count {
			shards[i].limit++
		}
	}
	return shards
}

func (c *PolicyCache[K]) shard(key K) *cacheShard[K] {
	if len(c.shards) == 1 {
		return &c.shards[0]
	}
	return &c.shards[maphash.Comparable(c.seed, key)&uint64(len(c.shards)-1)]
}

// add takes e in, unless it is in already.
func (s *cacheShard[K]) add(e *entry[K]) {
	if e.slot != 0 {
		return
	}
	s.ring = append(s.ring, e)
	e.slot = len(s.ring)
	if e.key == e.key { // a NaN isn't: a map would never let go of it
		s.entries[e.key] = e
	}
}

// remove takes e out.
func (s *cacheShard[K]) remove(e *entry[K]) {
	delete(s.entries, e.key)
	end := len(s.ring) - 1
	s.ring[e.slot-1] = s.ring[end]
	s.ring[e.slot-1].slot = e.slot
	s.ring[end] = nil
	s.ring = s.ring[:end]
	e.slot = 0
}

// forget removes e, or makes its load outdated if one runs.
func (s *cacheShard[K]) forget(e *entry[K]) {
	if e.flight == nil {
		s.remove(e)
		return
	}
	e.known, e.policy, e.err = false, Policy{}, nil
	e.flight.outdated = true
}

// evict removes an entry that no load runs for and that isn't spare; there must be one. It takes one that has expired if
// it sees one close to the hand, else the first that wasn't used since the hand last passed it, within reason.
func (s *cacheShard[K]) evict(spare *entry[K], expired func(*entry[K]) bool) {
	for i := range min(evictPeek, len(s.ring)) {
		if e := s.ring[(s.hand+i)%len(s.ring)]; e.flight == nil && expired(e) {
			s.remove(e)
			return
		}
	}
	for passed := 0; ; s.hand++ {
		if s.hand >= len(s.ring) {
			s.hand = 0
		}
		e := s.ring[s.hand]
		if e == spare || e.flight != nil {
			continue
		}
		if passed++; passed > evictPasses || !e.used.Swap(false) {
			s.remove(e) // in whose place the newest stands now: the hand comes to it last
			s.hand++
			return
		}
	}
}
