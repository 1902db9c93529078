package haltmongo

import (
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/algorithm"
	"github.com/halt-dev/halt/core/combine"
)

type call = combine.Call[struct{}]

// batch is what one update decides: calls of one charge each, on one budget, under one policy. They all wait at the same time,
// so that any order is right; the order is such that the update is short: Credits, then Takes, equal ones together, then
// Debits, then what changes nothing.
type batch struct {
	shape   shape
	calls   []*call // in the order in which they are decided
	credits []credit
	runs    []run
	debit   int64    // of all Debits together, as it is used
	edges   [4]int64 // of a period
	nonce   int64
	long    bool // the short form could not decide it

	before, after, reached document
}

// run are equal Takes.
type run struct{ cost, times int64 }

// arrange makes the batch that of those of the calls that decide as the first does, and returns the others.
func (b *batch) arrange(calls []*call) (rest []*call) {
	b.shape = newShape(&calls[0].Charges[0].Policy)
	b.calls, b.long = b.calls[:0], false
	for _, w := range calls {
		if b.shape.same(&w.Charges[0].Policy) {
			b.calls = append(b.calls, w)
		} else {
			rest = append(rest, w)
		}
	}
	return rest
}

// order puts the calls into their order, and sums up what they ask for. at is an instant whose periods are those of MongoDB's
// clock, or their neighbours.
func (b *batch) order(at halt.Instant) {
	h := &b.shape
	b.credits, b.runs, b.debit = b.credits[:0], b.runs[:0], 0
	if h.Kind == algorithm.KindPeriod {
		for i, e := range h.policy.Period.Edges(at) {
			b.edges[i] = int64(e) / h.Tick
		}
	}
	ordered := make([]*call, 0, len(b.calls))
	pass := func(wanted func(c *halt.Charge) bool) {
		for _, w := range b.calls {
			if wanted(&w.Charges[0]) {
				ordered = append(ordered, w)
			}
		}
	}
	pass(func(c *halt.Charge) bool {
		if c.Mode == halt.Credit {
			b.addCredit(int64(c.At)/h.Tick, c.Cost, c.Taken)
		}
		return c.Mode == halt.Credit
	})
	for _, w := range b.calls {
		if c := &w.Charges[0]; h.runs(c) {
			b.addRun(c.Cost)
		}
	}
	for i := range b.runs {
		pass(func(c *halt.Charge) bool { return h.runs(c) && c.Cost == b.runs[i].cost })
	}
	pass(func(c *halt.Charge) bool {
		if c.Mode == halt.Debit {
			b.debit = min(b.debit+product(c.Cost, h.unit), algorithm.Most)
		}
		return c.Mode == halt.Debit
	})
	pass(func(c *halt.Charge) bool { return c.Mode == halt.Peek || c.Mode < halt.Debit && !h.runs(c) })
	b.calls = append(b.calls[:0], ordered...)
}

// runs tells whether a charge can change the state: a Take or Shadow that can fit. One of nothing can start a block.
func (h *shape) runs(c *halt.Charge) bool {
	return (c.Mode == halt.Take || c.Mode == halt.Shadow) && c.Cost <= h.Capacity && (c.Cost > 0 || h.Block > 0)
}

func (b *batch) addRun(cost int64) {
	for i := range b.runs {
		if b.runs[i].cost == cost {
			b.runs[i].times++
			return
		}
	}
	b.runs = append(b.runs, run{cost: cost, times: 1})
}

// spends tells whether any of the calls can change the state.
func (b *batch) spends() bool { return len(b.credits)+len(b.runs) > 0 || b.debit > 0 }

// filter finds the budget's document, if it is sound and this very update has not left it. Else the update tries to make
// another, which the index of _id doesn't let it: what is not Halt's is never changed, and what a driver, a proxy or a server
// repeats runs once. The document's _id comes before: see plan.
func (b *batch) filter(nonce int64) bson.D {
	within := func(name string, most int64) bson.E {
		return field(name, bson.D{field("$type", "long"), field("$gte", int64(0)), field("$lte", most), notArray})
	}
	h := &b.shape
	f := bson.D{
		within(fieldAt, mostAt), within(fieldUsed, algorithm.Most), within(fieldBlocked, h.longestBlock()),
		field(fieldNonce, unary("$ne", nonce)),
	}
	if h.Kind == algorithm.KindSliding {
		f = append(f, field(fieldCounts, unary("$size", h.Counts)), field("$nor", bson.A{
			bson.D{field(fieldCounts, unary("$lt", int64(0)))},
			bson.D{field(fieldCounts, unary("$gt", algorithm.Most))},
			bson.D{field(fieldCounts, unary("$elemMatch", unary("$type", notLong)))},
		}))
	}
	return f
}

// notArray is said of fields, since what is said of a field is true of an array if it is of any element.
var notArray = field("$not", unary("$type", "array"))

// notLong are the types of BSON other than int64, by number.
var notLong = bson.A{
	int32(1), int32(2), int32(3), int32(4), int32(5), int32(6), int32(7), int32(8), int32(9), int32(10), int32(11), int32(12),
	int32(13), int32(14), int32(15), int32(16), int32(17), int32(19), int32(-1), int32(127),
}

// What became of an update.
type verdict int

const (
	decided   verdict = iota // all calls have their decisions
	uncovered                // the edges were not those of MongoDB's clock, which now is; nothing has changed
	corrupt                  // the document is not sound
	undecided                // the long form has to decide
	wrong                    // the document is not what follows
)

// decide makes the decisions of the batch's calls from what the update has left in the document.
func (b *batch) decide(raw bson.Raw) (now halt.Instant, v verdict) {
	h := &b.shape
	ms, ok := raw.Lookup(fieldTime).DateTimeOK()
	if !ok || !b.after.read(raw, h) {
		return 0, corrupt
	}
	now = halt.Instant(ms) * 1000
	before := &b.after
	p, changed := raw.Lookup(fieldBefore).DocumentOK()
	if changed {
		before = &b.before
		switch elements, err := p.Elements(); {
		case err == nil && len(elements) == 0: // it was a new document
			*before = document{counts: append(before.counts[:0], make([]int64, h.Counts)...)}
		case !before.read(p, h):
			return now, corrupt
		}
	}
	state := before.state(h)
	for _, w := range b.calls {
		c, d := &w.Charges[0], &w.Decisions[0]
		*d, _ = algorithm.Decide(c, &state, now)
		if h.Kind == algorithm.KindPeriod {
			if t := int64(d.At) / h.Tick; t < b.edges[0] || t >= b.edges[3] {
				return now, uncovered
			}
		}
		round(d)
	}
	b.reached.set(&state, h)
	switch {
	case b.reached.equals(&b.after):
		return now, decided
	case b.short() && (!changed || before.at > int64(now)/h.Tick+h.ahead()):
		return now, undecided
	}
	return now, wrong
}

// round rounds what a decision says of the future up to the resolution of MongoDB's clock: earlier nothing is there.
func round(d *halt.Decision) {
	up := func(v *time.Duration) {
		if r := *v % resolution; r != 0 && *v != halt.Never {
			*v += resolution - r
		}
	}
	up(&d.RetryAfter)
	up(&d.ResetAfter)
}
