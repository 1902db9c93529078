package haltpostgres

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/combine"
)

// Store is a [halt.Store] in PostgreSQL. It is safe for concurrent use by any number of goroutines and processes. All
// charges of a call are decided in one atomic step at one instant.
//
// It starts goroutines only while calls are on their way and needs no closing. The pool or connection stays the caller's.
type Store struct {
	db        database
	timeout   time.Duration
	decideSQL string
	resetSQL  string
	sweepSQL  string
	combiner  *combine.Combiner[struct{}, struct{}]
	single    chan struct{} // holds a value while a single connection is in use; nil for pools
	inTx      bool          // the connection is a transaction of the caller's
	flights   sync.Pool     // of single connections
	explicit  atomic.Bool   // statements need a transaction, since the sessions' default is not READ COMMITTED
	blocked   atomic.Int64  // when a batch last waited for a locked row in vain, in ns since the Unix epoch
	clock     combine.ServerClock
	now       func() halt.Instant // what the function takes for the time; nil, but in tests: PostgreSQL's own clock
	sweeper   sweeper
}

// New returns a store on a pool or a single connection. It sends nothing: see [Migrate] for what has to be in the database.
//
// A single connection decides one call at a time. On a transaction, what a call spends is spent when that is committed;
// until then the rows of its keys are locked, and calls on them by others wait, and fail with halt.ErrContention.
func New(db DB, o *Options) (*Store, error) {
	if missing(db) {
		return nil, errors.New("halt/postgres: New needs a pool or a connection")
	}
	s, err := build(pgxDB{db}, o)
	if err != nil {
		return nil, err
	}
	if single(db) {
		s.single = make(chan struct{}, 1)
	}
	_, s.inTx = db.(pgx.Tx)
	return s, nil
}

// NewSQL returns a store on a database/sql pool whose driver is pgx's, github.com/jackc/pgx/v5/stdlib: with another one,
// failures that could be repaired by a second try are not told from others.
func NewSQL(db *sql.DB, o *Options) (*Store, error) {
	if db == nil {
		return nil, errors.New("halt/postgres: NewSQL needs a database")
	}
	return build(sqlDB{db}, o)
}

func build(db database, o *Options) (*Store, error) {
	opts, err := o.complete()
	if err != nil {
		return nil, err
	}
	s := &Store{
		db: db, timeout: opts.Timeout, decideSQL: decideStatement(opts.quoted()),
		resetSQL: fmt.Sprintf("SELECT %s.reset_1($1::text::bytea[])::text", opts.quoted()),
		sweepSQL: fmt.Sprintf("SELECT %s.sweep_1($1::text::bigint, $2::text::integer)", opts.quoted()),
	}
	s.sweeper.every = opts.SweepEvery
	batches := combine.Options{Timeout: opts.Timeout, MaxBatch: opts.MaxBatch, InFlight: opts.InFlight}
	if opts.MaxBatch == 1 {
		batches.InFlight = 0
	}
	s.combiner = combine.New(batches, func() combine.Sender[struct{}, struct{}] { return s.newFlight() })
	return s, nil
}

// Name returns "postgres", for telemetry.
func (s *Store) Name() string { return "postgres" }

// Take decides the charges of cs as one call, in one atomic step at one instant.
func (s *Store) Take(ctx context.Context, cs []halt.Charge, ds []halt.Decision) error {
	switch {
	case len(cs) == 0:
		return nil
	case len(cs) > mostCalls:
		return &halt.StoreError{Kind: halt.ErrInvalidCharge, Cause: fmt.Errorf("halt/postgres: a call of more than %d charges", mostCalls)}
	case s.single != nil:
		return s.alone(ctx, cs, ds)
	}
	return s.combiner.Take(ctx, struct{}{}, cs, ds, struct{}{})
}

// alone decides a call on a single connection, in its caller's goroutine: once it has returned, the connection is free.
func (s *Store) alone(ctx context.Context, cs []halt.Charge, ds []halt.Decision) error {
	if err := ctx.Err(); err != nil {
		return ended(err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	f, ok := s.flights.Get().(*flight)
	if !ok {
		f = s.newFlight()
	}
	defer s.flights.Put(f)
	e := entry{charges: cs, decisions: ds}
	f.entries = append(f.entries[:0], &e)
	f.run(ctx)
	if err := ctx.Err(); e.err != nil && err != nil {
		return ended(err)
	}
	return e.err
}

// Reset forgets what key has used under p, its shadow's budget and blocks included.
func (s *Store) Reset(ctx context.Context, p halt.Policy, key string) error {
	if err := ctx.Err(); err != nil {
		return ended(err)
	}
	c := halt.Charge{Policy: p, Key: key}
	shadow := c
	shadow.Mode = halt.Shadow
	// In the order of the keys: a policy's name has no byte as high as a shadow's first, "~"; a hash begins with "#", both.
	first, second := rowKey(&c), rowKey(&shadow)
	if string(second) < string(first) {
		first, second = second, first
	}
	keys := `{"\\x` + hex.EncodeToString(first) + `","\\x` + hex.EncodeToString(second) + `"}`
	limit, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	for attempt := 0; ; attempt++ {
		_, err := s.query(limit, s.resetSQL, keys)
		switch {
		case err == nil:
			return nil
		case limit.Err() != nil:
			return ended(limit.Err())
		case attempt == attempts-1, outcomeOf(err) == failed, s.single != nil:
			return typed(err)
		}
		if err := combine.Pause(limit, attempt); err != nil {
			return ended(err)
		}
	}
}
