package stats

import (
	"math"
	"sync"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// outcome is what became of a call, as bits.
type outcome uint8

const (
	took          outcome = 1 << iota // it has a Take
	asked                             // it went to the store
	allowed                           // it has a Take, and was admitted
	refused                           // it has a Take, and was not
	blocked                           // it was refused by a Block
	shadowRefused                     // a shadow rule would have refused it
	failed                            // the store failed
	failedOpen                        // and the caller went on
)

// tally counts the outcomes of calls.
type tally struct {
	Allowed, Refused, Blocked, ShadowRefused, Errors, FailedOpen int64
}

func (t *tally) count(o outcome) {
	if o&(refused|blocked|shadowRefused|failed) == 0 { // nearly all
		t.Allowed += int64(o & allowed / allowed)
		return
	}
	t.Allowed += int64(o & allowed / allowed)
	t.Refused += int64(o & refused / refused)
	t.Blocked += int64(o & blocked / blocked)
	t.ShadowRefused += int64(o & shadowRefused / shadowRefused)
	t.Errors += int64(o & failed / failed)
	t.FailedOpen += int64(o & failedOpen / failedOpen)
}

func (t *tally) add(u *tally) {
	t.Allowed += u.Allowed
	t.Refused += u.Refused
	t.Blocked += u.Blocked
	t.ShadowRefused += u.ShadowRefused
	t.Errors += u.Errors
	t.FailedOpen += u.FailedOpen
}

// stripe is a share of the counters: what was counted since it was last drained. Whoever counts holds its lock.
type stripe struct {
	mu     sync.Mutex
	events int64 // of any kind
	tally
	store    string
	policies []*policyCell           // by number
	routes   []tally                 // by number
	known    [knownNames]*policyCell // some of them, by slotOf their names
	spending recent
	refusals recent
	latency  histogram
	_        [128]byte // the next stripe's lock is in another cache line, and in another pair of them
}

func (s *stripe) init(c *Collector) {
	s.spending.init(&c.spending, c.showKeys)
	s.refusals.init(&c.refused, c.showKeys)
}

// timed counts how long the store took.
func (s *stripe) timed(e *halt.Event) {
	s.latency.observe(e.Elapsed)
	s.store = e.Store
}

// policyCell counts the charges of a policy.
type policyCell struct {
	policyName                                                      // in memory of its own
	allowed, refused, blocked, errors, shadowAllowed, shadowRefused int64

	cost     int64   // net
	used     float64 // the sum of what part of its capacity each decision's key had used, 0 to 1
	peak     float64 // the largest of them
	measured int64   // how many there are in the sum

	number   int32
	capacity int64
	unit     float64 // 1/capacity
	shape    shape
}

// shape is what a policy is beside its name, as far as it is told.
type shape struct {
	limit, burst int64
	window       time.Duration
	period       halt.Period
	algorithm    halt.Algorithm
}

// use notes what the policy is, and what part of its capacity the key of a decision has used.
func (p *policyCell) use(c *halt.Charge, d *halt.Decision) {
	if s := &p.shape; c.Policy.Limit != s.limit || c.Policy.Burst != s.burst || c.Policy.Window != s.window ||
		c.Policy.Algorithm != s.algorithm || c.Policy.Period != s.period {
		p.describe(&c.Policy)
	}
	if d.Limit == halt.Unlimited {
		return
	}
	used := float64(p.capacity-d.Remaining) * p.unit
	p.used += used
	p.measured++
	if used > p.peak {
		p.peak = used
	}
}

func (p *policyCell) describe(policy *halt.Policy) {
	p.shape = shape{policy.Limit, policy.Burst, policy.Window, policy.Period, policy.Algorithm}
	p.capacity = max(policy.Capacity(), 1)
	p.unit = 1 / float64(p.capacity)
}

// add returns a+b of costs, or what an int64 can hold of it.
func add(a, b int64) int64 {
	sum := a + b
	if (a^sum)&(b^sum) < 0 { // both are of the other sign
		return math.MaxInt64 ^ a>>63
	}
	return sum
}
