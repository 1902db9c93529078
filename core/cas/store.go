package cas

import (
	"context"
	"errors"
	"fmt"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/combine"
)

const (
	defaultName     = "cas"
	defaultPrefix   = "halt:"
	defaultTimeout  = 100 * time.Millisecond
	defaultSkew     = 3 * time.Second
	mostSkew        = 5 * time.Second // at 10 s between two clocks, states count as never seen
	defaultRemember = 1 << 16
	// mostCalls is how many calls a swap has at most.
	mostCalls = 1024
)

// Options are a [Store]'s. The zero value, or nil, is the default.
type Options struct {
	// Name is what observers call the store; "" means "cas".
	Name string
	// Prefix begins every key that the register is given; "" means "halt:".
	Prefix string
	// Timeout is how long a call may take, waiting for its turn included: 0 means 100 ms. A call that takes longer returns an
	// error that matches halt.ErrDeadline; it is then unknown whether it was spent.
	Timeout time.Duration
	// Skew is how far the clock of any process may be off, once corrected by the register: 0 means 3 s, the most are 5 s.
	// Entries are kept for twice as long beyond their reset.
	Skew time.Duration
	// Remember is how many entries the store remembers in order to swap without reading, those used last: 0 means 65,536. Each
	// takes about 300 bytes, with its key; the most is 1.3 KB. Keys over 384 bytes, the prefix and the policy included, are not
	// remembered.
	Remember int
	// Clock tells the time; nil means a [Clock] of the store's own.
	Clock func() halt.Instant
}

// Store is a [halt.Store] over a [Register]. It is safe for concurrent use. See the package's documentation for what it
// promises.
//
// It starts goroutines only while calls are on their way, which end some 100 ms later, and needs no closing. In a bubble of
// testing/synctest let that time pass before the test ends.
type Store struct {
	reg      Register
	several  TransactionRegister // nil: the register isn't one
	ahead    func(key string) time.Duration
	o        Options
	combiner *combine.Combiner[string, struct{}]
	nonces   nonces
	memory   memory
}

// New returns a store over the register. It touches nothing yet.
func New(reg Register, o *Options) (*Store, error) {
	if reg == nil {
		return nil, errors.New("halt/cas: New needs a register")
	}
	s := &Store{reg: reg}
	if o != nil {
		s.o = *o
	}
	if err := s.o.complete(); err != nil {
		return nil, err
	}
	s.several, _ = reg.(TransactionRegister)
	if t, ok := reg.(TimeRegister); ok {
		s.ahead = t.Ahead
	}
	s.nonces.start()
	s.memory.start(s.o.Remember)
	s.combiner = combine.New(combine.Options{Timeout: s.o.Timeout, MaxBatch: mostCalls, InFlight: 1},
		func() combine.Sender[string, struct{}] { return newSender(s) })
	return s, nil
}

// complete fills in the defaults, and returns an error that names all that is wrong.
func (o *Options) complete() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf("halt/cas: "+format, args...)) }
	if o.Name == "" {
		o.Name = defaultName
	}
	if o.Prefix == "" {
		o.Prefix = defaultPrefix
	}
	if o.Timeout < 0 {
		wrong("Options.Timeout must be 0 (%v) or more", defaultTimeout)
	} else if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Skew < 0 || o.Skew > mostSkew {
		wrong("Options.Skew must be 0 (%v) to %v", defaultSkew, mostSkew)
	} else if o.Skew == 0 {
		o.Skew = defaultSkew
	}
	if o.Remember < 0 {
		wrong("Options.Remember must be 0 (%d) or more", defaultRemember)
	} else if o.Remember == 0 {
		o.Remember = defaultRemember
	}
	if o.Clock == nil {
		o.Clock = NewClock().Now
	}
	return errors.Join(errs...)
}

// Name returns [Options].Name, for telemetry.
func (s *Store) Name() string { return s.o.Name }

// together is the queue of the calls of several charges. No storage key is empty.
const together = ""

// Take decides the charges of cs as one call: in one step if the register is a [TransactionRegister], else as halt.TakeEach
// does.
func (s *Store) Take(ctx context.Context, cs []halt.Charge, ds []halt.Decision) error {
	switch {
	case len(cs) == 0:
		return nil
	case len(cs) == 1:
		return s.combiner.Take(ctx, halt.StorageKey(s.o.Prefix, cs[0]), cs, ds, struct{}{})
	case s.several == nil:
		return combine.TakeEach(ctx, s.o.Timeout, cs, ds, s.Take)
	}
	return s.combiner.Take(ctx, together, cs, ds, struct{}{})
}

// now returns the time by which what is under the key is decided.
func (s *Store) now(key string) halt.Instant {
	now := s.o.Clock()
	if s.ahead != nil {
		now += halt.Instant(s.ahead(key) / time.Microsecond)
	}
	return now
}
