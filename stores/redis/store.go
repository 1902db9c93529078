package haltredis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/combine"
)

const (
	defaultPrefix   = "halt:"
	defaultTimeout  = 100 * time.Millisecond
	defaultMaxBatch = 128
	defaultInFlight = 2
	// mostCalls bounds MaxBatch, and how many keys a script is given: Lua passes no more than 8000 values at once.
	mostCalls = 4000
)

// Options are a [Store]'s. The zero value, or nil, is the default.
type Options struct {
	// Prefix begins every key that the store writes; "" means "halt:". It must not hold a "{", which would decide about the
	// keys' slots in a cluster.
	Prefix string
	// SlotTag, if not empty, puts all keys into the one slot of a cluster that it names, so that every call is one atomic step
	// whatever keys it has, at the price that one node does all the work. Without it each caller's key has a slot: see Store.
	// It must not hold a "{" or "}".
	SlotTag string
	// Timeout is how long a call may take, waiting for its turn included: 0 means 100 ms. A call that takes longer returns an
	// error that matches halt.ErrDeadline; it is then unknown whether it was spent.
	Timeout time.Duration
	// MaxBatch is how many calls go to Redis in one script at most: 0 means 128, the most are 4000. 1 turns batching off: each
	// call is sent at once, on a connection of its own.
	MaxBatch int
	// InFlight is how many batches may be on their way to a server at once: 0 means 2. While they are, calls wait and form
	// the next batch. More hide a long way to Redis; fewer make larger batches, which cost Redis less.
	InFlight int
}

// Store is a [halt.Store] in Redis. It is safe for concurrent use by any number of goroutines and processes. What it
// decides is exact: see the package's documentation for what is atomic, and for what Redis may forget.
//
// It starts goroutines only while calls are on their way and needs no closing. The client stays the caller's, who may use
// it for other things, and closes it once the store is no longer used.
type Store struct {
	client  redis.UniversalClient
	cluster *redis.ClusterClient // nil if all keys are on one server
	prefix  string
	tag     string
	timeout time.Duration
	script  *script

	combiner *combine.Combiner[*way, own]
	single   *way // if there is no cluster
	nodes    nodes
	clock    combine.ServerClock
	now      func() halt.Instant // what a script takes for the time; nil, but in tests: Redis's own clock
}

// New returns a store on the client: a single server's, a Sentinel's failover client, or a cluster's. It sends nothing.
//
// A Ring is refused: it moves keys to other servers whenever one seems to be down, and each of them would admit the whole
// limit again.
func New(client redis.UniversalClient, o *Options) (*Store, error) {
	var opts Options
	if o != nil {
		opts = *o
	}
	if err := opts.complete(); err != nil {
		return nil, err
	}
	s := &Store{
		client: client, prefix: opts.Prefix, tag: opts.SlotTag, timeout: opts.Timeout, script: decideScript,
	}
	together := combine.Options{Timeout: opts.Timeout, MaxBatch: opts.MaxBatch, InFlight: opts.InFlight}
	if opts.MaxBatch == 1 {
		together.InFlight = 0
	}
	s.combiner = combine.New(together, func() combine.Sender[*way, own] { return newFlight(s) })
	switch c := client.(type) {
	case nil:
		return nil, errors.New("halt/redis: New needs a client")
	case *redis.Ring:
		return nil, ErrRing
	case *redis.ClusterClient:
		if c == nil {
			return nil, errors.New("halt/redis: New needs a client")
		}
		s.join(c)
	case *redis.Client:
		if c == nil {
			return nil, errors.New("halt/redis: New needs a client")
		}
		s.single = &way{c.WithTimeout(opts.Timeout)}
	default:
		s.single = &way{client}
	}
	return s, nil
}

// ErrRing is New's error for a *redis.Ring.
var ErrRing = errors.New("halt/redis: a Ring moves keys between servers and would admit more than the limit; use a cluster or a single server")

// complete fills in the defaults, and returns an error that names all that is wrong.
func (o *Options) complete() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf("halt/redis: "+format, args...)) }
	if o.Prefix == "" {
		o.Prefix = defaultPrefix
	}
	if strings.Contains(o.Prefix, "{") {
		wrong("Options.Prefix must not hold a {")
	}
	if strings.ContainsAny(o.SlotTag, "{}") {
		wrong("Options.SlotTag must not hold a { or }")
	}
	if o.Timeout < 0 {
		wrong("Options.Timeout must be 0 (100 ms) or more")
	} else if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.MaxBatch < 0 || o.MaxBatch > mostCalls {
		wrong("Options.MaxBatch must be 0 (%d) to %d", defaultMaxBatch, mostCalls)
	} else if o.MaxBatch == 0 {
		o.MaxBatch = defaultMaxBatch
	}
	if o.InFlight < 0 {
		wrong("Options.InFlight must be 0 (%d) or more", defaultInFlight)
	} else if o.InFlight == 0 {
		o.InFlight = defaultInFlight
	}
	return errors.Join(errs...)
}

// Name returns "redis", for telemetry.
func (s *Store) Name() string { return "redis" }

// Take decides the charges of cs as one call. It is one atomic step at one instant, unless the keys are in several slots
// of a cluster: see the package's documentation.
func (s *Store) Take(ctx context.Context, cs []halt.Charge, ds []halt.Decision) error {
	switch {
	case len(cs) == 0:
		return nil
	case len(cs) > mostCalls:
		return &halt.StoreError{Kind: halt.ErrInvalidCharge, Cause: fmt.Errorf("halt/redis: a call of more than %d charges", mostCalls)}
	}
	if s.cluster != nil && s.tag == "" && !oneKey(cs) {
		return s.takeAcross(ctx, cs, ds)
	}
	return s.takeTogether(ctx, cs, ds)
}

// takeTogether is Take of charges whose keys are in one slot.
func (s *Store) takeTogether(ctx context.Context, cs []halt.Charge, ds []halt.Decision) error {
	w, slot := s.wayTo(ctx, &cs[0])
	return s.combiner.Take(ctx, w, cs, ds, own{slot: slot})
}

func oneKey(cs []halt.Charge) bool {
	for i := 1; i < len(cs); i++ {
		if cs[i].Key != cs[0].Key {
			return false
		}
	}
	return true
}

// Reset forgets what key has used under p, its shadow's budget and blocks included.
func (s *Store) Reset(ctx context.Context, p halt.Policy, key string) error {
	c := halt.Charge{Policy: p, Key: key}
	shadow := c
	shadow.Mode = halt.Shadow
	keys := []string{s.storageKey(&c), s.storageKey(&shadow)}
	// Not all clients look at the context.
	return combine.Within(ctx, s.timeout, func(ctx context.Context) error { return typed(s.client.Del(ctx, keys...).Err()) })
}
