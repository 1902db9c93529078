package haltmongo

import (
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/halt-dev/halt/core/algorithm"
)

// An update decides what calls on one budget come to: what core/algorithm does, number by number, but only as far as the next
// state depends on it. The decisions themselves are made from the state before, which the update leaves in the document, by
// the arithmetic itself; and what that comes to has to be what the update has written.
//
// To read, check and prepare a pipeline takes a server as long as to run it: each operator counts, also of a branch that is not
// taken. So a batch of one Take, which most are, has a short form, that spends what fits if there is no block, and else changes
// nothing. Where that is not what follows, which the sender finds out, the long form decides, in another update: at the first
// refusal of a policy with Block, where a block has ended, and if the clock was set back by more than ten seconds. Of those ten
// seconds the short form knows nothing: what it adds to a state from beyond them counts as little as the state does.
//
// All numbers are int64s, whose sums, differences, products and remainders are exact. A product of two of them that overflows
// is a double to MongoDB; here that can only be what has drained in the meantime, and is more than any debt. A quotient is a
// double: floor(a/b) is right nevertheless as long as a is below 2^53. For if b does not divide a, a/b is at least 1/b below
// the next integer, and rounding moves it by less than half of a/b * 2^-52, which is less.
//
// An update of a document that is not there starts with nothing but an _id. A missing field is less than any number or null,
// the sum of it and a number is null, and $max and $min pass both over.
//
// What the steps compute, by name:
const (
	tempRoot    = "r" // the document as it was found
	tempClock   = "g" // the clock's tick
	tempSince   = "f" // the tick of the last change; forever ago, if the state counts as never seen
	tempNow     = "k" // the present tick, not before the last change
	tempStart   = "o" // the tick at which the present window, period or sub-window starts
	tempEnd     = "z" // the tick at which the present period ends
	tempUsed    = "d" // what is used, as of now
	tempCounts  = "v" // the counts, as of now
	tempBack    = "w" // what credits have given back; already taken off what is used
	tempPlus    = "y" // what was spent; not yet added to what is used
	tempTotal   = "j" // what is used then
	tempBlocked = "l" // for how many ticks the key is blocked from now on
	tempRefused = "h" // 1 if a refusal has started a block
	tempDelta   = "s" // what one run comes to
	tempAge     = "x" // how many sub-windows ago a credit's was
)

// steps are what a pipeline computes, one after the other, each from the document and the steps before. A few are nested $lets: a
// stage costs a server more, which copies the document for each. Many are stages, since BSON can't be nested as deeply.
type steps struct {
	staged bool
	made   []bson.D
}

// set makes a step that sets names. None of them sees what it sets the others to.
func (s *steps) set(values ...bson.E) { s.made = append(s.made, values) }

// of is the expression for what a step has set.
func (s *steps) of(name string) string {
	if s.staged {
		return "$" + name
	}
	return "$$" + name
}

// pipeline returns the stages that take the steps and leave the document that result makes of the one that root stands for.
func (s *steps) pipeline(result func(root any) any) bson.A {
	if s.staged {
		stages := bson.A{set(field(tempRoot, "$$ROOT"))}
		for _, step := range s.made {
			stages = append(stages, set(step...))
		}
		return append(stages, unary("$replaceWith", result("$"+tempRoot)))
	}
	with := result("$$ROOT")
	for _, step := range slices.Backward(s.made) {
		with = let(step, with)
	}
	return bson.A{unary("$replaceWith", with)}
}

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
	s := &steps{staged: len(b.runs) > 1 || len(b.credits) > 0}
	var state any = bson.D{field(fieldBefore, nil)} // it is as it was
	if b.spends() {
		b.present(s, now)
		b.spend(s)
		state = cond(b.changed(s), b.next(s, now), state)
	}
	return s.pipeline(func(root any) any {
		left := []any{root, bson.D{field(fieldNonce, nonce), field(fieldTime, now.date())}, state}
		if !b.short() || b.shape.Kind == algorithm.KindPeriod { // else it makes a state of none
			left = append([]any{b.unseen(now)}, left...)
		}
		return op("$mergeObjects", left...)
	})
}

// short tells whether the batch has the short form: of one Take.
func (b *batch) short() bool {
	return !b.long && len(b.runs) == 1 && b.runs[0].times == 1 && b.runs[0].cost > 0 && len(b.credits) == 0 && b.debit == 0
}

// present sets the present tick. A clock that is behind the state is taken for the state's, unless by more than ten seconds.
func (b *batch) present(s *steps, now clock) {
	h := &b.shape
	tick := now.ms()
	switch h.Tick {
	case 1:
		tick = multiply(tick, int64(1000))
	case 1000:
	default:
		tick = unary("$toLong", divide(tick, int64(1000))) // which cuts off the fraction
	}
	if !b.short() {
		at, g := "$"+fieldAt, s.of(tempClock)
		s.set(field(tempClock, tick))
		s.set(field(tempSince, cond(more(at, add(g, h.ahead())), -forever, otherwise(at, -forever))))
		tick = g
	}
	s.set(field(tempNow, greatest(tick, b.since(s))))
}

// since is the tick of the last change. In the short form it is missing if there was none.
func (b *batch) since(s *steps) string {
	if b.short() {
		return "$" + fieldAt
	}
	return s.of(tempSince)
}

// elapsed are the ticks since the last change; null if there was none, in the short form.
func (b *batch) elapsed(s *steps) any { return subtract(s.of(tempNow), b.since(s)) }

// current returns what is used as of now and plus, and sets what else there is of the state.
func (b *batch) current(s *steps, plus int64) (used any) {
	h := &b.shape
	k := s.of(tempNow)
	var fields []bson.E
	if !b.short() {
		fields = append(fields, field(tempBlocked, greatest(int64(0), subtract("$"+fieldBlocked, b.elapsed(s)))))
		if h.Block > 0 {
			fields = append(fields, field(tempRefused, int64(0)))
		}
	}
	switch h.Kind {
	case algorithm.KindToken, algorithm.KindLeaky:
		used = "$" + fieldUsed
		if h.most < algorithm.Most {
			used = least(used, h.most)
		}
		used = greatest(plus, add(used, plus, multiply(subtract(b.since(s), k), h.Limit)))
	case algorithm.KindFixed:
		fields = append(fields, field(tempStart, subtract(k, mod(k, h.Window))))
	case algorithm.KindPeriod:
		e := b.edges
		fields = append(fields,
			field(tempStart, cond(less(k, e[1]), e[0], cond(less(k, e[2]), e[1], e[2]))),
			field(tempEnd, cond(less(k, e[1]), e[1], cond(less(k, e[2]), e[2], e[3]))))
	default:
		none := make([]int64, h.Counts)
		moved := unary("$floor", divide(add(b.elapsed(s), subtract(h.Sub-1, mod(k, h.Sub))), h.Sub)) // sub-windows on
		fields = append(fields, field(tempCounts,
			slice(join(slice(literal(none), least(h.Counts, moved)), otherwise("$"+fieldCounts, bson.A{})), h.Counts)))
		if len(b.credits) > 0 {
			fields = append(fields, field(tempStart, subtract(k, mod(k, h.Sub))))
		}
		used = add(unary("$sum", s.of(tempCounts)), plus)
	}
	if len(fields) > 0 {
		s.set(fields...)
	}
	if used == nil {
		used = add(cond(atLeast(b.since(s), s.of(tempStart)), "$"+fieldUsed, int64(0)), plus)
	}
	return used
}

// spend sets what is used when all calls are decided.
func (b *batch) spend(s *steps) {
	h := &b.shape
	if b.short() {
		s.set(field(tempTotal, b.current(s, b.runs[0].cost*h.unit)))
		return
	}
	s.set(field(tempUsed, b.current(s, 0)))
	b.giveBack(s)
	for i := range b.runs {
		b.run(s, i)
	}
	d := s.of(tempUsed)
	var total any = d
	if len(b.runs) > 0 {
		total = add(d, s.of(tempPlus))
	}
	if b.debit > 0 {
		// It saturates: no debt is so high that it takes more than ten years to drain.
		total = least(h.most, add(total, b.debit))
	}
	s.set(field(tempTotal, total))
}

// run lets the i-th run of equal Takes spend: as often as it fits.
func (b *batch) run(s *steps, i int) {
	h, r := &b.shape, &b.runs[i]
	var used any = s.of(tempUsed)
	if i > 0 {
		used = add(used, s.of(tempPlus))
	}
	unit := r.cost * h.unit
	want := product(r.times, max(unit, 1))
	blocked := more(s.of(tempBlocked), int64(0))
	refused := more(used, h.full-unit) // the first of them
	var delta any
	switch {
	case r.times == 1 || unit == 0:
		delta = cond(some(blocked, refused), int64(0), unit)
	default:
		room := greatest(int64(0), subtract(h.full, used))
		delta = cond(blocked, int64(0),
			let(bson.D{field("r", room)}, least(want, subtract("$$r", mod("$$r", unit)))))
		refused = less(s.of(tempDelta), want) // any of them
	}
	sum := func(delta any) any {
		if i > 0 {
			return add(s.of(tempPlus), delta)
		}
		return delta
	}
	if h.Block == 0 {
		s.set(field(tempPlus, sum(delta)))
		return
	}
	refused = all(equal(s.of(tempBlocked), int64(0)), refused)
	s.set(field(tempDelta, delta))
	s.set(
		field(tempPlus, sum(s.of(tempDelta))),
		field(tempRefused, cond(refused, int64(1), s.of(tempRefused))),
		field(tempBlocked, cond(refused, h.Block, s.of(tempBlocked))),
	)
}

// spent is what was spent.
func (b *batch) spent(s *steps) any {
	if b.short() {
		return b.runs[0].cost
	}
	return subtract(s.of(tempTotal), s.of(tempUsed))
}

// changed tells whether the state is another than before.
func (b *batch) changed(s *steps) any {
	h := &b.shape
	var changed any
	switch {
	case b.short():
		changed = all(atMost(s.of(tempTotal), h.full), atMost("$"+fieldBlocked, int64(0)))
	case b.debit > 0 && h.Kind != algorithm.KindSliding:
		changed = true // even if it was saturated already
	default:
		ways := bson.A{more(s.of(tempTotal), s.of(tempUsed))}
		if len(b.credits) > 0 && h.Kind != algorithm.KindLeaky {
			ways = append(ways, more(s.of(tempBack), int64(0)))
		}
		if h.Block > 0 {
			ways = append(ways, equal(s.of(tempRefused), int64(1)))
		}
		changed = unary("$or", ways)
	}
	if h.Kind == algorithm.KindPeriod { // else the clocks are further apart than the edges that were sent: others have to be
		k := s.of(tempNow)
		changed = all(atLeast(k, b.edges[0]), less(k, b.edges[3]), changed)
	}
	return changed
}

// next is the state after, and the one before.
func (b *batch) next(s *steps, now clock) bson.D {
	h := &b.shape
	var used, blocked any = s.of(tempTotal), int64(0)
	if !b.short() {
		blocked = s.of(tempBlocked)
	}
	before := bson.D{
		field(fieldAt, "$"+fieldAt), field(fieldUsed, "$"+fieldUsed), field(fieldBlocked, "$"+fieldBlocked),
	}
	var counts []bson.E
	if h.Kind == algorithm.KindSliding {
		v := s.of(tempCounts)
		used = int64(0)
		counts = append(counts, field(fieldCounts, join(bson.A{add(element(v, int64(0)), b.spent(s))}, slice(v, int64(1), h.Counts))))
		before = append(before, field(fieldCounts, "$"+fieldCounts))
	}
	return append(bson.D{
		field(fieldAt, s.of(tempNow)), field(fieldUsed, used), field(fieldBlocked, blocked),
		field(fieldExpires, b.expiry(s, now)), field(fieldBefore, before),
	}, counts...)
}

// unseen is the state of a key never seen.
func (b *batch) unseen(now clock) bson.D {
	doc := bson.D{
		field(fieldAt, int64(0)), field(fieldUsed, int64(0)), field(fieldBlocked, int64(0)), field(fieldExpires, now.date()),
	}
	if b.shape.Kind == algorithm.KindSliding {
		doc = append(doc, field(fieldCounts, literal(make([]int64, b.shape.Counts))))
	}
	return doc
}

// Documents stay for this long after their keys are as ones never seen, in ms: for what the clocks of the servers differ by,
// and for a state that is ahead of the clock.
const margin = int64(20_000)

// granule is to what an expiry is rounded up, in ms: a minute, so that it changes, and the index with it, once a minute at
// most. MongoDB looks for what has expired no more often either.
const granule = int64(60_000)

// expiry is when the key is as one never seen, or later.
func (b *batch) expiry(s *steps, now clock) any {
	h := &b.shape
	k, total := s.of(tempNow), s.of(tempTotal)
	ms := float64(h.Tick) / 1000 // of a tick
	var left any                 // in ms
	switch h.Kind {
	case algorithm.KindToken, algorithm.KindLeaky:
		left = divide(total, float64(h.Limit)/ms)
	case algorithm.KindFixed:
		left = multiply(subtract(add(s.of(tempStart), h.Window), k), ms)
	case algorithm.KindPeriod:
		left = multiply(subtract(s.of(tempEnd), k), ms)
	default:
		left = multiply(subtract(h.Counts*h.Sub, mod(k, h.Sub)), ms)
	}
	if !b.short() {
		if h.Kind > algorithm.KindLeaky {
			left = cond(more(total, int64(0)), left, int64(0))
		}
		left = greatest(left, multiply(s.of(tempBlocked), ms))
	}
	return unary("$dateTrunc", bson.D{field("date", add(now.date(), left, margin+granule)), field("unit", "minute")})
}
