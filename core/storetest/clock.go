package storetest

import (
	"sync/atomic"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// Clock is a clock that stands still until it is set, in whole microseconds. It is safe for concurrent use. The zero
// Clock stands at the Unix epoch; tests of limits should rather start at a time of today.
type Clock struct{ now atomic.Int64 }

// NewClock returns a clock that shows t.
func NewClock(t time.Time) *Clock {
	c := new(Clock)
	c.Set(halt.InstantOf(t))
	return c
}

// Now returns what the clock shows. It is what [NewModel] takes.
func (c *Clock) Now() halt.Instant { return halt.Instant(c.now.Load()) }

// Set sets the clock, forward or back.
func (c *Clock) Set(at halt.Instant) { c.now.Store(int64(at)) }

// Advance moves the clock by d, back if d is negative, and returns what it then shows. What of d is less than a
// microsecond is lost.
func (c *Clock) Advance(d time.Duration) halt.Instant {
	return halt.Instant(c.now.Add(d.Microseconds()))
}
