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
func (b *batch) giveBack(stages bson.A) bson.A {
	if len(b.credits) == 0 {
		return stages
	}
	switch b.shape.Kind {
	case algorithm.KindSliding:
		return b.giveBackCounts(stages)
	case algorithm.KindToken:
		return b.takeOff(stages, b.undrained())
	default:
		return b.takeOff(stages, b.ofWindow())
	}
}

// takeOff takes what is given back off what is used.
func (b *batch) takeOff(stages bson.A, back bson.A) bson.A {
	d := "$" + tempUsed
	return append(stages,
		set(field(tempBack, least(d, unary("$add", back)))),
		set(field(tempUsed, subtract(d, "$"+tempBack))))
}

// undrained are what credits give back to a token bucket: what of their takes has not drained by itself.
func (b *batch) undrained() bson.A {
	h := &b.shape
	var back bson.A
	for _, c := range b.credits {
		taken := min(product(c.taken, h.unit), algorithm.Most)
		since := greatest(int64(0), subtract("$"+tempNow, c.at))
		left := subtract(taken, multiply(least(since, (algorithm.Most-1)/h.Limit+1), h.Limit))
		back = append(back, greatest(int64(0), least(min(product(c.cost, h.unit), algorithm.Most), left)))
	}
	return back
}

// ofWindow are what credits give back to a window: what was taken in this one.
func (b *batch) ofWindow() bson.A {
	var back bson.A
	for _, c := range b.credits {
		back = append(back, cond(equal("$"+tempStart, c.at), c.cost, int64(0)))
	}
	return back
}

// giveBackCounts gives back to the sub-windows that were taken from.
func (b *batch) giveBackCounts(stages bson.A) bson.A {
	h := &b.shape
	v, age, back := "$"+tempCounts, "$"+tempAge, "$"+tempDelta
	var sum any = int64(0)
	for _, c := range b.credits {
		counted := all(atLeast(age, int64(0)), less(age, h.Counts))
		rest := join(slice(v, age), bson.A{subtract(element(v, age), back)}, slice(v, add(age, int64(1)), h.Counts))
		stages = append(stages,
			set(field(tempAge, divide(subtract("$"+tempStart, c.at), h.Sub))), // no fraction
			set(field(tempDelta, cond(counted, least(c.cost, element(v, age)), int64(0)))),
			set(field(tempCounts, cond(more(back, int64(0)), rest, v)), field(tempBack, add(sum, back))))
		sum = "$" + tempBack
	}
	return append(stages, set(field(tempUsed, unary("$sum", v))))
}
