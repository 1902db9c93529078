package stats

import (
	"time"

	halt "github.com/halt-dev/halt/core"
)

const (
	window = 60            // whole seconds, and whole minutes, that are kept beside the current one
	tens   = window/10 + 1 // spans of ten seconds that are kept, the current one included
)

// history is all that was drained from the stripes. The Collector's lock guards it.
type history struct {
	start    time.Time
	second   int64 // number of the current one, since start
	store    string
	total    tally
	routes   []tally       // by number
	policies []policyTotal // by number
	latency  histogram

	// Rings: what belongs to the number n is at n modulo the length.
	seconds [window + 1]tally
	minutes [window + 1]tally
	recent  [tens]histogram
}

// policyTotal is what was drained of a policy.
type policyTotal struct {
	policyCell
	quota  int64
	recent [tens]use
}

// use is what a policy did in ten seconds.
type use struct {
	allowed, refused, shadowRefused, measured int64
	used, peak                                float64
}

func (h *history) init(now time.Time) { h.start = now }

// advance makes now the current second, and forgets what the rings have no room for.
func (h *history) advance(now time.Time) {
	second := int64(now.Sub(h.start) / time.Second)
	if second <= h.second {
		return
	}
	forget(h.seconds[:], h.second, second)
	forget(h.minutes[:], h.second/60, second/60)
	forget(h.recent[:], h.second/10, second/10)
	for i := range h.policies {
		forget(h.policies[i].recent[:], h.second/10, second/10)
	}
	h.second = second
}

// forget clears the places of a ring for what comes after the number from, up to the number to.
func forget[T any](ring []T, from, to int64) {
	n := int64(len(ring))
	for i := max(from+1, to-n+1); i <= to; i++ {
		var zero T
		ring[i%n] = zero
	}
}

// drain adds what a stripe has counted, as of the current second, and sets it to zero. It reports whether there was anything.
func (h *history) drain(s *stripe) bool {
	if s.events == 0 {
		return false
	}
	s.events = 0
	h.total.add(&s.tally)
	h.seconds[h.second%(window+1)].add(&s.tally)
	h.minutes[h.second/60%(window+1)].add(&s.tally)
	s.tally = tally{}
	h.latency.add(&s.latency)
	h.recent[h.second/10%tens].add(&s.latency)
	s.latency = histogram{}
	if s.store != "" {
		h.store = s.store
	}
	for len(h.routes) < len(s.routes) {
		h.routes = append(h.routes, tally{})
	}
	for i := range s.routes {
		h.routes[i].add(&s.routes[i])
	}
	clear(s.routes)
	for len(h.policies) < len(s.policies) {
		h.policies = append(h.policies, policyTotal{})
	}
	for i := range s.policies {
		h.policies[i].drain(s.policies[i], h.second)
	}
	return true
}

func (t *policyTotal) drain(p *policyCell, second int64) {
	t.allowed += p.allowed
	t.refused += p.refused
	t.blocked += p.blocked
	t.errors += p.errors
	t.shadowAllowed += p.shadowAllowed
	t.shadowRefused += p.shadowRefused
	t.cost = add(t.cost, p.cost)
	if p.shape.period.Unit != halt.None {
		t.quota += p.refused
	}
	if p.shape.limit != 0 {
		t.shape, t.capacity = p.shape, p.capacity
	}
	u := &t.recent[second/10%tens]
	u.allowed += p.allowed
	u.refused += p.refused
	u.shadowRefused += p.shadowRefused
	u.measured += p.measured
	u.used += p.used
	u.peak = max(u.peak, p.peak)
	*p = policyCell{policyName: p.policyName, number: p.number, capacity: p.capacity, unit: p.unit, shape: p.shape}
}

// lastMinute adds up what a policy did in the last 60 to 70 seconds.
func (t *policyTotal) lastMinute() use {
	var sum use
	for i := range t.recent {
		u := &t.recent[i]
		sum.allowed += u.allowed
		sum.refused += u.refused
		sum.shadowRefused += u.shadowRefused
		sum.measured += u.measured
		sum.used += u.used
		sum.peak = max(sum.peak, u.peak)
	}
	return sum
}

// roll drains the stripes and makes now the current second. What they held is counted as of the second that was
// current before. It reports whether there was anything.
func (c *Collector) roll(now time.Time) (some bool) {
	for i := range c.stripes {
		s := &c.stripes[i]
		s.mu.Lock()
		some = c.history.drain(s) || some
		s.mu.Unlock()
	}
	c.history.advance(now)
	return some
}

// startTicking starts the timer that moves the counts on every second, so that each is counted as of its own. It stops by
// itself when there is nothing to move.
func (c *Collector) startTicking() {
	if !c.ticking.CompareAndSwap(false, true) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.history.advance(now)
	c.schedule(now)
}

// schedule sets the timer to the end of the current second.
func (c *Collector) schedule(now time.Time) {
	d := time.Duration(c.history.second+1)*time.Second - now.Sub(c.history.start)
	if c.timer == nil {
		c.timer = time.AfterFunc(d, c.tick)
	} else {
		c.timer.Reset(d)
	}
}

func (c *Collector) tick() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if !c.roll(now) {
		c.ticking.Store(false)
		// Who counted between the two saw the timer still going.
		if !c.roll(now) || !c.ticking.CompareAndSwap(false, true) {
			return
		}
	}
	c.schedule(now)
}
