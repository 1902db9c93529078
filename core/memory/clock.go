package memory

import (
	"sync/atomic"
	"time"
)

const (
	// compareEvery is how much monotonic time passes between two looks at the wall clock.
	compareEvery = time.Second
	// slack, in µs, is how far the wall clock may be ahead before the store follows: it keeps the µs between the two
	// readings inside one time.Now from pushing the clock forward bit by bit.
	slack = 1000
)

// clock tells the time in µs since the Unix epoch. Its value is the wall clock's when it was made plus the monotonic time
// since, so it never steps back and costs one reading of the monotonic clock. The wall clock gets ahead of that when it is
// set, or when the machine was suspended; then the clock follows. It is safe for concurrent use.
type clock struct {
	base    time.Time
	anchor  atomic.Int64                            // the µs since the epoch that a monotonic time of 0 stands for
	compare atomic.Int64                            // the monotonic time, in ns, of the next look at the wall clock
	fake    func() (mono time.Duration, wall int64) // for tests; wall in µs since the epoch
}

func (c *clock) start() {
	c.base = time.Now()
	mono, wall := c.read()
	c.anchor.Store(wall - int64(mono/time.Microsecond))
	c.compare.Store(int64(mono + compareEvery))
}

func (c *clock) now() int64 {
	var mono time.Duration
	if c.fake == nil {
		mono = time.Since(c.base) // reads the monotonic clock only, at half the cost of time.Now
	} else {
		mono, _ = c.fake()
	}
	if int64(mono) >= c.compare.Load() {
		c.follow(mono)
	}
	return c.anchor.Load() + int64(mono/time.Microsecond)
}

// follow moves the anchor forward if the wall clock is ahead. Of the callers that find a look due, one takes it.
func (c *clock) follow(mono time.Duration) {
	due := c.compare.Load()
	if int64(mono) < due || !c.compare.CompareAndSwap(due, int64(mono+compareEvery)) {
		return
	}
	mono, wall := c.read()
	anchor := wall - int64(mono/time.Microsecond)
	for {
		old := c.anchor.Load()
		if anchor <= old+slack || c.anchor.CompareAndSwap(old, anchor) {
			return
		}
	}
}

// read returns both clocks, as of one moment.
func (c *clock) read() (mono time.Duration, wall int64) {
	if c.fake != nil {
		return c.fake()
	}
	t := time.Now()
	return t.Sub(c.base), t.UnixMicro()
}
