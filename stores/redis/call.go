package haltredis

import (
	"sync"
	"sync/atomic"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// call is a Take that waits for its batch. Both the caller and the batch hold it; who is done with it last returns it to
// the pool. It has copies of the charges, since its caller may be gone before the batch is back.
type call struct {
	charges     []halt.Charge   // one or many
	decisions   []halt.Decision // oneDecision or manyDecisions
	one         [1]halt.Charge
	oneDecision [1]halt.Decision
	oneKey      [1]uint16

	many          []halt.Charge
	manyDecisions []halt.Decision
	manyKeys      []uint16

	keys    []uint16 // of each charge: which of the request's keys it draws on
	slot    int      // of all its keys, in a cluster
	resent  bool     // after an error that left it unknown whether it was spent
	clashed bool     // sent again because the store's clock was beyond its periods' edges

	state atomic.Int32
	done  chan struct{} // receives once the decisions or err are there
	timer *time.Timer
	err   error
}

// What a call's state can be.
const (
	waiting  = iota // for its turn
	sent            // part of a batch
	answered        // done has received
	gone            // the caller left; the batch recycles it
)

var callPool = sync.Pool{New: func() any {
	w := &call{done: make(chan struct{}, 1), timer: time.NewTimer(time.Hour)}
	w.timer.Stop()
	return w
}}

func newCall() *call { return callPool.Get().(*call) }

// board tells whether the call is to be part of a batch. If not its caller has left before, and nothing of it is spent.
func (w *call) board() bool {
	if w.state.CompareAndSwap(waiting, sent) {
		return true
	}
	w.release()
	return false
}

// answer hands the outcome to the caller.
func (w *call) answer(err error) {
	w.err = err
	if w.state.CompareAndSwap(sent, answered) {
		w.done <- struct{}{}
		return
	}
	w.release()
}

// leave tells whether the caller may go without an answer. From then on the call is the batch's.
func (w *call) leave() bool {
	return w.state.CompareAndSwap(waiting, gone) || w.state.CompareAndSwap(sent, gone)
}

// expired tells whether the caller has left.
func (w *call) expired() bool { return w.state.Load() == gone }

// repeatable tells whether the call may run twice: a Take that does only admits less than it could.
func (w *call) repeatable() bool {
	for i := range w.charges {
		if m := w.charges[i].Mode; m == halt.Debit || m == halt.Credit {
			return false
		}
	}
	return true
}

// release returns the call to the pool, without what it points to.
func (w *call) release() {
	w.timer.Stop()
	clear(w.charges)
	w.charges, w.decisions, w.keys = nil, nil, nil
	w.many, w.manyDecisions, w.manyKeys = w.many[:0], w.manyDecisions[:0], w.manyKeys[:0]
	w.slot, w.resent, w.clashed, w.err = 0, false, false, nil
	w.state.Store(waiting)
	if cap(w.many) <= 64 {
		callPool.Put(w)
	}
}
