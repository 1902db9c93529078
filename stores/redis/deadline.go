package haltredis

import (
	"context"
	"sync/atomic"
	"time"
)

// deadline is a context that ends at an instant, as context.WithDeadline's, but one that serves one batch after the other:
// making a context anew for each would be a third of a call's allocations.
type deadline struct {
	at    atomic.Int64 // ns since the Unix epoch
	ended atomic.Bool
	done  chan struct{}
	timer *time.Timer
}

// start sets the limit of the batch that is about to go.
func (f *flight) start(timeout time.Duration) {
	at := time.Now().Add(timeout).UnixNano()
	if d := f.limit; d != nil {
		d.at.Store(at)
		d.timer.Reset(timeout)
		return
	}
	d := &deadline{done: make(chan struct{})}
	d.at.Store(at)
	d.timer = time.AfterFunc(timeout, func() {
		d.ended.Store(true)
		close(d.done)
	})
	f.limit = d
}

// stop ends the batch. A context that has ended is not used again.
func (f *flight) stop() {
	if !f.limit.timer.Stop() {
		f.limit = nil
	}
}

func (d *deadline) Deadline() (time.Time, bool) { return time.Unix(0, d.at.Load()), true }

func (d *deadline) Done() <-chan struct{} { return d.done }

func (d *deadline) Err() error {
	if d.ended.Load() {
		return context.DeadlineExceeded
	}
	return nil
}

func (d *deadline) Value(any) any { return nil }
