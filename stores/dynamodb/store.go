package haltdynamo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/cas"
)

// Client is what a [Store] needs of DynamoDB. A *dynamodb.Client is one.
type Client interface {
	GetItem(context.Context, *dynamodb.GetItemInput, ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error)
	PutItem(context.Context, *dynamodb.PutItemInput, ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error)
	DeleteItem(context.Context, *dynamodb.DeleteItemInput, ...func(*dynamodb.Options)) (*dynamodb.DeleteItemOutput, error)
	TransactWriteItems(context.Context, *dynamodb.TransactWriteItemsInput, ...func(*dynamodb.Options)) (*dynamodb.TransactWriteItemsOutput, error)
}

// Options are a [Store]'s. The zero value, or nil, is the default.
type Options struct {
	// Prefix begins every key that the store writes; "" means "halt:". It must not begin with a "#".
	Prefix string
	// Timeout is how long a call may take, waiting for its turn and what the client repeats included: 0 means 100 ms. A call
	// that takes longer returns an error that matches halt.ErrDeadline; it is then unknown whether it was spent.
	Timeout time.Duration
	// Remember is how many budgets the store remembers in order to write without reading first, those used last: 0 means 65,536.
	// Each takes about 300 bytes of memory, 1.3 KB at most. The next decision on one that is forgotten costs a write unit more,
	// unless the time of its item is over. Storage keys over 384 bytes are not remembered.
	Remember int
}

// Store is a [halt.Store] in a table of DynamoDB, made by [New]. It is safe for concurrent use by any number of goroutines and
// processes. See the package's documentation for what it promises.
//
// It starts goroutines only while calls are on their way, or were a moment ago, and needs no closing. The client stays the
// caller's.
type Store struct{ store *cas.Store }

// New returns a store in the table, which must be as [CreateTable] makes it. It sends nothing.
func New(client Client, table string, o *Options) (*Store, error) {
	return open(client, table, o, cas.NewClock().Now)
}

// open is New with a clock.
func open(client Client, table string, o *Options, clock func() halt.Instant) (*Store, error) {
	var opts Options
	if o != nil {
		opts = *o
	}
	if c, ok := client.(*dynamodb.Client); client == nil || ok && c == nil {
		return nil, errors.New("halt/dynamodb: New needs a client")
	}
	if table == "" {
		return nil, errors.New("halt/dynamodb: New needs a table")
	}
	if strings.HasPrefix(opts.Prefix, hashMark) {
		return nil, errors.New("halt/dynamodb: Options.Prefix must not begin with a " + hashMark)
	}
	s, err := cas.New(&register{client: client, table: table, clock: clock}, &cas.Options{
		Prefix: opts.Prefix, Timeout: opts.Timeout, Remember: opts.Remember, Clock: clock,
	})
	if err != nil {
		return nil, fmt.Errorf("halt/dynamodb: %w", err)
	}
	return &Store{s}, nil
}

// Name returns "dynamodb", for telemetry.
func (s *Store) Name() string { return "dynamodb" }

// Take decides the charges of cs as one call: one item by a conditional write, several by a transaction, which is one step.
func (s *Store) Take(ctx context.Context, cs []halt.Charge, ds []halt.Decision) error {
	return s.store.Take(ctx, cs, ds)
}

// Reset forgets what key has used under p, its shadow's budget and blocks included.
func (s *Store) Reset(ctx context.Context, p halt.Policy, key string) error {
	return s.store.Reset(ctx, p, key)
}
