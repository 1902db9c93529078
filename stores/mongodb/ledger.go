package haltmongo

import (
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/algorithm"
)

// ledger is what a transaction decides: calls, and the budgets that they draw on.
type ledger struct {
	calls   []*call
	budgets []budget
	of      [][]int // of each call's charges: the budgets
	errs    []error // of each call
	now     halt.Instant
}

// budget is one document.
type budget struct {
	id      documentID
	shape   shape
	state   algorithm.State
	ends    halt.Instant // when the key is as one never seen, by all decisions
	corrupt bool
	touched bool
}

func newLedger(calls []*call) *ledger {
	l := &ledger{calls: calls, of: make([][]int, len(calls)), errs: make([]error, len(calls))}
	index := make(map[documentID]int)
	for i, w := range calls {
		for j := range w.Charges {
			c := &w.Charges[j]
			id := newDocumentID(c)
			at, known := index[id]
			if !known {
				at = len(l.budgets)
				index[id] = at
				l.budgets = append(l.budgets, budget{id: id, shape: newShape(&c.Policy)})
			}
			l.of[i] = append(l.of[i], at)
		}
	}
	return l
}

// decide decides the calls, one after the other, from the documents that were found.
func (l *ledger) decide(found []bson.Raw, now halt.Instant) {
	l.now = now
	byID := make(map[documentID]bson.Raw, len(found))
	for _, raw := range found {
		if subtype, data, ok := raw.Lookup(fieldID).BinaryOK(); ok {
			byID[documentID{bytes: string(data), hashed: subtype != 0}] = raw
		}
	}
	for i := range l.budgets {
		u := &l.budgets[i]
		u.state, u.ends, u.corrupt, u.touched = algorithm.State{}, 0, false, false
		if raw, ok := byID[u.id]; ok {
			var d document
			if u.corrupt = !d.read(raw, &u.shape); !u.corrupt {
				u.state = d.state(&u.shape)
			}
		}
	}
	for i, w := range l.calls {
		l.errs[i] = l.decideCall(w, l.of[i])
	}
}

// decideCall decides one call on the states as the calls before it left them.
func (l *ledger) decideCall(w *call, of []int) error {
	states, changed := make([]algorithm.State, len(of)), make([]bool, len(of))
	for i, at := range of {
		if l.budgets[at].corrupt {
			return errCorrupt
		}
		states[i] = l.budgets[at].state
	}
	algorithm.DecideAll(w.Charges, states, l.now, w.Decisions, changed)
	spent := false
	for i, at := range of {
		u, d := &l.budgets[at], &w.Decisions[i]
		u.state, u.ends = states[i], max(u.ends, d.At+halt.Instant(d.ResetAfter/time.Microsecond))
		spent = spent || changed[i]
		round(d)
	}
	for _, at := range of {
		l.budgets[at].touched = l.budgets[at].touched || spent
	}
	return nil
}

// document is the budget's, as an update would leave it.
func (u *budget) document(nonce int64, now halt.Instant) bson.D {
	var d document
	d.set(&u.state, &u.shape)
	expires := (int64(u.ends)/1000 + margin + granule) / granule * granule
	doc := bson.D{
		field(fieldNonce, nonce), field(fieldTime, bson.DateTime(now/1000)),
		field(fieldAt, d.at), field(fieldUsed, d.used), field(fieldBlocked, d.blocked),
		field(fieldExpires, bson.DateTime(expires)),
	}
	if u.shape.Kind == algorithm.KindSliding {
		doc = append(doc, field(fieldCounts, d.counts))
	}
	return doc
}
