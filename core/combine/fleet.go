package combine

import (
	"context"
	"runtime"
	"sync"
	"time"
)

// restTime is how often those that have had nothing to carry since the last time are sent home. They are not at once, since
// starting a goroutine and growing its stack costs a caller who is alone more than anything else here.
const restTime = 50 * time.Millisecond

// fleet are the goroutines that carry batches, and what they need for it.
type fleet[K comparable, T any] struct {
	flights sync.Pool

	mu      sync.Mutex
	idle    []*flight[K, T] // the last one goes first: its memory is still at hand, and the others can go home
	timer   *time.Timer
	running bool // the timer
	round   int  // of sending home
}

// task is a queue to be emptied, or one call to be sent alone. None of both: go home.
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
	tasks  chan task[K, T]
	since  int // the round in which it became idle
}

// dispatch gives the task to an idle goroutine, or to a new one. It never blocks.
func (c *Combiner[K, T]) dispatch(t task[K, T]) {
	if f := c.fleet.next(); f != nil {
		f.tasks <- t
		return
	}
	go c.fly(t)
}

// fly carries out tasks until there has been none for a while.
func (c *Combiner[K, T]) fly(t task[K, T]) {
	f, ok := c.fleet.flights.Get().(*flight[K, T])
	if !ok {
		f = &flight[K, T]{sender: c.newSender(), tasks: make(chan task[K, T], 1)}
	}
	for t.queue != nil || t.alone != nil {
		c.carry(f, t)
		t = task[K, T]{} // or it would hold on to it
		c.fleet.rest(f)
		t = <-f.tasks
	}
	c.fleet.flights.Put(f)
}

// next takes an idle flight, if there is one.
func (l *fleet[K, T]) next() *flight[K, T] {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.idle) - 1
	if n < 0 {
		return nil
	}
	f := l.idle[n]
	l.idle[n] = nil
	l.idle = l.idle[:n]
	return f
}

// rest makes the flight an idle one.
func (l *fleet[K, T]) rest(f *flight[K, T]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f.since = l.round
	l.idle = append(l.idle, f)
	switch {
	case l.running:
		return
	case l.timer == nil:
		l.timer = time.AfterFunc(restTime, l.home)
	default:
		l.timer.Reset(restTime)
	}
	l.running = true
}

// home sends home those that have been idle since the round before.
func (l *fleet[K, T]) home() {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for n < len(l.idle) && l.idle[n].since < l.round {
		l.idle[n].tasks <- task[K, T]{}
		n++
	}
	left := copy(l.idle, l.idle[n:])
	clear(l.idle[left:])
	l.idle = l.idle[:left]
	l.round++
	if l.running = left > 0; l.running {
		l.timer.Reset(restTime)
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
		several := len(f.calls) > 1
		f.send(t.key, c.o.Timeout)
		if several {
			runtime.Gosched() // whoever was answered may have another call, which is to be in the next batch
		}
	}
}

// send sends f.calls, and forgets them.
func (f *flight[K, T]) send(key K, timeout time.Duration) {
	if f.limit == nil {
		f.limit = newDeadline(timeout)
	}
	f.limit.start()
	f.sender.Send(context.Context(f.limit), key, f.calls)
	if !f.limit.stop() {
		f.limit = nil // a context that has ended is not used again
	}
	clear(f.calls)
	f.calls = f.calls[:0]
}
