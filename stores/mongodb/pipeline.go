package haltmongo

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/halt-dev/halt/core/algorithm"
)

// An update decides what calls on one budget come to: what core/algorithm does, number by number, but only as far as the next
// state depends on it. The decisions themselves are made from the state before, which the update leaves in the document, by
// the arithmetic itself; and what that comes to has to be what the update has written.
//
// All numbers are int64s, whose sums, differences, products and remainders are exact, and no product here reaches 2^54. A quotient
// is a double: floor(a/b) is right nevertheless as long as a is below 2^53. For if b does not divide a, a/b is at least 1/b
// below the next integer, and rounding moves it by less than half of a/b * 2^-52, which is less.
//
// An update of a document that is not there starts with nothing but an _id. A missing field is less than any number, the sum
// of it and a number is null, and $max and $min pass both over.
//
// The fields that the stages compute with, and the last one drops:
const (
	tempNow     = "k" // the present tick, not before the last change
	tempElapsed = "q" // the ticks since the last change; forever, if the state counts as never seen
	tempStart   = "o" // the tick at which the present period or sub-window starts
	tempEnd     = "z" // the tick at which the present period ends
	tempUsed    = "d" // what is used, as of now
	tempCounts  = "v" // the counts, as of now
	tempBack    = "w" // what credits have given back; already taken off what is used
	tempPlus    = "y" // what was spent; not yet added to what is used
	tempBlocked = "l" // for how many ticks the key is blocked from now on
	tempRefused = "h" // 1 if a refusal has started a block
	tempDelta   = "s" // what one run comes to
	tempAge     = "x" // how many sub-windows ago a credit's was
)

// clock is what the stages take for the time: MongoDB's own, or in tests a time in ms.
type clock struct {
	fixed bool
	at    int64
}

// serverClock is MongoDB's own: a mongos's, or the primary's. It stands still during a command.
var serverClock = clock{}

// date is the expression for the time as a date.
func (c clock) date() any {
	if c.fixed {
		return bson.DateTime(c.at)
	}
	return "$$NOW"
}

// ms is the expression for the time in ms since the Unix epoch.
func (c clock) ms() any {
	if c.fixed {
		return c.at
	}
	return unary("$toLong", "$$NOW")
}

// forever is more ticks than any state lasts.
const forever = int64(1) << 53

// pipeline returns the stages that decide the batch's calls, and leave the number.
func (b *batch) pipeline(now clock, nonce int64) bson.A {
	if !b.spends() {
		return bson.A{unary("$replaceWith", b.unchanged(now, nonce))}
	}
	h := &b.shape
	stages := bson.A{set(field(tempNow, b.present(now))), set(field(tempElapsed, elapsed()))}
	stages = b.current(stages)
	stages = b.giveBack(stages)
	for i := range b.runs {
		stages = b.run(stages, i)
	}
	if b.debit > 0 {
		// It saturates: no debt is so high that it takes more than ten years to drain.
		plus := subtract(least(h.most, add("$"+tempUsed, b.plus(), b.debit)), "$"+tempUsed)
		stages = append(stages, set(field(tempPlus, plus)))
	}
	return append(stages, unary("$replaceWith", cond(b.changed(), b.next(now, nonce), b.unchanged(now, nonce))))
}

// present is the present tick. A clock that is behind the state is taken for the state's, unless by more than ten seconds.
func (b *batch) present(now clock) any {
	h := &b.shape
	tick := now.ms()
	switch h.Tick {
	case 1:
		tick = multiply(tick, int64(1000))
	case 1000:
	default:
		tick = unary("$toLong", divide(tick, int64(1000))) // which cuts off the fraction
	}
	at := "$" + fieldAt
	return let("n", tick, cond(more(at, add("$$n", h.ahead())), "$$n", greatest("$$n", at)))
}

func elapsed() any {
	at, k := "$"+fieldAt, "$"+tempNow
	return cond(more(at, k), forever, otherwise(subtract(k, at), forever))
}

// current sets the state as of now.
func (b *batch) current(stages bson.A) bson.A {
	h := &b.shape
	k, q := "$"+tempNow, "$"+tempElapsed
	fields := []bson.E{field(tempBlocked, greatest(int64(0), subtract("$"+fieldBlocked, q)))}
	if h.Block > 0 {
		fields = append(fields, field(tempRefused, int64(0)))
	}
	switch h.Kind {
	case algorithm.KindToken, algorithm.KindLeaky:
		var used any = "$" + fieldUsed
		if h.most < algorithm.Most {
			used = least(used, h.most)
		}
		// Longer than this no debt lasts, and the product stays small.
		longest := (algorithm.Most-1)/h.Limit + 1
		used = greatest(int64(0), subtract(used, multiply(least(q, longest), h.Limit)))
		return append(stages, set(append(fields, field(tempUsed, used))...))
	case algorithm.KindFixed:
		used := cond(atMost(q, mod(k, h.Window)), "$"+fieldUsed, int64(0))
		if len(b.credits) > 0 {
			fields = append(fields, field(tempStart, subtract(k, mod(k, h.Window))))
		}
		return append(stages, set(append(fields, field(tempUsed, used))...))
	case algorithm.KindPeriod:
		e := b.edges
		fields = append(fields,
			field(tempStart, cond(less(k, e[1]), e[0], cond(less(k, e[2]), e[1], e[2]))),
			field(tempEnd, cond(less(k, e[1]), e[1], cond(less(k, e[2]), e[2], e[3]))))
		used := cond(atMost(q, subtract(k, "$"+tempStart)), "$"+fieldUsed, int64(0))
		return append(stages, set(fields...), set(field(tempUsed, used)))
	default:
		none := make([]int64, h.Counts)
		moved := unary("$floor", divide(add(q, subtract(h.Sub-1, mod(k, h.Sub))), h.Sub)) // sub-windows on
		counts := slice(join(slice(literal(none), least(h.Counts, moved)), otherwise("$"+fieldCounts, bson.A{})), h.Counts)
		if len(b.credits) > 0 {
			fields = append(fields, field(tempStart, subtract(k, mod(k, h.Sub))))
		}
		return append(stages, set(append(fields, field(tempCounts, counts))...), set(field(tempUsed, unary("$sum", "$"+tempCounts))))
	}
}

// run lets the i-th run of equal Takes spend: as often as it fits.
func (b *batch) run(stages bson.A, i int) bson.A {
	h, r := &b.shape, &b.runs[i]
	var used any = "$" + tempUsed
	if i > 0 {
		used = add(used, "$"+tempPlus)
	}
	unit := r.cost * h.unit
	want := product(r.times, max(unit, 1))
	refused := more(used, h.full-unit) // the first of them
	var delta any
	switch {
	case r.times == 1 || unit == 0:
		delta = cond(some(more("$"+tempBlocked, int64(0)), refused), int64(0), unit)
	default:
		room := greatest(int64(0), subtract(h.full, used))
		delta = cond(more("$"+tempBlocked, int64(0)), int64(0),
			let("r", room, least(want, subtract("$$r", mod("$$r", unit)))))
		refused = less("$"+tempDelta, want) // any of them
	}
	sum := func(delta any) any {
		if i > 0 {
			return add("$"+tempPlus, delta)
		}
		return delta
	}
	if h.Block == 0 {
		return append(stages, set(field(tempPlus, sum(delta))))
	}
	refused = all(equal("$"+tempBlocked, int64(0)), refused)
	return append(stages, set(field(tempDelta, delta)), set(
		field(tempPlus, sum("$"+tempDelta)),
		field(tempRefused, cond(refused, int64(1), "$"+tempRefused)),
		field(tempBlocked, cond(refused, h.Block, "$"+tempBlocked)),
	))
}

// plus is what was spent by the runs.
func (b *batch) plus() any {
	if len(b.runs) == 0 {
		return int64(0)
	}
	return "$" + tempPlus
}

// spent is what was spent.
func (b *batch) spent() any {
	if b.debit > 0 {
		return "$" + tempPlus
	}
	return b.plus()
}

// changed tells whether the state is another than before.
func (b *batch) changed() any {
	h := &b.shape
	spent := more(b.spent(), int64(0))
	if b.debit > 0 && h.Kind != algorithm.KindSliding {
		spent = equal(int64(1), int64(1)) // even if it was saturated already
	}
	ways := bson.A{spent}
	if len(b.credits) > 0 && h.Kind != algorithm.KindLeaky {
		ways = append(ways, more("$"+tempBack, int64(0)))
	}
	if h.Block > 0 {
		ways = append(ways, equal("$"+tempRefused, int64(1)))
	}
	changed := spent
	if len(ways) > 1 {
		changed = unary("$or", ways)
	}
	if h.Kind == algorithm.KindPeriod { // else the clocks are further apart than the edges that were sent: others have to be
		k := "$" + tempNow
		changed = all(atLeast(k, b.edges[0]), less(k, b.edges[3]), changed)
	}
	return changed
}

// next is the document of the state after.
func (b *batch) next(now clock, nonce int64) bson.D {
	h := &b.shape
	total := add("$"+tempUsed, b.spent())
	doc := header(now, nonce)
	doc = append(doc, field(fieldAt, "$"+tempNow), field(fieldBlocked, "$"+tempBlocked), field(fieldExpires, b.expiry(now, total)))
	before := bson.D{
		field(fieldAt, "$"+fieldAt), field(fieldUsed, "$"+fieldUsed), field(fieldBlocked, "$"+fieldBlocked),
	}
	if h.Kind != algorithm.KindSliding {
		return append(doc, field(fieldUsed, total), field(fieldBefore, before))
	}
	v := "$" + tempCounts
	return append(doc,
		field(fieldUsed, int64(0)),
		field(fieldCounts, join(bson.A{add(element(v, int64(0)), b.spent())}, slice(v, int64(1), h.Counts))),
		field(fieldBefore, append(before, field(fieldCounts, "$"+fieldCounts))),
	)
}

// unchanged is the document of the state as it was.
func (b *batch) unchanged(now clock, nonce int64) bson.D {
	doc := append(header(now, nonce),
		field(fieldAt, otherwise("$"+fieldAt, int64(0))),
		field(fieldUsed, otherwise("$"+fieldUsed, int64(0))),
		field(fieldBlocked, otherwise("$"+fieldBlocked, int64(0))),
		field(fieldExpires, otherwise("$"+fieldExpires, now.date())),
	)
	if b.shape.Kind == algorithm.KindSliding {
		doc = append(doc, field(fieldCounts, otherwise("$"+fieldCounts, literal(make([]int64, b.shape.Counts)))))
	}
	return doc
}

// header are the fields that any update sets.
func header(now clock, nonce int64) bson.D {
	return bson.D{field(fieldID, "$"+fieldID), field(fieldNonce, nonce), field(fieldTime, now.date())}
}

// Documents stay for this long after their keys are as ones never seen, in ms: for what the clocks of the servers differ by,
// and for a state that is ahead of the clock.
const margin = int64(20_000)

// granule is to what an expiry is rounded up, in ms, so that it changes, and the index with it, once a minute at most.
// MongoDB looks for what has expired no more often either.
const granule = int64(60_000)

// expiry is when the key is as one never seen, or later.
func (b *batch) expiry(now clock, total any) any {
	h := &b.shape
	k := "$" + tempNow
	var ticks any
	switch h.Kind {
	case algorithm.KindToken, algorithm.KindLeaky:
		ticks = divide(total, h.Limit)
	case algorithm.KindFixed:
		ticks = cond(more(total, int64(0)), subtract(h.Window, mod(k, h.Window)), int64(0))
	case algorithm.KindPeriod:
		ticks = cond(more(total, int64(0)), subtract("$"+tempEnd, k), int64(0))
	default:
		ticks = cond(more(total, int64(0)), subtract(h.Counts*h.Sub, mod(k, h.Sub)), int64(0))
	}
	ticks = greatest(ticks, "$"+tempBlocked)
	var ms any
	switch h.Tick {
	case 1:
		ms = divide(ticks, int64(1000))
	case 1000:
		ms = ticks
	default:
		ms = multiply(ticks, int64(1000))
	}
	at := add(now.ms(), ms, margin)
	return unary("$toDate", multiply(unary("$ceil", divide(at, granule)), granule))
}
