package combine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// Options are a [Combiner]'s. All of them are required.
type Options struct {
	// Timeout is how long a call may take, waiting for its turn included, and a batch from when it is sent. More than 0.
	Timeout time.Duration
	// MaxBatch is how many calls a batch has at most, 1 or more. It has no more than 4000 charges and 1 MiB of keys either,
	// unless one call alone has.
	MaxBatch int
	// InFlight is how many batches of one queue may be on their way at once. 0 turns batching off: each call is sent by
	// itself, at once.
	InFlight int
}

// What a batch has at most, beside MaxBatch: one of many long keys would hold up everybody.
const (
	mostCharges = 4000
	mostBytes   = 1 << 20
)

// Sender carries batches to the database, one after the other: a Combiner has one for each batch that is on its way at a
// time, so a Sender may keep its memory from one batch to the next.
type Sender[K comparable, T any] interface {
	// Send decides the calls of the queue, of which there is at least one. Each must have been answered when it returns,
	// and none may be touched afterwards. ctx ends when the batch's time is up, and not before because a caller left. It
	// must not panic.
	Send(ctx context.Context, queue K, calls []*Call[T])
}

// Combiner gathers calls into batches. Calls of different queues, which K names, never share a batch and never wait for
// each other. A queue costs nothing while no call is in it. Of T each call carries one along: see [Call].
//
// It is safe for concurrent use. It starts goroutines, which end within about 100 ms of the last call, and needs no closing.
type Combiner[K comparable, T any] struct {
	o         Options
	newSender func() Sender[K, T]
	pool      pool[T]
	fleet     fleet[K, T]

	mu     sync.Mutex
	queues map[K]*queue[K, T]
	spare  []*queue[K, T]
}

// New returns a Combiner whose batches go out by senders that newSender returns. It panics if an option is out of its range:
// a store has checked its own before.
func New[K comparable, T any](o Options, newSender func() Sender[K, T]) *Combiner[K, T] {
	if o.Timeout <= 0 || o.InFlight < 0 || o.InFlight > 0 && o.MaxBatch < 1 {
		panic(fmt.Sprintf("halt/combine: options out of range: %+v", o)) //nolint:forbidigo // a store that gets here is wrong
	}
	return &Combiner[K, T]{o: o, newSender: newSender, queues: make(map[K]*queue[K, T])}
}

// Take decides the charges of cs as one call in a batch of the queue, and fills ds. It returns when the batch is back, when ctx
// ends, or after the Timeout, with an error that matches halt.ErrDeadline: then it is unknown whether the charges were spent.
func (c *Combiner[K, T]) Take(ctx context.Context, queue K, cs []halt.Charge, ds []halt.Decision, of T) error {
	if err := ctx.Err(); err != nil {
		return Ended(err)
	}
	w := c.pool.call(cs, of)
	if err := c.await(ctx, queue, w); err != nil {
		return err
	}
	copy(ds, w.Decisions)
	w.release()
	return nil
}

// await sends the call and waits for its decisions. After an error the call is no longer the caller's.
func (c *Combiner[K, T]) await(ctx context.Context, queue K, w *Call[T]) (err error) {
	w.timer.Reset(c.o.Timeout)
	c.enqueue(queue, w)
	select {
	case <-w.done:
	case <-ctx.Done():
		err = ctx.Err()
	case <-w.timer.C:
		err = context.DeadlineExceeded
	}
	if err != nil {
		if may, unsent := w.leave(); may {
			if unsent && c.o.InFlight > 0 {
				c.abandoned(queue)
			}
			return Ended(err)
		}
		<-w.done // the answer came at the same moment
	}
	if err = w.err; err != nil {
		w.release()
	}
	return err
}

// Ended is the error of a call whose context has ended, by that context's error: one that matches halt.ErrDeadline if its time is
// up, and err itself if its caller left.
func Ended(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return &halt.StoreError{Kind: halt.ErrDeadline, Cause: err}
	}
	return err
}
