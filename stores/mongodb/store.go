package haltmongo

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/combine"
)

const (
	defaultTimeout = 100 * time.Millisecond
	// resolution is that of $$NOW.
	resolution = time.Millisecond
	// mostCalls is how many calls one update decides at most: each may need stages of its own, and a pipeline may have 1000.
	mostCalls = 128
	// mostCharges is how many charges a call may have: they have to be written before its time is up.
	mostCharges = 1000
)

// Options are a [Store]'s. The zero value, or nil, is the default.
type Options struct {
	// Timeout is how long a call may take, waiting for its turn included: 0 means 100 ms. A call that takes longer returns an
	// error that matches halt.ErrDeadline; it is then unknown whether it was spent.
	Timeout time.Duration
}

// Store is a [halt.Store] in a collection of MongoDB. It is safe for concurrent use by any number of goroutines and processes.
// See the package's documentation for what is atomic.
//
// It starts goroutines only while calls are on their way, or were a moment ago, and needs no closing. The client stays the
// caller's, who disconnects it once the store is no longer used.
type Store struct {
	collection *mongo.Collection
	timeout    time.Duration
	calls      *combine.Combiner[documentID, struct{}] // those of several charges wait together, under no id
	plans      plans
	topology   atomic.Int32
	now        func() halt.Instant // what a decision takes for the time; nil, but in tests: MongoDB's own clock
}

// New returns a store in the collection, which should be Halt's alone. It sends nothing.
//
// Whatever the collection's own options are, the store writes with write concern majority, reads from the primary, and writes
// numbers as what they are.
func New(collection *mongo.Collection, o *Options) (*Store, error) {
	var opts Options
	if o != nil {
		opts = *o
	}
	switch {
	case collection == nil:
		return nil, errors.New("halt/mongodb: New needs a collection")
	case opts.Timeout < 0:
		return nil, errors.New("halt/mongodb: Options.Timeout must be 0 (100 ms) or more")
	case opts.Timeout == 0:
		opts.Timeout = defaultTimeout
	}
	s := &Store{timeout: opts.Timeout}
	s.collection = collection.Clone(options.Collection().
		SetWriteConcern(writeconcern.Majority()).
		SetReadConcern(readconcern.Local()).
		SetReadPreference(readpref.Primary()).
		SetBSONOptions(&options.BSONOptions{}). // a client's IntMinSize would make int32s of them
		SetRegistry(bson.NewRegistry()))
	s.calls = combine.New(combine.Options{Timeout: opts.Timeout, MaxBatch: mostCalls, InFlight: 1},
		func() combine.Sender[documentID, struct{}] { return &sender{store: s} })
	return s, nil
}

// Name returns "mongodb", for telemetry.
func (s *Store) Name() string { return "mongodb" }

// EnsureIndexes makes the index by which MongoDB removes documents whose keys are as ones never seen. It may be called
// again, and by several processes at once. Without it decisions are the same, and documents stay.
func (s *Store) EnsureIndexes(ctx context.Context) error {
	_, err := s.collection.Indexes().CreateOne(ctx, mongo.IndexModel{
		Keys:    bson.D{{Key: fieldExpires, Value: 1}},
		Options: options.Index().SetName("halt_expiry").SetExpireAfterSeconds(0),
	})
	return typed(err)
}

// Take decides the charges of cs as one call. Several charges are one transaction where MongoDB has transactions: see the
// package's documentation.
func (s *Store) Take(ctx context.Context, cs []halt.Charge, ds []halt.Decision) error {
	switch {
	case len(cs) == 0:
		return nil
	case len(cs) == 1:
		return s.calls.Take(ctx, newDocumentID(&cs[0]), cs, ds, struct{}{})
	case len(cs) > mostCharges:
		return &halt.StoreError{Kind: halt.ErrInvalidCharge, Cause: fmt.Errorf("halt/mongodb: a call of more than %d charges", mostCharges)}
	}
	if s.topology.Load() == topologyUnknown { // what is asked for then takes of the call's own time
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.timeout)
		defer cancel()
	}
	transactions, err := s.transactions(ctx)
	if err != nil {
		return err
	}
	if !transactions {
		return combine.TakeEach(ctx, s.timeout, cs, ds, s.Take)
	}
	return s.calls.Take(ctx, documentID{}, cs, ds, struct{}{})
}

// Reset forgets what key has used under p, its shadow's budget and blocks included.
func (s *Store) Reset(ctx context.Context, p halt.Policy, key string) error {
	c := halt.Charge{Policy: p, Key: key}
	shadow := c
	shadow.Mode = halt.Shadow
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	_, err := s.collection.DeleteMany(ctx, bson.D{{Key: fieldID, Value: bson.D{{
		Key: "$in", Value: bson.A{newDocumentID(&c).value(), newDocumentID(&shadow).value()},
	}}}})
	return typed(err)
}

// What is known of the servers: whether they have transactions, which a standalone has not.
const (
	topologyUnknown = iota
	topologyTransactions
	topologyStandalone
)

// transactions tells whether calls of several charges can be transactions. It asks once, and ctx has to end.
func (s *Store) transactions(ctx context.Context) (bool, error) {
	if t := s.topology.Load(); t != topologyUnknown {
		return t == topologyTransactions, nil
	}
	hello, err := s.collection.Database().RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Raw()
	if err != nil {
		return false, typed(err)
	}
	t := topologyStandalone
	_, replicated := hello.Lookup("setName").StringValueOK()
	if message, ok := hello.Lookup("msg").StringValueOK(); replicated || ok && message == "isdbgrid" {
		t = topologyTransactions
	}
	s.topology.Store(int32(t))
	return t == topologyTransactions, nil
}
