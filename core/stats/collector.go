package stats

import (
	"context"
	"hash/maphash"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	halt "github.com/halt-dev/halt/core"
)

// Options are a [Collector]'s. The zero value, or nil, is the default.
type Options struct {
	// TopKeys is how many keys the lists of top keys hold: 0 means 20, at most 100.
	TopKeys int
	// ShowKeys puts keys into the lists of top keys, their first 48 bytes, and so onto the dashboard. A key is often
	// somebody's address or name. By default each is shown as a pseudonym, which is another in every Collector.
	ShowKeys bool
}

const (
	defaultTopKeys = 20
	maxTopKeys     = 100
)

// Collector counts what limiters decide. It is a [halt.Observer], for one limiter or several, and safe for concurrent use.
//
// If a Limiter has no observers but Collectors, a store that answers within a microsecond is not timed on every call: see
// [Latency].
type Collector struct {
	seed     maphash.Seed
	topKeys  int
	showKeys bool
	names    names
	refused  sketch // refusals by policy and key
	spending sketch // cost by policy and key

	_       [64]byte // what is above is not written to by decisions
	ticking atomic.Bool
	_       [64]byte
	stripes []stripe

	failures failures

	mu      sync.Mutex // guards what follows; taken before a stripe's
	timer   *time.Timer
	history history
}

// New returns a collector that has counted nothing yet. It panics if TopKeys is negative or more than 100. In a
// testing/synctest bubble its time is the bubble's, as long as New was called there.
func New(o *Options) *Collector {
	if o == nil {
		o = &Options{}
	}
	n := o.TopKeys
	if n < 0 || n > maxTopKeys {
		panic("halt/stats: Options.TopKeys must be 0 (20) to 100") //nolint:forbidigo // wrong at wiring
	}
	if n == 0 {
		n = defaultTopKeys
	}
	c := &Collector{seed: maphash.MakeSeed(), topKeys: n, showKeys: o.ShowKeys}
	c.names.init()
	c.refused.init(o.ShowKeys)
	c.spending.init(o.ShowKeys)
	c.stripes = make([]stripe, stripes())
	for i := range c.stripes {
		c.stripes[i].init(c)
	}
	c.history.init(time.Now())
	return c
}

// stripes returns how many stripes there are, a power of two: so many more than processors that two of them seldom meet.
func stripes() int {
	const most = 16
	n := 4
	for n < most && n < 4*runtime.GOMAXPROCS(0) {
		n *= 2
	}
	return n
}

// OnlyCounts tells the Limiter that the collector has no use for Start, nor for the Elapsed of every quick call.
func (c *Collector) OnlyCounts() bool { return true }

// Start returns ctx: all is counted by End.
func (c *Collector) Start(ctx context.Context, _ *halt.Event) context.Context { return ctx }

// End counts a call. One without all of its decisions, which no Limiter shows, is not counted.
func (c *Collector) End(_ context.Context, e *halt.Event) {
	if e.Err == nil && len(e.Decisions) != len(e.Charges) {
		return // a panic further on would leave a stripe locked
	}
	if e.Internal && e.Err == nil {
		return
	}
	s := c.lock(e)
	if e.Err != nil {
		c.failed(s, e)
	} else {
		c.decided(s, e)
	}
	s.mu.Unlock()
	if !c.ticking.Load() {
		c.startTicking()
	}
}

// lock returns a stripe that nobody else writes to. The Limiter and guards keep their events in pools, which are per
// processor: so are the addresses of events, by which stripes are chosen.
func (c *Collector) lock(e *halt.Event) *stripe {
	const golden = 0x9E3779B97F4A7C15
	i := int(uint64(uintptr(unsafe.Pointer(e))) * golden >> 48)
	s := &c.stripes[i&(len(c.stripes)-1)]
	if s.mu.TryLock() {
		return s
	}
	for n := range c.stripes {
		if s := &c.stripes[(i+1+n)&(len(c.stripes)-1)]; s.mu.TryLock() {
			return s
		}
	}
	s.mu.Lock()
	return s
}

// decided counts a call that was decided.
func (c *Collector) decided(s *stripe, e *halt.Event) {
	admitted := e.Decisions.Allowed()
	var o outcome
	for i := range e.Charges {
		ch, d := &e.Charges[i], &e.Decisions[i]
		p := c.policy(s, &ch.Policy)
		if ch.Policy.Limit != halt.Unlimited {
			o |= asked
		}
		switch ch.Mode {
		case halt.Take:
			o |= took
			p.use(ch, d)
			switch {
			case admitted:
				p.allowed++
				p.cost = add(p.cost, ch.Cost)
				if ch.Cost > 0 && ch.Policy.Algorithm != halt.InFlight {
					c.note(&s.spending, p, ch, ch.Cost)
				}
			case !d.Allowed:
				p.refused++
				if d.Blocked {
					p.blocked++
					o |= blocked
				}
				c.note(&s.refusals, p, ch, 1)
			}
		case halt.Shadow:
			p.use(ch, d)
			if d.Allowed {
				p.shadowAllowed++
			} else {
				p.shadowRefused++
				o |= shadowRefused
			}
		case halt.Debit:
			if !ch.Shadow {
				p.cost = add(p.cost, ch.Cost)
				c.note(&s.spending, p, ch, ch.Cost)
			}
		case halt.Credit:
			if !ch.Shadow {
				p.cost = add(p.cost, -ch.Cost)
			}
		default: // a Peek spends nothing
		}
	}
	if o&took != 0 {
		if admitted {
			o |= allowed
		} else {
			o |= refused
		}
	}
	s.events++
	s.count(o)
	if e.Route != "" && o != 0 {
		c.route(s, e.Route).count(o)
	}
	if e.Elapsed > 0 && o&asked != 0 {
		s.timed(e)
	}
}
