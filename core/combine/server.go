package combine

import (
	"context"
	"sync/atomic"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// Pause waits before a batch is sent again: 0.25 ms before the attempt of number 0, and each time four times as long. It
// returns early, with ctx's error, if ctx ends.
func Pause(ctx context.Context, attempt int) error {
	t := time.NewTimer(time.Millisecond << (2 * attempt) / 4)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// ServerClock is about what a server's clock shows, as of its last answer. It only serves to send the right edges of calendar
// periods at the first try, where it is the server's own clock that decides. The zero value goes by this process's clock. It
// is safe for concurrent use.
type ServerClock struct{ ahead atomic.Int64 } // in µs

// Learn tells what the server's clock showed just now.
func (c *ServerClock) Learn(now halt.Instant) { c.ahead.Store(int64(now - halt.InstantOf(time.Now()))) }

// Now returns the time.
func (c *ServerClock) Now() halt.Instant {
	return halt.InstantOf(time.Now()) + halt.Instant(c.ahead.Load())
}
