package combine

import (
	"sync"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// pool keeps calls for the next use.
type pool[T any] struct{ calls sync.Pool }

func (p *pool[T]) get() *Call[T] {
	if w, ok := p.calls.Get().(*Call[T]); ok {
		return w
	}
	w := &Call[T]{pool: p, done: make(chan struct{}, 1), timer: time.NewTimer(time.Hour)}
	w.timer.Stop()
	return w
}

// single returns a call of one charge.
func (p *pool[T]) single(c *halt.Charge, of T) *Call[T] {
	w := p.get()
	w.one[0], w.oneDecision[0], w.Of = *c, halt.Decision{}, of
	w.Charges, w.Decisions, w.size = w.one[:], w.oneDecision[:], len(c.Key)
	return w
}

// several returns a call of the charges.
func (p *pool[T]) several(cs []halt.Charge, of T) *Call[T] {
	w := p.get()
	w.many = append(w.many[:0], cs...)
	w.decided, w.size = w.decided[:0], 0
	for i := range cs {
		w.decided = append(w.decided, halt.Decision{})
		w.size += len(cs[i].Key)
	}
	w.Charges, w.Decisions, w.Of = w.many, w.decided, of
	return w
}

// release returns the call to the pool, without what it points to.
func (w *Call[T]) release() {
	const most = 64 // charges of which a call keeps the memory
	w.timer.Stop()
	clear(w.Charges)
	var none T
	w.Charges, w.Decisions, w.Of, w.err = nil, nil, none, nil
	if cap(w.many) > most {
		w.many, w.decided = nil, nil
	}
	w.state.Store(waiting)
	w.pool.calls.Put(w)
}
