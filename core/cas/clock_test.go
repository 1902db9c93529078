package cas

import (
	"math/rand/v2"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// A clock passes with the monotonic one, follows the system's forward and never back.
func TestClock(t *testing.T) {
	var mono time.Duration
	wall := start.UnixNano()
	c := &Clock{read: func() (time.Duration, int64) { return mono, wall }}
	c.start()
	for i, step := range []struct {
		mono, wall time.Duration // by which they move
		want       time.Duration // by which the clock does
	}{
		{time.Millisecond, time.Millisecond, time.Millisecond},
		{time.Second, time.Second, time.Second},
		{time.Millisecond, 2 * time.Millisecond, time.Millisecond},  // too little to follow
		{time.Millisecond, time.Hour, time.Hour + time.Millisecond}, // suspended
		{time.Second, -time.Hour, time.Second},                      // set back
		{2 * time.Second, time.Hour, 2 * time.Second},               // and not as far forward again
		{2 * time.Second, time.Minute, 57 * time.Second},            // further
	} {
		before := c.Now()
		mono, wall = mono+step.mono, wall+int64(step.wall)
		if got := time.Duration(c.Now()-before) * time.Microsecond; got != step.want {
			t.Errorf("step %d: the clock moved by %v, not %v", i, got, step.want)
		}
	}
	if got := time.Duration(halt.InstantOf(time.Now())-NewClock().Now()) * time.Microsecond; got > time.Minute || got < -time.Minute {
		t.Errorf("a new clock is off by %v", got)
	}
}

// An offset is within what its observations leave possible, and 0 if that is.
func TestOffset(t *testing.T) {
	const second = halt.Instant(1_000_000)
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		truth := halt.Instant(rng.Int64N(20e6) - 10e6)
		if seed%4 == 0 {
			truth = 0
		}
		var o Offset
		now := halt.InstantOf(start)
		for n := range 50 {
			sent := now
			now += halt.Instant(rng.Int64N(100_000))
			shown := now + truth
			shown -= shown % second
			now += halt.Instant(rng.Int64N(100_000))
			o.Observe(sent, now, shown, time.Second)
			off := halt.Instant(o.Ahead()/time.Microsecond) - truth
			if off > second+200_000 || off < -second-200_000 {
				t.Fatalf("seed %d: after %d observations it is off by %d µs", seed, n+1, off)
			}
			if truth == 0 && o.Ahead() != 0 {
				t.Fatalf("seed %d: an offset of %v between clocks that agree", seed, o.Ahead())
			}
			now += halt.Instant(rng.Int64N(3_000_000))
		}
		if off := halt.Instant(o.Ahead()/time.Microsecond) - truth; off > second/2 || off < -second/2 {
			t.Errorf("seed %d: after 50 observations it is still off by %d µs", seed, off)
		}
		// The server's clock is set: what was observed before counts no more.
		o.Observe(now, now, now+60*second, time.Second)
		if a := o.Ahead(); a < 60*time.Second || a > 61*time.Second {
			t.Errorf("after a jump of a minute the offset is %v", a)
		}
	}
}

// ahead is a register whose server's clock is ahead.
type ahead struct {
	*register
	by time.Duration
}

func (r ahead) Ahead(string) time.Duration { return r.by }

// The server's clock decides, if it is known.
func TestAhead(t *testing.T) {
	_, r, clock := made(t)
	for _, by := range []time.Duration{0, time.Hour, -time.Hour} {
		s := open(t, ahead{r, by}, Options{Clock: clock.Now})
		d := take(t, s, halt.Policy{Name: "p", Limit: 3, Window: time.Second}.Charge(by.String(), 1))
		if d.At != clock.Now()+halt.Instant(by/time.Microsecond) {
			t.Errorf("decided at %d, not %v after %d", d.At, by, clock.Now())
		}
	}
}
