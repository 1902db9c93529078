package memory

import (
	"context"
	"sync"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
)

// hands are those of a fake clock.
type hands struct {
	mono time.Duration
	wall int64
}

func (h *hands) pass(d time.Duration) {
	h.mono += d
	h.wall += int64(d / time.Microsecond)
}

func fakeClock(h *hands) *clock {
	c := &clock{fake: func() (time.Duration, int64) { return h.mono, h.wall }}
	c.start()
	return c
}

const epoch = int64(1_700_000_000_000_000)

func TestClockFollowsTheWallForwardOnly(t *testing.T) {
	h := &hands{mono: 5 * time.Hour, wall: epoch}
	c := fakeClock(h)
	expect := func(what string, want int64) {
		t.Helper()
		if got := c.now(); got != want {
			t.Fatalf("%s: the clock is %d µs off", what, got-want)
		}
	}
	expect("at first", epoch)
	h.pass(90 * time.Minute)
	expect("as time passes", h.wall)

	h.wall += int64(time.Hour / time.Microsecond) // set, or the machine was suspended
	before := h.wall
	h.pass(compareEvery)
	expect("a second after a jump ahead", before+int64(compareEvery/time.Microsecond))

	last := h.wall
	h.wall -= int64(24 * time.Hour / time.Microsecond)
	for range 10 {
		h.pass(compareEvery)
		last += int64(compareEvery / time.Microsecond)
		expect("after a step back", last)
	}
	h.wall += int64(24 * time.Hour / time.Microsecond)
	h.pass(compareEvery)
	expect("once the wall clock is right again", h.wall)
}

// A wall clock that is ahead by less than the slack changes nothing, however often: else each look could add a little.
func TestClockIgnoresSlack(t *testing.T) {
	h := &hands{wall: epoch}
	c := fakeClock(h)
	for i := range 1000 {
		h.wall = epoch + int64(h.mono/time.Microsecond) + int64(i)%slack
		if got := c.now(); got != epoch+int64(h.mono/time.Microsecond) {
			t.Fatalf("look %d: moved by %d µs", i, got-epoch-int64(h.mono/time.Microsecond))
		}
		h.mono += compareEvery
	}
}

// The wall clock is looked at once a second, by whoever comes first.
func TestClockLooksSeldom(t *testing.T) {
	looks, mono := 0, time.Duration(0)
	c := &clock{}
	c.fake = func() (time.Duration, int64) { looks++; return mono, epoch + int64(mono/time.Microsecond) }
	c.start()
	looks = 0
	for range 1000 {
		c.now()
		mono += 10 * time.Millisecond
	}
	if looks > 1000+10 {
		t.Errorf("the wall clock was read %d times in ten seconds", looks-1000)
	}
}

func TestClockNeverStepsBack(t *testing.T) {
	var c clock
	c.start()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			last := int64(0)
			for range 20_000 {
				now := c.now()
				if now < last {
					t.Errorf("%d µs back", last-now)
					return
				}
				last = now
				if now%50 == 0 {
					c.compare.Store(0) // a look is due at once
				}
			}
		})
	}
	wg.Wait()
	if d := time.Now().UnixMicro() - c.now(); d < -int64(time.Second/time.Microsecond) || d > int64(time.Second/time.Microsecond) {
		t.Errorf("off by %d µs", d)
	}
}

// storeAt is a store of one shard on a fake clock.
func storeAt(h *hands) *Store {
	s := New(&Options{MaxKeys: 100})
	s.clock.fake = func() (time.Duration, int64) { return h.mono, h.wall }
	s.clock.start()
	return s
}

func allowed(t *testing.T, s *Store, p halt.Policy, key string) bool {
	t.Helper()
	d, err := storetest.TakeOne(context.Background(), s, p.Charge(key, 1))
	if err != nil {
		t.Fatal(err)
	}
	return d.Allowed
}

// A wall clock that is set back admits nothing twice; one that is set ahead ends windows within a second.
func TestStoreThroughClockSteps(t *testing.T) {
	const day = int64(24 * time.Hour / time.Microsecond)
	h := &hands{mono: time.Hour, wall: epoch}
	s := storeAt(h)
	p := halt.Policy{Name: "p", Limit: 1, Algorithm: halt.FixedWindow, Period: halt.Period{Unit: halt.Day}}
	for _, step := range []struct {
		wall int64
		want bool
	}{{0, true}, {0, false}, {-day, false}, {day, false}, {2 * day, true}, {0, false}, {-2 * day, false}} {
		h.wall += step.wall
		h.pass(compareEvery)
		if got := allowed(t, s, p, "key"); got != step.want {
			t.Fatalf("%v after the wall clock stepped by %d µs", got, step.wall)
		}
	}
}

// A caller that read the clock, and then waited for its lock while others went on, doesn't go back to before a reset that made
// the store forget: its key's window is over.
func TestLateReadingOfTheClock(t *testing.T) {
	h := &hands{wall: epoch - epoch%int64(time.Minute/time.Microsecond)}
	s := storeAt(h)
	p := halt.Policy{Name: "p", Limit: 1, Algorithm: halt.FixedWindow, Window: time.Second}
	allowed(t, s, p, "key")
	h.pass(time.Second)
	allowed(t, s, p, "other") // removes what is expired: key
	if s.Len() != 1 {
		t.Fatalf("Len is %d", s.Len())
	}
	h.mono -= time.Millisecond
	cs := []halt.Charge{p.Charge("key", 1), p.Charge("third", 1)}
	for n := len(cs); n > 0; n-- {
		ds := make([]halt.Decision, n)
		err := s.Take(context.Background(), cs[:n], ds)
		if want := halt.Instant(h.wall); err != nil || ds[0].At != want {
			t.Errorf("of %d charges, decided %d µs before what was forgotten (%v)", n, want-ds[0].At, err)
		}
	}
}
