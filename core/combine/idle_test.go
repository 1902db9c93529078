package combine

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// idle returns how many goroutines wait for a batch to carry.
func idle(c *Combiner[string, int]) int {
	c.fleet.mu.Lock()
	defer c.fleet.mu.Unlock()
	return len(c.fleet.idle)
}

// An idle Combiner has no queue and no goroutine, whatever it was through. Those of a burst go home while one caller goes on.
// The bubble fails if a goroutine stays behind.
func TestIdle(t *testing.T) {
	//nolint:forbidigo // the bubble's clock
	synctest.Test(t, func(t *testing.T) {
		c, db := newCombiner(Options{Timeout: time.Minute, MaxBatch: 3, InFlight: 2}, 10*time.Millisecond)
		for range 2 {
			var wg sync.WaitGroup
			for i := range 1000 {
				wg.Go(ok(t, c, fmt.Sprint(i%500), fmt.Sprint(i), i))
			}
			wg.Wait()
			synctest.Wait()
			if n := idle(c); n < 500 {
				t.Errorf("%d goroutines have carried 500 queues at once", n)
			}
			if n := len(c.queues); n > 0 {
				t.Errorf("%d queues are there while nobody waits", n)
			}
			for i := range 20 {
				ok(t, c, "q", fmt.Sprint(i), i)()
				synctest.Wait() // its goroutine is idle again, or the next call would have another
			}
			if n := idle(c); n > 1 {
				t.Errorf("%d goroutines serve one caller", n)
			}
			time.Sleep(2 * restTime)
			synctest.Wait()
			if n := idle(c); n > 0 {
				t.Errorf("%d goroutines are left", n)
			}
		}
		if len(c.spare) > mostSpare {
			t.Errorf("%d queues are kept", len(c.spare))
		}
		db.took = 0
		for i := range 1000 { // goroutines come and go, and none is lost
			ok(t, c, "q", fmt.Sprint(i), i)()
			time.Sleep(restTime / 3 * time.Duration(i%10))
		}
		time.Sleep(time.Minute)
	})
}

// However long a backlog lasts, the queue has room for no more than about those who wait.
func TestBacklog(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, _ := newCombiner(Options{Timeout: time.Minute, MaxBatch: 2, InFlight: 1}, time.Millisecond)
		var wg sync.WaitGroup
		for i := range 64 {
			wg.Go(func() {
				for range 100 {
					ok(t, c, "q", "k", i)()
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		for _, q := range c.spare {
			if cap(q.calls) > 256 {
				t.Errorf("a queue of at most 64 has room for %d", cap(q.calls))
			}
		}
	})
}
