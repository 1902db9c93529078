package stats

import (
	"maps"
	"slices"
	"sync"
	"time"

	halt "github.com/halt-dev/halt/core"
)

const (
	maxOutages = 20
	// quiet is how long no decision fails open before a period of it is over.
	quiet = 10 * time.Second
	// canceled is the ErrorKind of a call whose caller left.
	canceled = "canceled"
)

// failures remembers what failed. It has one lock, which nobody takes as long as the store works.
type failures struct {
	mu      sync.Mutex
	kinds   map[string]int64
	outages []FailingOpen // the newest last
}

// failed counts a call that the store could not decide.
func (c *Collector) failed(s *stripe, e *halt.Event) {
	kind := halt.ErrorKind(e.Err)
	c.failures.note(kind, e.FailedOpen)
	if kind == canceled {
		return // the caller has gone, the store has not failed
	}
	s.events++
	o := failed
	if e.FailedOpen {
		o |= failedOpen
	}
	for i := range e.Charges {
		c.policy(s, &e.Charges[i].Policy).errors++
	}
	s.count(o)
	if e.Route != "" {
		c.route(s, e.Route).count(o)
	}
	if e.Elapsed > 0 {
		s.timed(e)
	}
}

func (f *failures) note(kind string, open bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.kinds == nil {
		f.kinds = map[string]int64{}
	}
	f.kinds[kind]++
	if !open {
		return
	}
	now := time.Now()
	if n := len(f.outages); n > 0 && now.Sub(f.outages[n-1].To) < quiet {
		f.outages[n-1].To = now
		f.outages[n-1].Decisions++
		return
	}
	if len(f.outages) == maxOutages {
		f.outages = slices.Delete(f.outages, 0, 1)
	}
	f.outages = append(f.outages, FailingOpen{From: now, To: now, Decisions: 1})
}

// snapshot returns copies, the newest period first.
func (f *failures) snapshot(now time.Time) (map[string]int64, []FailingOpen) {
	f.mu.Lock()
	defer f.mu.Unlock()
	outages := append([]FailingOpen{}, f.outages...)
	slices.Reverse(outages)
	if len(outages) > 0 {
		outages[0].Ongoing = now.Sub(outages[0].To) < quiet
	}
	kinds := make(map[string]int64, len(f.kinds))
	maps.Copy(kinds, f.kinds)
	return kinds, outages
}
