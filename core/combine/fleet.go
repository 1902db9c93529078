package combine

import (
	"context"
	"sync"
	"time"
)

// idleTime is how long a goroutine stays that has no batch to carry: starting one and growing its stack costs a caller who is
// alone more than anything else here.
const idleTime = 100 * time.Millisecond

// fleet are the goroutines that carry batches, and what they need for it.
type fleet[K comparable, T any] struct {
	idle    chan task[K, T] // received from by those that have nothing to carry
	flights sync.Pool
}

// task is a queue to be emptied, or one call to be sent alone.
type task[K comparable, T any] struct {
	key   K
	queue *queue[K, T]
	alone *Call[T]
}

// flight is what a goroutine needs to carry batches.
type flight[K comparable, T any] struct {
	sender Sender[K, T]
	calls  []*Call[T]
	limit  *deadline // of the batch that is on its way
}

// dispatch gives the task to an idle goroutine, or to a new one.
func (c *Combiner[K, T]) dispatch(t task[K, T]) {
	select {
	case c.fleet.idle <- t:
	default:
		go c.fly(t)
	}
}

// fly carries out tasks until there has been none for a while.
func (c *Combiner[K, T]) fly(t task[K, T]) {
	f, ok := c.fleet.flights.Get().(*flight[K, T])
	if !ok {
		f = &flight[K, T]{sender: c.newSender()}
	}
	defer c.fleet.flights.Put(f)
	timer := time.NewTimer(idleTime)
	defer timer.Stop()
	for {
		c.carry(f, t)
		t = task[K, T]{} // or an idle goroutine would hold on to it
		timer.Reset(idleTime)
		select {
		case t = <-c.fleet.idle:
		case <-timer.C:
			return
		}
	}
}

// carry sends the task's calls, and those that join its queue meanwhile.
func (c *Combiner[K, T]) carry(f *flight[K, T], t task[K, T]) {
	if t.alone != nil {
		if t.alone.board() {
			f.calls = append(f.calls, t.alone)
			f.send(t.key, c.o.Timeout)
		}
		return
	}
	for {
		f.calls = c.next(t.queue, f.calls)
		if len(f.calls) == 0 {
			return
		}
		f.send(t.key, c.o.Timeout)
	}
}

// send sends f.calls, and forgets them.
func (f *flight[K, T]) send(key K, timeout time.Duration) {
	ctx := f.start(timeout)
	f.sender.Send(ctx, key, f.calls)
	f.stop()
	clear(f.calls)
	f.calls = f.calls[:0]
}

// start returns the context of the batch that is about to go.
func (f *flight[K, T]) start(timeout time.Duration) context.Context {
	if f.limit == nil {
		f.limit = newDeadline()
	}
	f.limit.start(timeout)
	return f.limit
}

// stop ends the batch. A context that has ended is not used again.
func (f *flight[K, T]) stop() {
	if !f.limit.stop() {
		f.limit = nil
	}
}
