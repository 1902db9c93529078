package guard

import (
	"context"
	"math"

	halt "github.com/halt-dev/halt/core"
)

// Leave ends the pass: it settles what was reserved for the request and gives back its places in flight. It must be
// called once, when the request is done, however it ended; of a denied request the outcome doesn't matter. It survives
// the end of the request's context, and what fails in it is told to OnError.
func (p *Pass[R]) Leave(o Outcome) {
	if p.decided && p.settles {
		p.settle(o)
	}
	p.release()
}

// release returns the pass to the pool, without what it points to but the program's own policies.
func (p *Pass[R]) release() {
	for i := range p.call.Charges {
		p.call.Charges[i].Key = ""
		if p.held[i] == 0 {
			p.call.Charges[i].Policy = halt.Policy{}
		}
	}
	for i := range p.entries {
		if e := &p.entries[i]; p.guard.config.Rules[e.rule].Resolve != nil {
			e.resolved = halt.Policy{}
		}
	}
	recycle(&p.call)
	if len(p.after.Charges) > 0 {
		clear(p.after.Charges)
		recycle(&p.after)
	}
	clear(p.due)
	var none R
	p.r, p.ctx, p.decided, p.settles = none, nil, false, false
	if p.denial.Reason != 0 {
		p.denial = Denial{}
	}
	p.entries = p.entries[:0] // one by one: so none of their pointers has to be written
	p.held = p.held[:0]
	p.due = p.due[:0]
	p.guard.pool.Put(p)
}

func recycle(c *halt.Call) {
	c.Charges = c.Charges[:0]
	if c.Route != "" {
		c.Route = ""
	}
}

// settle corrects each charge to its true cost, all in one call, and then begins the blocks that are due.
func (p *Pass[R]) settle(o Outcome) {
	admitted := p.denial.Reason == 0
	for i := range p.call.Charges {
		c, d := &p.call.Charges[i], &p.call.Decisions[i]
		spent := c.Mode == halt.Shadow && d.Allowed || c.Mode == halt.Take && admitted
		if !spent || c.Policy.Limit == halt.Unlimited {
			continue
		}
		actual, block, ok := p.actual(i, admitted, o)
		if !ok {
			continue
		}
		correction := -1
		if s, differs := halt.Settlement(c, d, actual); differs {
			correction = len(p.after.Charges)
			p.after.Charges = append(p.after.Charges, s)
		}
		if block != nil {
			p.due = append(p.due, due{
				halt.Charge{Policy: *p.policyOf(block), Key: c.Key, Cost: block.cost, Mode: c.Mode}, d.Remaining, correction,
			})
		}
	}
	if len(p.after.Charges)+len(p.due) == 0 {
		return
	}
	ctx := context.WithoutCancel(p.ctx)
	p.after.Route = p.call.Route
	if len(p.after.Charges) > 0 {
		if err := p.guard.limiter.Do(ctx, &p.after); err != nil {
			p.guard.tellStore(p.r, err)
			return
		}
	}
	for i := range p.due {
		if b := &p.due[i]; b.correction >= 0 {
			b.remaining = p.after.Decisions[b.correction].Remaining
		}
	}
	for i := range p.due {
		if b := &p.due[i]; b.remaining < b.charge.Cost {
			p.block(ctx, b.charge)
		}
	}
}

// actual returns the true cost of the i-th charge, which is the sum of its rules', and the rule whose Block it may begin,
// or nil. It reports false if the charge stands as it is.
func (p *Pass[R]) actual(i int, admitted bool, o Outcome) (actual int64, block *entry, ok bool) {
	for n := range p.entries {
		e := &p.entries[n]
		if e.charge != i {
			continue
		}
		rule, policy := &p.guard.config.Rules[e.rule], p.policyOf(e)
		switch {
		case !admitted && (rule.Settle != nil || policy.Algorithm == halt.InFlight):
			ok = true // a shadow rule of a request that others refused: nothing happened
		case rule.Settle != nil:
			cost, err := p.trueCost(rule, e.cost, o)
			if err != nil {
				p.guard.tell(p.r, &RuleError{Rule: e.rule, Policy: policy.Name, Err: err}, false)
				cost = e.cost
			}
			if cost > 0 && policy.Block > 0 {
				block = e
			}
			actual, ok = sum(actual, cost), true
		case policy.Algorithm == halt.InFlight:
			ok = true
		default:
			actual = sum(actual, e.cost)
		}
	}
	return actual, block, ok
}

// sum returns a+b of costs, at most what an int64 holds.
func sum(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

func (p *Pass[R]) trueCost(rule *Rule[R], reserved int64, o Outcome) (cost int64, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = panicked(v)
		}
	}()
	o.Reserved = reserved
	if cost = rule.Settle(p.r, o); cost < 0 {
		return 0, ErrNegativeCost
	}
	return cost, nil
}

// due is a block that begins if what remains is less than the rule's cost, so that the next would be refused.
type due struct {
	charge     halt.Charge
	remaining  int64
	correction int // index of the correction whose decision tells what remains; -1: remaining does
}

// block begins a block by a Take that an exhausted budget refuses. If somebody gave back meanwhile it fits, and is
// given back itself.
func (p *Pass[R]) block(ctx context.Context, c halt.Charge) {
	clear(p.after.Charges)
	recycle(&p.after)
	p.after.Charges, p.after.Route, p.after.Internal = append(p.after.Charges, c), p.call.Route, true
	defer func() { p.after.Internal = false }()
	err := p.guard.limiter.Do(ctx, &p.after)
	if err == nil && p.after.Decisions[0].Allowed {
		p.after.Charges[0], _ = halt.Settlement(&c, &p.after.Decisions[0], 0)
		err = p.guard.limiter.Do(ctx, &p.after)
	}
	if err != nil {
		p.guard.tellStore(p.r, err)
	}
}
