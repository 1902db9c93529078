package combine

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// Pauses grow, and end with the context; a server's clock is this process's until it is known better.
func TestServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for attempt, want := range []time.Duration{250 * time.Microsecond, time.Millisecond, 4 * time.Millisecond} {
			begun := time.Now()
			if err := Pause(t.Context(), attempt); err != nil || time.Since(begun) != want {
				t.Errorf("before attempt %d: %v, %v", attempt, time.Since(begun), err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := Pause(ctx, 9); err == nil {
			t.Error("a pause outlives its context")
		}
		var c ServerClock
		if got := c.Now(); got != halt.InstantOf(time.Now()) {
			t.Errorf("it shows %v", got)
		}
		c.Learn(halt.InstantOf(time.Now().Add(-time.Hour)))
		time.Sleep(time.Minute) //nolint:forbidigo // the bubble's clock
		if got := c.Now(); got != halt.InstantOf(time.Now().Add(-time.Hour)) {
			t.Errorf("an hour behind it shows %v", got)
		}
	})
}
