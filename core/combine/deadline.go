package combine

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
	timer *time.Timer // nil before the first start
}

func newDeadline() *deadline { return &deadline{done: make(chan struct{})} }

func (d *deadline) start(timeout time.Duration) {
	d.at.Store(time.Now().Add(timeout).UnixNano())
	if d.timer != nil {
		d.timer.Reset(timeout)
		return
	}
	d.timer = time.AfterFunc(timeout, func() {
		d.ended.Store(true)
		close(d.done)
	})
}

// stop tells whether the context can start again: it has not ended.
func (d *deadline) stop() bool { return d.timer.Stop() }

func (d *deadline) Deadline() (time.Time, bool) { return time.Unix(0, d.at.Load()), true }

func (d *deadline) Done() <-chan struct{} { return d.done }

func (d *deadline) Err() error {
	if d.ended.Load() {
		return context.DeadlineExceeded
	}
	return nil
}

func (d *deadline) Value(any) any { return nil }
