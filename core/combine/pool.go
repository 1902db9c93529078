package combine

import (
	"sync"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// pool keeps calls for the next use.
type pool[T any] struct{ calls sync.Pool }

// call returns a call of the charges.
func (p *pool[T]) call(cs []halt.Charge, of T) *Call[T] {
	w, ok := p.calls.Get().(*Call[T])
	if !ok {
		w = &Call[T]{pool: p, done: make(chan struct{}, 1), timer: time.NewTimer(time.Hour)}
		w.timer.Stop()
	}
	w.charges = append(w.charges[:0], cs...)
	w.decisions, w.size = w.decisions[:0], 0
	for i := range cs {
		w.decisions = append(w.decisions, halt.Decision{})
		w.size += len(cs[i].Key)
	}
	w.Charges, w.Decisions, w.Of = w.charges, w.decisions, of
	return w
}

// release returns the call to the pool, without what it points to.
func (w *Call[T]) release() {
	const most = 64 // charges of which a call keeps the memory
	w.timer.Stop()
	clear(w.Charges)
	var none T
	w.Charges, w.Decisions, w.Of, w.err = nil, nil, none, nil
	if cap(w.charges) > most {
		w.charges, w.decisions = nil, nil
	}
	w.state.Store(waiting)
	w.pool.calls.Put(w)
}
