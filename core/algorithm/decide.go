package algorithm

import (
	"math/bits"
	"time"

	halt "github.com/halt-dev/halt/core"
)

const (
	// most is what a state's debt or count saturates at: far above all capacities, and exact in a double.
	most = int64(1) << 52
	// ahead is how far ahead of the clock a state may be and still count.
	ahead = 10 * time.Second
	// decade bounds how long a bucket's debt takes to drain, so that no entry lives for longer.
	decade = 10 * 365 * 24 * time.Hour
	// hint is the RetryAfter of what waits for somebody to leave.
	hint = time.Second
)

// Decide decides the charge c, as a call of its own, against the state s of its key, and changes s if that spends, gives
// back or blocks: changed tells. An unchanged state need not be written. Decision.ResetAfter is how long a store has to
// keep the state; at 0 it may forget it at once.
func Decide(c *halt.Charge, s *State, now halt.Instant) (d halt.Decision, changed bool) {
	changed = decide(c, s, now, true, &d)
	return d, changed
}

// DecideTo is Decide for who has a place for the decision: a copy of one costs as much as a division.
func DecideTo(d *halt.Decision, c *halt.Charge, s *State, now halt.Instant) (changed bool) {
	return decide(c, s, now, true, d)
}

// DecideAll decides the charges of one call, each against the state of its own key, at one instant, as halt.Store has
// it. All slices have the same length; changed tells for each state whether it is to be written.
func DecideAll(cs []halt.Charge, ss []State, now halt.Instant, ds []halt.Decision, changed []bool) {
	spend := true
	for i := range cs {
		if cs[i].Mode.Binds() {
			// A refused Take may write its block here already: that needs no other's consent.
			changed[i] = decide(&cs[i], &ss[i], now, false, &ds[i])
			spend = spend && ds[i].Allowed
		}
	}
	for i := range cs {
		if !cs[i].Mode.Binds() || spend && cs[i].Mode == halt.Take {
			changed[i] = decide(&cs[i], &ss[i], now, true, &ds[i])
		}
	}
}

// moment is a charge and a state at one tick: what the algorithms share. The state is changed by write alone. The decision is
// made in its place: copies of it cost as much as a division.
type moment struct {
	c     *halt.Charge
	s     *State
	d     *halt.Decision
	tick  int64 // in µs
	t     int64 // the present tick, clamped
	until int64 // the tick until which the key is blocked, or 0
	fresh bool  // the state counts as never seen
	spend bool  // whether a Take that fits may spend
}

func decide(c *halt.Charge, s *State, now halt.Instant, spend bool, d *halt.Decision) (changed bool) {
	var m moment // a literal would be made elsewhere and copied
	m.c, m.s, m.d, m.spend = c, s, d, spend
	m.tick = int64(c.Policy.Tick() / time.Microsecond)
	m.t = m.ticks(int64(now))
	if s.At > m.t {
		if s.At-m.t > m.ticks(int64(ahead/time.Microsecond)) {
			m.fresh = true
		} else {
			m.t = s.At
		}
	}
	if s.Until > m.t && !m.fresh {
		m.until = s.Until
	}
	switch c.Policy.Algorithm {
	case halt.TokenBucket, halt.LeakyBucket:
		return m.bucket()
	case halt.FixedWindow:
		return m.fixed()
	default:
		return m.sliding()
	}
}

// ticks returns µs in whole ticks. The divisors are constants, which spares the processor a division.
func (m *moment) ticks(us int64) int64 {
	switch m.tick {
	case 1:
		return us
	case 1000:
		return us / 1000
	default:
		return us / 1_000_000
	}
}

// span returns d in whole ticks.
func (m *moment) span(d time.Duration) int64 {
	switch m.tick {
	case 1:
		return int64(d / time.Microsecond)
	case 1000:
		return int64(d / time.Millisecond)
	default:
		return int64(d / time.Second)
	}
}

// admit tells whether a Take, Peek or Shadow is allowed and whether it is to be spent.
func (m *moment) admit(fits bool) (allowed, spend bool) {
	allowed = fits && m.until == 0
	return allowed, allowed && m.c.Cost > 0 && (m.c.Mode == halt.Shadow || m.c.Mode == halt.Take && m.spend)
}

// block starts a block if the charge, refused although its cost could fit, is to leave one.
func (m *moment) block() bool {
	p := &m.c.Policy
	if m.until != 0 || p.Block == 0 || m.c.Mode != halt.Take && m.c.Mode != halt.Shadow || m.c.Cost > p.Capacity() {
		return false
	}
	m.until = m.t + m.span(p.Block)
	return true
}

// answer makes the decision from what is left: remaining units, the ticks until all is as if never seen, and for a
// refusal the ticks until it fits.
func (m *moment) answer(allowed bool, remaining, reset, wait int64) {
	d := m.d
	d.Mode, d.Allowed, d.Blocked = m.c.Mode, allowed, false
	d.Limit, d.Remaining = m.c.Policy.Limit, max(remaining, 0)
	d.ResetAfter, d.RetryAfter, d.Delay = m.duration(reset), 0, 0
	d.At = halt.Instant(m.t * m.tick)
	if m.until != 0 {
		d.Blocked, d.Remaining = true, 0
		d.ResetAfter = m.duration(max(reset, m.until-m.t))
		wait = max(wait, m.until-m.t)
	}
	switch {
	case allowed:
	case m.c.Cost > m.c.Policy.Capacity():
		d.RetryAfter = halt.Never
	case m.c.Policy.Algorithm == halt.InFlight:
		d.RetryAfter = max(hint, m.duration(max(0, m.until-m.t)))
	default:
		d.RetryAfter = m.duration(max(wait, 1))
	}
}

func (m *moment) duration(ticks int64) time.Duration {
	return time.Duration(ticks*m.tick) * time.Microsecond
}

// write makes the state one of now.
func (m *moment) write(used, window int64) {
	m.s.At, m.s.Used, m.s.Window, m.s.Until = m.t, used, window, m.until
}

// bucket decides for token and leaky buckets.
func (m *moment) bucket() (changed bool) {
	c, p := m.c, &m.c.Policy
	w, l, capacity := m.span(p.Window), p.Limit, p.Capacity()
	full := capacity * w
	debt := int64(0)
	if !m.fresh {
		debt = m.s.Used
		if debt > full { // a Debit, or a Limit that is lower by now
			debt = min(debt, mostDebt(l, m.span(decade)))
		}
		debt = drain(debt, m.t-m.s.At, l)
	}
	before := debt
	allowed, wait := true, int64(0)
	switch c.Mode {
	case halt.Debit:
		if c.Cost > 0 {
			debt, changed = addSaturated(debt, c.Cost, w, mostDebt(l, m.span(decade))), true
		}
	case halt.Credit:
		if back := min(product(c.Cost, w), m.undrained(w, l), debt); back > 0 && p.Algorithm == halt.TokenBucket {
			debt, changed = debt-back, true
		}
	default:
		fits := c.Cost <= capacity && debt <= full-c.Cost*w
		var spend bool
		allowed, spend = m.admit(fits)
		switch {
		case spend:
			debt, changed = debt+c.Cost*w, true
		case !fits && c.Cost <= capacity:
			wait = ceilDiv(debt-(full-c.Cost*w), l)
			changed = m.block()
		}
	}
	if changed {
		m.write(debt, 0)
	}
	m.answer(allowed, (full-debt)/w, ceilDiv(debt, l), wait)
	if p.Algorithm == halt.LeakyBucket && allowed && c.Mode.Binds() && c.Cost > 0 {
		m.d.Delay = m.duration(ceilDiv(before, l))
	}
	return changed
}

// undrained returns how much of a credited Take has not drained by itself since.
func (m *moment) undrained(w, l int64) int64 {
	since := max(0, m.t-m.ticks(int64(m.c.At)))
	return drain(product(m.c.Taken, w), since, l)
}

// fixed decides for fixed windows and calendar periods.
func (m *moment) fixed() (changed bool) {
	c, p := m.c, &m.c.Policy
	start, end := m.window()
	count := int64(0)
	if m.s.Window == start && !m.fresh {
		count = m.s.Used
	}
	allowed, wait := true, int64(0)
	switch c.Mode {
	case halt.Debit:
		if c.Cost > 0 {
			count, changed = addSaturated(count, c.Cost, 1, most), true
		}
	case halt.Credit:
		at := m.ticks(int64(c.At))
		if back := min(c.Cost, count); back > 0 && start <= at && at < end {
			count, changed = count-back, true
		}
	default:
		fits := c.Cost <= p.Limit && count <= p.Limit-c.Cost
		var spend bool
		allowed, spend = m.admit(fits)
		switch {
		case spend:
			count, changed = count+c.Cost, true
		case !fits && c.Cost <= p.Limit:
			wait = end - m.t
			changed = m.block()
		}
	}
	if changed {
		m.write(count, start)
	}
	reset := int64(0)
	if count > 0 {
		reset = end - m.t
	}
	m.answer(allowed, p.Limit-count, reset, wait)
	return changed
}

// window returns the ticks at which the present window starts and ends.
func (m *moment) window() (start, end int64) {
	p := &m.c.Policy
	if p.Period.Unit != halt.None {
		e := p.Period.Edges(halt.Instant(m.t * m.tick))
		return m.ticks(int64(e[1])), m.ticks(int64(e[2]))
	}
	w := m.span(p.Window)
	start = m.t - m.t%w
	return start, start + w
}

// sliding decides for sliding windows and for what is in flight.
func (m *moment) sliding() (changed bool) {
	c, p, s := m.c, &m.c.Policy, m.s
	subs := int64(p.SubWindows())
	sub := ceilDiv(m.span(p.Window), subs)
	v := view{size: subs + 1, i: m.t / sub}
	if !m.fresh && s.Counts != nil {
		v.counts, v.newest = s.Counts, s.Window
	}
	sum := v.sum()
	allowed, wait := true, int64(0)
	j, delta := v.i, int64(0)
	switch c.Mode {
	case halt.Debit:
		delta = min(c.Cost, most-sum)
	case halt.Credit:
		j = m.ticks(int64(c.At)) / sub
		delta = -min(c.Cost, v.at(j))
	default:
		fits := c.Cost <= p.Limit && sum <= p.Limit-c.Cost
		var spend bool
		allowed, spend = m.admit(fits)
		switch {
		case spend:
			delta = c.Cost
		case !fits && c.Cost <= p.Limit:
			wait = v.freed(sum-(p.Limit-c.Cost))*sub - m.t
			changed = m.block()
		}
	}
	if delta != 0 {
		changed = true
	}
	if changed {
		v.advance(s)
		v.counts[j%v.size] += delta
		sum += delta
		m.write(0, v.i)
	}
	reset := int64(0)
	if sum > 0 {
		reset = v.freed(sum)*sub - m.t
	}
	m.answer(allowed, p.Limit-sum, reset, wait)
	return changed
}

// view is a ring of sub-windows' counts, as of sub-window i. Those that i has left behind count as 0.
type view struct {
	counts    []int64 // that of sub-window j is at j modulo size; nil: all 0
	size      int64
	newest, i int64 // the youngest that was written, and the present one
}

// at returns the count of sub-window j.
func (v *view) at(j int64) int64 {
	if j > v.newest || j <= v.i-v.size || j < 0 || v.counts == nil {
		return 0
	}
	return v.counts[j%v.size]
}

func (v *view) sum() int64 {
	if v.i-v.newest >= v.size || v.counts == nil {
		return 0
	}
	sum := int64(0)
	for _, n := range v.counts {
		sum += n
	}
	for j := v.newest + 1; j <= v.i; j++ { // these slots still hold what has left
		sum -= v.counts[j%v.size]
	}
	return sum
}

// freed returns the sub-window at whose start n or more of what counts now no longer does.
func (v *view) freed(n int64) int64 {
	j := max(v.i-v.size+1, 0)
	for ; j < v.newest; j++ {
		if n -= v.at(j); n <= 0 {
			break
		}
	}
	return j + v.size
}

// advance moves the ring on to sub-window i, in the state's own memory.
func (v *view) advance(s *State) {
	switch {
	case v.counts != nil:
		for j := max(v.newest+1, v.i-v.size+1); j <= v.i; j++ {
			v.counts[j%v.size] = 0
		}
	case s.Counts != nil:
		clear(s.Counts)
		v.counts = s.Counts
	default:
		v.counts = make([]int64, v.size)
	}
	s.Counts, v.newest = v.counts, v.i
}

// drain returns what is left of a debt after so many ticks. The plain product overflows for a key unseen for long.
func drain(debt, ticks, l int64) int64 {
	hi, drained := bits.Mul64(uint64(ticks), uint64(l))
	if hi != 0 || drained >= uint64(debt) {
		return 0
	}
	return debt - int64(drained)
}

// product returns n*w, or a value no debt reaches if that is too large.
func product(n, w int64) int64 {
	if n > most/w {
		return most
	}
	return n * w
}

// addSaturated returns u + n*w, at most limit.
func addSaturated(u, n, w, limit int64) int64 {
	if u >= limit || n > (limit-u)/w {
		return limit
	}
	return u + n*w
}

// ceilDiv returns a/b, rounded up, of a >= 0 and b > 0.
func ceilDiv(a, b int64) int64 {
	if a <= 0 {
		return 0
	}
	return (a-1)/b + 1
}
