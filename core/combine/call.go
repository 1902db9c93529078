package combine

import (
	"sync/atomic"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// Call is a Take that waits for its batch. T is what a store keeps with each, beside what is here.
type Call[T any] struct {
	// Charges are the call's: copies, since its caller may be gone before the batch is back. They must not be changed.
	Charges []halt.Charge
	// Decisions are to be filled in before Answer(nil). They are as many as Charges, and zero before.
	Decisions []halt.Decision
	// Of is what was passed to Take.
	Of T

	charges   []halt.Charge   // the memory of Charges
	decisions []halt.Decision // and of Decisions

	pool  *pool[T]
	size  int // bytes of keys
	state atomic.Int32
	done  chan struct{} // receives once the decisions or err are there
	timer *time.Timer
	err   error
}

// What a call's state can be. Both its caller and its batch hold it; who is done with it last returns it to the pool.
const (
	waiting  = iota // for its turn
	sent            // part of a batch
	answered        // done has received
	gone            // the caller left; the batch recycles it
)

// Answer gives the caller its Decisions, or the error. It is called exactly once, before Send returns; afterwards the call
// is no longer the sender's.
func (w *Call[T]) Answer(err error) {
	w.err = err
	if w.state.CompareAndSwap(sent, answered) {
		w.done <- struct{}{}
		return
	}
	w.release()
}

// Gone tells whether the caller has left, so that nobody will read the answer. It must be given all the same.
func (w *Call[T]) Gone() bool { return w.state.Load() == gone }

// Repeatable tells whether the call may run twice: it holds neither a Debit nor a Credit. A repeated Take only admits less
// than it could.
func (w *Call[T]) Repeatable() bool {
	for i := range w.Charges {
		if m := w.Charges[i].Mode; m == halt.Debit || m == halt.Credit {
			return false
		}
	}
	return true
}

// waits tells whether the call waits for its turn and its caller for the call.
func (w *Call[T]) waits() bool { return w.state.Load() == waiting }

// board tells whether the call is to be part of a batch. If not, its caller has left before, and nothing of it is spent.
func (w *Call[T]) board() bool {
	if w.state.CompareAndSwap(waiting, sent) {
		return true
	}
	w.release()
	return false
}

// leave tells whether the caller may go without an answer, and whether nothing of the call was sent. From then on the call is
// the batch's.
func (w *Call[T]) leave() (may, unsent bool) {
	if w.state.CompareAndSwap(waiting, gone) {
		return true, true
	}
	return w.state.CompareAndSwap(sent, gone), false
}
