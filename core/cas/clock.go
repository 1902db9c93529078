package cas

import (
	"sync"
	"sync/atomic"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// slack is how far the wall clock may be ahead before a Clock follows: it keeps the time between the two readings inside one
// time.Now from pushing the clock forward bit by bit.
const slack = time.Millisecond

// Clock tells the time and never steps back. It is the system's clock when it was made plus the monotonic time since; it
// follows when the system's clock is ahead of that, having been set, or after the machine was suspended: at once, since a
// process that is woken for each request may not run for long. It is safe for concurrent use.
type Clock struct {
	base   time.Time
	anchor atomic.Int64 // the ns since the epoch that a monotonic time of 0 stands for
	read   func() (mono time.Duration, wall int64)
}

// NewClock returns a clock that shows the system's time.
func NewClock() *Clock {
	c := &Clock{base: time.Now()}
	c.read = func() (time.Duration, int64) {
		t := time.Now()
		return t.Sub(c.base), t.UnixNano()
	}
	c.start()
	return c
}

func (c *Clock) start() {
	mono, wall := c.read()
	c.anchor.Store(wall - int64(mono))
}

// Now returns the time.
func (c *Clock) Now() halt.Instant {
	mono, wall := c.read()
	anchor := c.anchor.Load()
	for now := wall - int64(mono); now > anchor+int64(slack); anchor = c.anchor.Load() {
		c.anchor.CompareAndSwap(anchor, now)
	}
	return halt.Instant((anchor + int64(mono)) / int64(time.Microsecond))
}

// Offset estimates how far a server's clock is ahead of a [Clock], from what the server said its clock shows. It is no more
// than what was observed forces it to be: 0 as long as both may agree. The zero Offset is ready. It is safe for concurrent
// use.
type Offset struct {
	mu        sync.Mutex
	low, high halt.Instant // bounds of the true offset, in µs, as of at
	at        halt.Instant // of the last observation; 0: none yet
	ahead     atomic.Int64 // ns
}

// drift is how much of the time passed two clocks may have drifted apart: 1 in so many, a bad quartz.
const drift = 5000

// Observe tells what the server's clock showed at some moment between the instants sent and received of the [Clock]: shown, or
// up to coarse later since it shows no more digits.
func (o *Offset) Observe(sent, received, shown halt.Instant, coarse time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	low, high := shown-received, shown+halt.Instant(coarse/time.Microsecond)-sent
	if o.at != 0 {
		since := max(received-o.at, 0) / drift
		// Observations that contradict each other mean that a clock was set: only the last one counts.
		if l, h := max(low, o.low-since), min(high, o.high+since); l <= h {
			low, high = l, h
		}
	}
	o.low, o.high, o.at = low, high, received
	o.ahead.Store(int64(min(max(0, low), high)) * int64(time.Microsecond))
}

// Ahead returns how far the server's clock is ahead, or behind if negative: 0 before any observation.
func (o *Offset) Ahead() time.Duration { return time.Duration(o.ahead.Load()) }
