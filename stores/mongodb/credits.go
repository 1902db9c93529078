package haltmongo

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/halt-dev/halt/core/algorithm"
)

// credit is a Credit, or several of the same effect.
type credit struct {
	at    int64 // tick of the take, or at which its window or sub-window starts
	cost  int64
	taken int64 // a token bucket's
}

// addCredit adds a Credit to the batch's. Of windows those of one are one.
func (b *batch) addCredit(at, cost, taken int64) {
	h := &b.shape
	switch h.Kind {
	case algorithm.KindLeaky:
		return
	case algorithm.KindToken:
		b.credits = append(b.credits, credit{at: at, cost: cost, taken: taken})
		return
	case algorithm.KindFixed:
		at -= at % h.Window
	case algorithm.KindSliding:
		at -= at % h.Sub
	case algorithm.KindPeriod:
		switch {
		case at < b.edges[0] || at >= b.edges[3]:
			return
		case at < b.edges[1]:
			at = b.edges[0]
		case at < b.edges[2]:
			at = b.edges[1]
		default:
			at = b.edges[2]
		}
	}
	cost = min(cost, algorithm.Most) // there is no more
	for i := range b.credits {
		if c := &b.credits[i]; c.at == at {
			c.cost = min(c.cost+cost, algorithm.Most)
			return
		}
	}
	b.credits = append(b.credits, credit{at: at, cost: cost})
}

// giveBack gives back the credits, before anything is spent.
func (b *batch) giveBack(s *steps) {
	switch {
	case len(b.credits) == 0:
	case b.shape.Kind == algorithm.KindSliding:
		b.giveBackCounts(s)
	case b.shape.Kind == algorithm.KindToken:
		s.takeOff(b.undrained(s))
	default:
		s.takeOff(b.ofWindow(s))
	}
}

// takeOff takes what is given back off what is used.
func (s *steps) takeOff(back bson.A) {
	d := s.of(tempUsed)
	s.set(field(tempBack, least(d, unary("$add", back))))
	s.set(field(tempUsed, subtract(d, s.of(tempBack))))
}

// undrained are what credits give back to a token bucket: what of their takes has not drained by itself.
func (b *batch) undrained(s *steps) bson.A {
	h := &b.shape
	var back bson.A
	for _, c := range b.credits {
		taken := min(product(c.taken, h.unit), algorithm.Most)
		since := greatest(int64(0), subtract(s.of(tempNow), c.at))
		left := subtract(taken, multiply(since, h.Limit))
		back = append(back, greatest(int64(0), least(min(product(c.cost, h.unit), algorithm.Most), left)))
	}
	return back
}

// ofWindow are what credits give back to a window: what was taken in this one.
func (b *batch) ofWindow(s *steps) bson.A {
	var back bson.A
	for _, c := range b.credits {
		back = append(back, cond(equal(s.of(tempStart), c.at), c.cost, int64(0)))
	}
	return back
}

// giveBackCounts gives back to the sub-windows that were taken from.
func (b *batch) giveBackCounts(s *steps) {
	h := &b.shape
	v, age, back := s.of(tempCounts), s.of(tempAge), s.of(tempDelta)
	var sum any = int64(0)
	for _, c := range b.credits {
		counted := all(atLeast(age, int64(0)), less(age, h.Counts))
		rest := join(slice(v, age), bson.A{subtract(element(v, age), back)}, slice(v, add(age, int64(1)), h.Counts))
		s.set(field(tempAge, divide(subtract(s.of(tempStart), c.at), h.Sub))) // no fraction
		s.set(field(tempDelta, cond(counted, least(c.cost, element(v, age)), int64(0))))
		s.set(field(tempCounts, cond(more(back, int64(0)), rest, v)), field(tempBack, add(sum, back)))
		sum = s.of(tempBack)
	}
	s.set(field(tempUsed, unary("$sum", v)))
}
