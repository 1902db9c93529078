package haltpostgres

import (
	"context"
	"database/sql"
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
	combiner  *combine.Combiner[struct{}, bool] // of each call, whether it is a Reset
	single    chan struct{}                     // holds a value while a single connection is in use; nil for pools
	inTx      bool                              // the connection is a transaction of the caller's
	flights   sync.Pool                         // of single connections
	explicit  atomic.Bool                       // statements need a transaction, since the sessions' default is not READ COMMITTED
	blocked   atomic.Int64                      // when a batch last waited for a locked row in vain, in ns since the Unix epoch
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
		resetSQL: fmt.Sprintf("SELECT %s.reset_1($1::text::bytea[], $2::text::integer, $3::text::boolean)", opts.quoted()),
		sweepSQL: fmt.Sprintf("SELECT %s.sweep_1($1::text::bigint, $2::text::integer)", opts.quoted()),
	}
	s.sweeper.every = opts.SweepEvery
	batches := combine.Options{Timeout: opts.Timeout, MaxBatch: opts.MaxBatch, InFlight: opts.InFlight}
	s.combiner = combine.New(batches, func() combine.Sender[struct{}, bool] { return s.newFlight() })
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
	}
	return s.call(ctx, cs, ds, false)
}

// Reset forgets what key has used under p, its shadow's budget and blocks included. It waits for its turn and for locked rows
// as a Take does. After an error it is unknown what it forgot.
func (s *Store) Reset(ctx context.Context, p halt.Policy, key string) error {
	cs := []halt.Charge{{Policy: p, Key: key}, {Policy: p, Key: key, Mode: halt.Shadow}}
	return s.call(ctx, cs, make([]halt.Decision, len(cs)), true)
}

// call sends the charges of a Take, or those whose budgets a Reset forgets.
func (s *Store) call(ctx context.Context, cs []halt.Charge, ds []halt.Decision, reset bool) error {
	if s.single != nil {
		return s.alone(ctx, cs, ds, reset)
	}
	return s.combiner.Take(ctx, struct{}{}, cs, ds, reset)
}

// alone sends a call on a single connection, in its caller's goroutine: once it has returned, the connection is free.
func (s *Store) alone(ctx context.Context, cs []halt.Charge, ds []halt.Decision, reset bool) error {
	if err := ctx.Err(); err != nil {
		return combine.Ended(err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	f, ok := s.flights.Get().(*flight)
	if !ok {
		f = s.newFlight()
	}
	defer s.flights.Put(f)
	e := entry{charges: cs, decisions: ds, reset: reset}
	f.entries = append(f.entries[:0], &e)
	f.run(ctx)
	if err := ctx.Err(); e.err != nil && err != nil {
		return combine.Ended(err)
	}
	return e.err
}
