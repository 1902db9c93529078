package haltredis

import (
	"encoding/binary"

	halt "github.com/halt-dev/halt/core"
)

// What the flags of a record say.
const (
	withPolicy = 1 << iota // the policy follows: it is not that of the record before
	keepKey                // the key will come again
)

// each calls f for every call, with its charges, in the order in which the script decides them: all that have one charge key by
// key, then the others.
func (r *request) each(f func(w *call, charges []drawn)) {
	for i := range r.keys {
		for n := r.keys[i].first; n > 0; n = r.charges[n-1].next {
			f(r.calls[r.charges[n-1].call], r.charges[n-1:n])
		}
	}
	for _, at := range r.several {
		w := r.calls[r.charges[at].call]
		f(w, r.charges[at:at+len(w.Charges)])
	}
}

// Where a record says how often the charge comes, and on how many of the keys that follow it comes as well.
const (
	atTimes = 6
	atRun   = 8
)

// records writes the calls as the script reads them. A charge that comes again, on the same key or on each of those that
// follow, is written once: that costs the script next to nothing.
type records struct {
	r      *request
	b      []byte
	now    func() halt.Instant
	policy int // that of the last record, plus 1

	// The last record, if its call may come again.
	last int // where it is; -1: it may not
	key  uint16
	mode halt.Mode
	cost int64
}

// write makes the payload of the calls.
func (r *request) write(now func() halt.Instant) {
	rs := records{r: r, b: r.payload[:0], now: now, last: -1}
	r.each(rs.call)
	r.payload = rs.b
}

// call writes a call.
func (rs *records) call(w *call, charges []drawn) {
	c, d := &w.Charges[0], &charges[0]
	if len(charges) > 1 {
		rs.policy = 0 // the script comes back to the first charge when it has read the others
		for i := range charges {
			rs.charge(&w.Charges[i], &charges[i], len(charges)-1-i)
		}
		rs.last = -1
		return
	}
	if rs.last >= 0 && rs.policy == d.policy+1 && rs.mode == c.Mode && rs.cost == c.Cost {
		switch {
		case rs.key == d.key:
			if rs.more(atRun, 0) > 0 { // the key is no longer like those before
				rs.more(atRun, -1)
				rs.last = len(rs.b)
				rs.charge(c, d, 0)
			}
			rs.more(atTimes, 1)
			return
		case rs.key+1 == d.key && rs.more(atTimes, 0) == 1 && rs.r.keys[rs.key].shared == rs.r.keys[d.key].shared:
			rs.more(atRun, 1)
			rs.key++
			return
		}
	}
	rs.last = -1
	if c.Mode <= halt.Shadow {
		rs.last, rs.key, rs.mode, rs.cost = len(rs.b), d.key, c.Mode, c.Cost
	}
	rs.charge(c, d, 0)
}

// more adds n to what the last record says at that place, and returns the sum.
func (rs *records) more(at, n int) uint16 {
	b := rs.b[rs.last+at:]
	sum := binary.LittleEndian.Uint16(b) + uint16(n)
	binary.LittleEndian.PutUint16(b, sum)
	return sum
}

// charge writes a charge, after which more of its call follow.
func (rs *records) charge(c *halt.Charge, d *drawn, more int) {
	flags := byte(0)
	if rs.policy != d.policy+1 {
		flags |= withPolicy
	}
	if rs.r.keys[d.key].shared {
		flags |= keepKey
	}
	b := binary.LittleEndian.AppendUint16(rs.b, d.key+1) // Lua counts from 1
	b = append(b, flags, byte(c.Mode))
	b = binary.LittleEndian.AppendUint16(b, uint16(more))
	b = binary.LittleEndian.AppendUint16(b, 1)
	b = binary.LittleEndian.AppendUint16(b, 0)
	b = appendNumber(b, c.Cost)
	p := &rs.r.policies[d.policy]
	if flags&withPolicy != 0 {
		b = p.append(b, rs.now)
		rs.policy = d.policy + 1
	}
	if c.Mode == halt.Credit {
		b = appendNumber(b, int64(c.At)/p.numbers.Tick)
		b = appendNumber(b, c.Taken)
	}
	rs.b = b
}
