package halt

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/halt-dev/halt/core/internal/seldom"
)

// What the zero values of [PolicyCacheOptions] mean, and what is not worth an option.
const (
	defaultTTL         = time.Minute
	defaultStale       = 10 * time.Minute
	defaultLoadTimeout = time.Second
	defaultMaxEntries  = 100_000

	retryLoadAfter = time.Second // a failed load is repeated after this, or after the TTL if that is less
	maxLoads       = 10_000      // loads of one cache that run at once, hung ones included
)

// PolicyCacheOptions are a [PolicyCache]'s. The zero value, or nil, is the default. Negative values are not valid.
type PolicyCacheOptions struct {
	// TTL is for how long a loaded policy is fresh. After it, the next Get has it loaded anew in the background.
	// 0 means a minute: a changed plan is seen about that soon, and an active key costs its database one query in that time.
	TTL time.Duration
	// Stale is for how long after the TTL a policy is still returned while no load of a newer one succeeds.
	// 0 means ten minutes: a database's restart or failover goes unnoticed.
	Stale time.Duration
	// LoadTimeout is the longest that a Get waits for a load, and when the load's context ends.
	// 0 means a second: far more than a query by key needs, and little enough for a request to bear once.
	LoadTimeout time.Duration
	// MaxEntries is how many keys are kept; those being loaded come on top. 0 means 100,000: about 30 MB when full of short keys.
	MaxEntries int
	// Default is returned for a key whose policy is unknown when its load fails or takes longer than LoadTimeout.
	// The zero Policy means none: Get then returns the error.
	Default Policy
}

// PolicyCache keeps the policies that a load function finds by key, such as the plan of a user in a database. Its
// [PolicyCache.Get] is what a rule's Resolve needs: it never waits for a policy that is known, and lets a slow or failing
// database see no more than one load of a key at a time.
//
//   - Fresh, younger than TTL: returned at once.
//   - Stale, younger than TTL + Stale: returned at once, while one load runs in the background. If it fails, the policy
//     stays until TTL + Stale are over.
//   - Unknown: Get waits for the load, which all callers of that key share, for at most LoadTimeout.
//   - A failure is remembered for a second (for TTL, if that is less): until then the key isn't loaded again.
//
// A load that outlasts LoadTimeout and ignores that its context ended holds up nobody: callers get the stale policy, the
// Default or the error at once. Only after it has returned is its key loaded again, and what it returns is still kept. No
// more than 10,000 loads run at once; beyond that a Get does as if its load had failed.
//
// When more than MaxEntries keys are known, one that wasn't asked for lately is forgotten: of a few candidates one that
// has expired, if any, else the first that wasn't asked for since it was last a candidate.
//
// A failure that no caller gets to see, because a stale policy or the Default hides it, is logged to slog.Default: one
// line in ten seconds, without the error's text.
//
// A PolicyCache is safe for concurrent use. It runs no goroutines but those of loads, and needs no closing.
type PolicyCache[K comparable] struct {
	load        func(context.Context, K) (Policy, error)
	ttl, keep   time.Duration // keep: TTL + Stale
	retry       time.Duration
	loadTimeout time.Duration
	fallback    Policy // zero: none

	base     time.Time // ages are measured by the monotonic clock: steps of the wall clock change nothing
	seed     maphash.Seed
	shards   []cacheShard[K] // a power of two
	loads    atomic.Int64
	failures seldom.Gate
}

// NewPolicyCache returns a cache of what load returns. It panics if load is nil or an option isn't valid.
//
// load gets a context of its own, which ends after LoadTimeout. It carries none of the values of a caller's context,
// since one load serves many callers and may outlive the first one's request: all that the policy depends on belongs
// in the key. load is called concurrently, never twice at once for one key; its panics are caught, and returned as
// errors.
func NewPolicyCache[K comparable](load func(context.Context, K) (Policy, error), o *PolicyCacheOptions) *PolicyCache[K] {
	if o == nil {
		o = new(PolicyCacheOptions)
	}
	var faults []string
	if load == nil {
		faults = append(faults, "load must not be nil")
	}
	for _, d := range []struct {
		field string
		v     int64
	}{{"TTL", int64(o.TTL)}, {"Stale", int64(o.Stale)}, {"LoadTimeout", int64(o.LoadTimeout)}, {"MaxEntries", int64(o.MaxEntries)}} {
		if d.v < 0 {
			faults = append(faults, d.field+" must be 0 (the default) or more")
		}
	}
	if o.Default != (Policy{}) {
		if err := o.Default.Validate(); err != nil {
			faults = append(faults, "Default: "+err.Error())
		}
	}
	if faults != nil {
		panic("halt: NewPolicyCache: " + strings.Join(faults, "; ")) //nolint:forbidigo // a mistake at wiring
	}
	c := &PolicyCache[K]{load: load, fallback: o.Default, base: time.Now(), seed: maphash.MakeSeed()}
	c.ttl = orDefault(o.TTL, defaultTTL)
	c.keep = c.ttl + min(orDefault(o.Stale, defaultStale), Never-c.ttl)
	c.retry = min(c.ttl, retryLoadAfter)
	c.loadTimeout = orDefault(o.LoadTimeout, defaultLoadTimeout)
	c.shards = newCacheShards[K](orDefault(o.MaxEntries, defaultMaxEntries))
	return c
}

// orDefault returns v, or the default if v is zero.
func orDefault[T comparable](v, byDefault T) T {
	if v == *new(T) {
		return byDefault
	}
	return v
}

// Get returns the policy of key. If it has to wait for a load and ctx ends first, it returns ctx.Err() at once; the load
// goes on, for others.
//
// The other errors match ErrPolicyLoad and are a [*LoadError]: they match what the load function returned too. With a
// Default, Get returns that in their place.
func (c *PolicyCache[K]) Get(ctx context.Context, key K) (Policy, error) {
	s := c.shard(key)
	s.mu.RLock()
	if e := s.entries[key]; e != nil {
		switch c.look(e, c.now()) {
		case entryFresh, entryServed:
			e.touch()
			p := e.policy
			s.mu.RUnlock()
			return p, nil
		case entryFailing:
			e.touch()
			err := e.err
			s.mu.RUnlock()
			return c.without(ctx, err)
		case entryStale, entryUnknown:
		}
	}
	s.mu.RUnlock()
	return c.await(ctx, s, key)
}

// Invalidate forgets the policy of key, so that the next Get loads it: for when its plan has just changed. The caches of
// other processes see the change when their TTL has passed.
//
// A Get that begins after Invalidate has returned never returns what a load that began before found; if such a load is
// still running, it waits for that one to return and then for its own, for at most LoadTimeout in all.
func (c *PolicyCache[K]) Invalidate(key K) {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[key]; e != nil {
		s.forget(e)
	}
}

// await has the policy loaded if need be, and waits for it if it is unknown.
func (c *PolicyCache[K]) await(ctx context.Context, s *cacheShard[K], key K) (Policy, error) {
	var patience <-chan time.Time // ends a wait for more than one load
	for {
		p, f, outdated, err := c.join(ctx, s, key)
		if f == nil {
			return p, err
		}
		if outdated && patience == nil {
			t := time.NewTimer(c.loadTimeout)
			defer t.Stop()
			patience = t.C
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			if c.fallback != (Policy{}) && errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return c.without(ctx, errLoadLate) // the caller's patience is as good as the LoadTimeout's
			}
			return Policy{}, ctx.Err()
		case <-patience:
			return c.without(ctx, errLoadLate)
		case <-f.expired:
			select {
			case <-f.done: // a load that is done ends its context, too
			default:
				return c.without(ctx, errLoadLate)
			}
		}
		if outdated {
			continue
		}
		if f.err != nil {
			return c.without(ctx, f.err)
		}
		return f.policy, nil
	}
}

// join returns the policy of key if it is known, else the load to wait for, which it starts if there is none. If that
// load is outdated, its result is not for this caller.
func (c *PolicyCache[K]) join(ctx context.Context, s *cacheShard[K], key K) (p Policy, f *flight, outdated bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, now := s.entries[key], c.now()
	state := entryUnknown
	if e != nil {
		state = c.look(e, now)
		e.touch()
	}
	switch state {
	case entryStale:
		c.start(s, e)
		return e.policy, nil, false, nil
	case entryFresh, entryServed:
		return e.policy, nil, false, nil
	case entryFailing:
		return p, failedFlight(e.err), false, nil
	case entryUnknown:
	}
	if e != nil && e.flight != nil {
		return p, e.flight, e.flight.outdated, nil
	}
	if err := ctx.Err(); err != nil {
		return p, nil, false, err
	}
	if e == nil {
		e = &entry[K]{key: owned(key)}
	}
	if !c.start(s, e) {
		return p, failedFlight(errLoadBusy), false, nil
	}
	return p, e.flight, false, nil
}

// start begins a load of e, and adds e to the shard if it is new. It reports false if too many loads run. s is locked.
func (c *PolicyCache[K]) start(s *cacheShard[K], e *entry[K]) bool {
	if c.loads.Add(1) > maxLoads {
		c.loads.Add(-1)
		return false
	}
	s.add(e)
	// Not the caller's context, not even its values: see NewPolicyCache. (Some frameworks also reuse theirs.)
	ctx, cancel := context.WithTimeout(context.Background(), c.loadTimeout)
	e.flight = &flight{done: make(chan struct{}), expired: ctx.Done()}
	s.loading++
	go c.fly(ctx, cancel, s, e)
	return true
}

// fly calls the load function, and completes the load however that ends.
func (c *PolicyCache[K]) fly(ctx context.Context, cancel context.CancelFunc, s *cacheShard[K], e *entry[K]) {
	defer cancel() // after the load is done: see await
	var p Policy
	fail := &LoadError{Cause: errLoadGone}
	defer func() {
		if v := recover(); v != nil {
			fail = &LoadError{Panic: v, Stack: string(debug.Stack())}
		}
		c.land(s, e, p, fail)
	}()
	p, err := c.load(ctx, e.key)
	if err == nil {
		err = p.Validate()
	} else if ctx.Err() != nil && !errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%w: %w", context.DeadlineExceeded, err) // as for those who stopped waiting a moment before
	}
	if err == nil {
		fail = nil
	} else {
		fail = &LoadError{Cause: err}
	}
}

// land keeps what a load found, and hands it to those who wait for it.
func (c *PolicyCache[K]) land(s *cacheShard[K], e *entry[K], p Policy, fail *LoadError) {
	c.loads.Add(-1)
	s.mu.Lock()
	now, f := c.now(), e.flight
	e.flight = nil
	s.loading--
	f.policy, f.err = p, fail
	hidden := false
	switch {
	case f.outdated:
		s.remove(e)
	case fail != nil:
		e.err, e.failedAt = fail, now
		hidden = c.look(e, now) == entryServed
	default:
		e.policy, e.known, e.loadedAt, e.err = p, true, now, nil
	}
	for len(s.ring)-s.loading > s.limit {
		s.evict(e, func(e *entry[K]) bool { return c.look(e, now) == entryUnknown })
	}
	s.mu.Unlock()
	close(f.done)
	if hidden {
		c.report(context.Background(), fail)
	}
}

// without is what Get returns for a key that has no policy: the Default, or else why.
func (c *PolicyCache[K]) without(ctx context.Context, err *LoadError) (Policy, error) {
	if c.fallback == (Policy{}) {
		return Policy{}, err
	}
	c.report(ctx, err)
	return c.fallback, nil
}

// report tells the operator of a failure that no caller gets to see.
func (c *PolicyCache[K]) report(ctx context.Context, err *LoadError) {
	suppressed, due := c.failures.Due(seldom.Every)
	if !due {
		return
	}
	attrs := []any{"error", ErrorKind(err), "reason", err.reason()}
	if err.Stack != "" {
		attrs = append(attrs, "stack", err.Stack)
	}
	slog.Default().WarnContext(ctx, "halt: policy load failed", append(attrs, "suppressed", suppressed)...)
}
