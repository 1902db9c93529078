package combine

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// deadline is a context that ends at an instant, as context.WithTimeout's, but one that serves one batch after the other:
// making a context anew for each would be a third of a call's allocations. Nor is its timer set for each: it runs on, and
// looks, when it fires, whether the batch of the moment has more time.
type deadline struct {
	timeout time.Duration
	base    time.Time    // at is after it, so that a step of the wall clock doesn't matter
	at      atomic.Int64 // in ns
	ended   atomic.Bool
	done    chan struct{}

	mu      sync.Mutex
	flying  bool // a batch is on its way
	running bool // the timer
	timer   *time.Timer
}

func newDeadline(timeout time.Duration) *deadline {
	return &deadline{timeout: timeout, base: time.Now(), done: make(chan struct{})}
}

// start gives a batch its time.
func (d *deadline) start() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at.Store(int64(time.Since(d.base) + d.timeout))
	d.flying = true
	switch {
	case d.running: // and fires before this batch's time is up: all have the same
		return
	case d.timer == nil:
		d.timer = time.AfterFunc(d.timeout, d.fire)
	default:
		d.timer.Reset(d.timeout)
	}
	d.running = true
}

// stop ends the batch, and tells whether the context can start again: it has not ended.
func (d *deadline) stop() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.flying = false
	return !d.ended.Load()
}

func (d *deadline) fire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.flying {
		d.running = false
		return
	}
	if left := time.Duration(d.at.Load()) - time.Since(d.base); left > 0 {
		d.timer.Reset(left)
		return
	}
	d.ended.Store(true)
	close(d.done)
}

func (d *deadline) Deadline() (time.Time, bool) { return d.base.Add(time.Duration(d.at.Load())), true }

func (d *deadline) Done() <-chan struct{} { return d.done }

func (d *deadline) Err() error {
	if d.ended.Load() {
		return context.DeadlineExceeded
	}
	return nil
}

func (d *deadline) Value(any) any { return nil }
