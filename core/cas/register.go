package cas

import (
	"context"
	"errors"
	"time"
)

// Register is a database that can compare and swap. All methods may be called concurrently; they must heed ctx's end (no caller
// waits for one that is late, but the next calls on its key do), and keep none of the slices that they are given. What they
// return must stay as it is; the store does not write into it. A panic of theirs becomes an error.
//
// Its errors reach the caller as the cause of a halt.StoreError, unless they are of one of halt's kinds already. They must
// not tell the key.
type Register interface {
	// Load reads the entry of key as it is now: at least as new as any swap that was acknowledged before. Without one it
	// returns the zero Entry.
	Load(ctx context.Context, key string) (Entry, error)
	// CompareAndSwap replaces the entry of key by value, to be kept for at least life, if the entry is still old: the zero
	// Entry stands for none. If value is nil the entry is to be removed, and life has no meaning.
	//
	// If it did, it returns Swapped, with the version of the new entry if there are versions. Otherwise it returns the entry
	// that it found in the way, if the database tells (Found), so that no Load is needed. After an error it is unknown
	// whether it swapped, unless that is NotDone's. It may decline, neither Swapped nor Found, although the entry is old: that
	// costs another try.
	//
	// No two swaps of a key have the same value, so one that is sent twice swaps at most once. But if an earlier sending's
	// outcome is unknown, then that a later one did not swap tells nothing: a register that sends again by itself, or whose
	// driver does, returns an error in this case.
	CompareAndSwap(ctx context.Context, key string, old Entry, value []byte, life time.Duration) (Result, error)
}

// Entry is what a register holds under a key.
type Entry struct {
	// Value is nil if there is nothing. What is there and has no value, since it is not this package's, has an empty one.
	Value []byte
	// Version and Epoch, where the database compares versions rather than values, are the register's own: this package only
	// hands them back.
	Version, Epoch uint64
}

// Result is what became of a CompareAndSwap.
type Result struct {
	Swapped bool
	Found   bool  // Entry is what is there now
	Entry   Entry // after a swap only its Version and Epoch have to be set
}

// Swap is one of several swaps, that happen all or not at all.
type Swap struct {
	Key string
	Old Entry
	// Value is what to replace Old by. If it equals Old's value, or both are nil, nothing is to be written: only that the
	// entry is still Old is to be checked. It is nil in this case only: nothing is removed together with others.
	Value []byte
	Life  time.Duration
}

// TransactionRegister is a Register that can swap several entries in one step. Without it a call of several charges is
// decided by halt.TakeEach.
//
// It compares values: SwapAll returns no versions, so what it wrote is later handed back without.
type TransactionRegister interface {
	Register
	// SwapAll carries out all swaps, or none, and tells which. No two have the same key; there are at most MostSwaps, unless
	// a single call has more. Errors are as CompareAndSwap's.
	SwapAll(ctx context.Context, swaps []Swap) (swapped bool, err error)
}

// MostSwaps is how many swaps of several calls are put into one SwapAll.
const MostSwaps = 100

// TimeRegister is a Register that knows how far the clock of the server that has the key is ahead of [Options].Clock, as an
// [Offset] estimates it. The store then decides by the server's clock, as well as it is known. Ahead must not panic.
type TimeRegister interface {
	Register
	Ahead(key string) time.Duration
}

// NotDone makes of an error of CompareAndSwap or SwapAll one that tells that nothing was written, nor will be: the server
// refused it, being full or asked too often. It is then not sent again, and reaches the caller as it is.
func NotDone(err error) error { return &notDoneError{err} }

type notDoneError struct{ cause error }

func (e *notDoneError) Error() string { return e.cause.Error() }

func (e *notDoneError) Unwrap() error { return e.cause }

// isNotDone tells whether err is NotDone's.
func isNotDone(err error) bool {
	var e *notDoneError
	return errors.As(err, &e)
}
