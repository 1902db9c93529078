package haltgqlgen

import (
	"context"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
)

// fieldCharges are the limited fields of an operation, decided.
//
// Each occurrence is decided by itself, and yet all go to the store in one call, which is all or nothing: the call asks for
// the sum of all. Mostly it fits, and that was it. If it is refused, nothing was spent, and the decisions tell what
// remains of each budget at that instant; the occurrences that fit into it, in the order of the document, are the next
// call. That one is refused only if somebody else has spent meanwhile, and then it goes on likewise with what remains. So
// an operation whose fields fit makes one call, one whose fields are refused two or three, whatever the number of fields,
// and no more is ever spent than what is executed.
type fieldCharges struct {
	found   []*occurrence
	budgets []budget
	call    call
	refused map[*ast.Field][]*occurrence
	delay   time.Duration
	held    []heldCharge // places in flight, and what their Takes were
}

type heldCharge struct {
	charge   halt.Charge
	decision halt.Decision
}

// call is a call to the limiter, and which budget each of its charges is on.
type call struct {
	halt.Call
	of []int
}

// add adds a charge on a budget, to be filled in: it is too large to be passed around.
func (c *call) add(budget int) *halt.Charge {
	c.Charges, c.of = append(c.Charges, halt.Charge{}), append(c.of, budget)
	return &c.Charges[len(c.Charges)-1]
}

// clear takes the charges out, and what they point to.
func (c *call) clear() {
	clear(c.Charges)
	c.Charges, c.of = c.Charges[:0], c.of[:0]
}

// call returns a call for charges of the operation's fields or events, to be recycled.
func (e *extension) call(o *Operation) *call {
	c, _ := e.calls.Get().(*call)
	if c == nil {
		c = new(call)
	}
	c.start(o)
	return c
}

func (e *extension) recycleCall(c *call) {
	c.clear()
	e.calls.Put(c)
}

// start makes a call one of an operation's.
func (c *call) start(o *Operation) {
	c.Route, c.FailOpen = framework.Route(o), !o.ext.config.FailClosed
}

// maxAttempts bounds how often others' spending can make an operation ask again. Fields that are left then are refused.
const maxAttempts = 32

// decide decides the occurrences that were found.
func (fc *fieldCharges) decide(op *Operation) {
	fc.call.start(op)
	if err := fc.admit(op); err != nil {
		op.ext.tellStore(op, err)
		if op.closed() {
			for _, o := range fc.found {
				o.drop(guard.Unavailable)
			}
		}
	}
	for _, o := range fc.found {
		if !o.dropped {
			continue
		}
		if fc.refused == nil {
			fc.refused = make(map[*ast.Field][]*occurrence)
		}
		o.nodes(func(n *ast.Field) { fc.refused[n] = append(fc.refused[n], o) })
	}
}

// admit spends for the occurrences that fit, and drops the others.
func (fc *fieldCharges) admit(op *Operation) error {
	for _, o := range fc.found {
		if !o.dropped {
			for _, n := range o.needs {
				b := &fc.budgets[n.budget]
				b.cost = sum(b.cost, n.cost)
				b.asked = b.cost
			}
		}
	}
	call := &fc.call
	shadows := true
	for attempt := 0; ; attempt++ {
		fc.fill(call, shadows)
		shadows = false // they take effect even if the call is refused
		if len(call.of) == 0 {
			break
		}
		if err := op.ext.limiter.Do(op.ctx, &call.Call); err != nil {
			return err
		}
		for i, at := range call.of {
			fc.budgets[at].decision, fc.budgets[at].decided = call.Decisions[i], true
			fc.budgets[at].remaining = call.Decisions[i].Remaining
		}
		admitted := call.Decisions.Allowed()
		fc.hold(call, admitted)
		if admitted {
			fc.delay = call.Decisions.Delay()
			if attempt == 0 {
				return nil // all of them
			}
			break
		}
		fc.choose(attempt >= maxAttempts)
	}
	fc.explain(op)
	return nil
}

// fill makes call the one for the occurrences that are still to be admitted.
func (fc *fieldCharges) fill(call *call, shadows bool) {
	call.clear()
	for i := range fc.budgets {
		b := &fc.budgets[i]
		if b.cost == 0 || b.shadow && !shadows {
			continue
		}
		c := call.add(i)
		c.Policy, c.Key, c.Cost = b.policy, b.key, b.cost
		switch {
		case b.shadow:
			c.Mode = halt.Shadow
		case b.sharers > 1:
			c.Policy.Block = 0 // the sum's refusal is nobody's: explain blocks, if one is refused
		}
	}
}

// hold remembers places in flight that were taken, to be given back in the end.
func (fc *fieldCharges) hold(call *call, admitted bool) {
	for i := range call.Charges {
		c, d := &call.Charges[i], &call.Decisions[i]
		if c.Policy.Algorithm == halt.InFlight && c.Policy.Limit != halt.Unlimited && (c.Mode == halt.Shadow && d.Allowed || c.Mode == halt.Take && admitted) {
			fc.held = append(fc.held, heldCharge{*c, *d})
		}
	}
}

// choose drops the occurrences that do not fit into what remains, in the order of the document; all, if none may.
func (fc *fieldCharges) choose(none bool) {
	for i := range fc.budgets {
		if !fc.budgets[i].shadow {
			fc.budgets[i].cost = 0
		}
	}
	for _, o := range fc.found {
		if o.dropped {
			continue
		}
		by := -1
		for _, n := range o.needs {
			b := &fc.budgets[n.budget]
			if b.shadow || b.policy.Limit == halt.Unlimited {
				continue
			}
			if none || n.cost > b.remaining {
				b.refused, b.want = true, max(b.want, n.cost)
				if by < 0 {
					by = n.budget
				}
			}
		}
		if by >= 0 {
			o.dropped, o.by = true, by
			continue
		}
		for _, n := range o.needs {
			if b := &fc.budgets[n.budget]; !b.shadow {
				b.cost, b.remaining = sum(b.cost, n.cost), b.remaining-n.cost
			}
		}
	}
}

// explain finds out when the occurrences that were refused would fit, and begins the blocks of their policies. What was
// asked for until now was more than one of them costs.
func (fc *fieldCharges) explain(op *Operation) {
	call := &fc.call
	call.clear()
	for i := range fc.budgets {
		b := &fc.budgets[i]
		if !b.refused || b.sharers == 1 || b.decision.Blocked {
			continue
		}
		c := call.add(i)
		c.Policy, c.Key, c.Cost, c.Mode = b.policy, b.key, b.want, halt.Peek
		if b.policy.Block > 0 {
			c.Mode = halt.Take
		}
	}
	if len(call.of) == 0 {
		return
	}
	if err := op.ext.limiter.Do(op.ctx, &call.Call); err != nil {
		op.ext.tellStore(op, err) // the fields are decided; only the figures are those of the sum
		return
	}
	for i, at := range call.of {
		fc.budgets[at].decision = call.Decisions[i]
	}
	if !call.Decisions.Allowed() {
		return
	}
	// By now it all fits, and the Takes were spent, for nothing.
	back := op.ext.call(op)
	defer op.ext.recycleCall(back)
	for i := range call.Charges {
		if c := &call.Charges[i]; c.Mode == halt.Take {
			*back.add(0), _ = halt.Settlement(c, &call.Decisions[i], 0)
		}
	}
	if len(back.Charges) > 0 {
		if err := op.ext.limiter.Do(context.WithoutCancel(op.ctx), &back.Call); err != nil {
			op.ext.tellStore(op, err)
		}
	}
}

// release gives the places in flight back.
func (fc *fieldCharges) release(op *Operation) {
	if len(fc.held) == 0 {
		return
	}
	call := &fc.call
	call.clear()
	for i := range fc.held {
		*call.add(0), _ = halt.Settlement(&fc.held[i].charge, &fc.held[i].decision, 0)
	}
	if err := op.ext.limiter.Do(context.WithoutCancel(op.ctx), &call.Call); err != nil {
		op.ext.tellStore(op, err)
	}
}

// denial returns why an occurrence was refused.
func (fc *fieldCharges) denial(o *occurrence) Denial {
	if o.by < 0 {
		return Denial{Reason: o.reason}
	}
	b := &fc.budgets[o.by]
	return Denial{
		Reason: guard.QuotaExceeded, Policy: b.policy, Decision: b.decision, RetryAfter: b.decision.RetryAfter,
		Violated: []string{b.policy.Name},
	}
}

// middleware returns a field middleware that refuses the fields that were refused.
func (fc *fieldCharges) middleware(next graphql.FieldMiddleware) graphql.FieldMiddleware {
	return func(ctx context.Context, resolve graphql.Resolver) (any, error) {
		f := graphql.GetFieldContext(ctx)
		for _, o := range fc.refused[f.Field.Field] {
			if o.at.is(f) {
				return nil, refusal(fc.denial(o)) // a new one each time: gqlgen writes the path into it
			}
		}
		return next(ctx, resolve)
	}
}
