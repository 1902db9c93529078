package guard

import (
	"context"

	"github.com/halt-dev/halt/core"
)

// Leave ends the pass: it settles what was reserved for the request and gives back its places in flight. It must be
// called once, when the request is done, however it ended; of a denied request the outcome doesn't matter. It survives
// the end of the request's context, and what fails in it is told to OnError.
func (p *Pass[R]) Leave(o Outcome) {
	if p.decided {
		p.settle(o)
	}
	p.release()
}

// release returns the pass to the pool, without what it points to.
func (p *Pass[R]) release() {
	g := p.guard
	clear(p.call.Charges)
	clear(p.entries)
	p.call.Charges, p.call.Route = p.call.Charges[:0], ""
	*p = Pass[R]{call: p.call, entries: p.entries[:0]}
	g.pool.Put(p)
}

// settle corrects each charge to its true cost, all in one call, and then begins the blocks that are due.
func (p *Pass[R]) settle(o Outcome) {
	admitted := p.denial.Reason == 0
	var corrections []halt.Charge
	var due []due
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
		next := -1
		if s, differs := halt.Settlement(c, d, actual); differs {
			next = len(corrections)
			corrections = append(corrections, s)
		}
		if block.Block > 0 {
			due = append(due, blockDue(c, block, d.Remaining, next))
		}
	}
	ctx := context.WithoutCancel(p.ctx)
	call := halt.Call{Charges: corrections, Route: p.call.Route}
	if len(corrections) > 0 {
		if err := p.guard.limiter.Do(ctx, &call); err != nil {
			p.guard.tell(p.r, err)
			return
		}
	}
	for _, b := range due {
		if b.correction >= 0 {
			b.remaining = call.Decisions[b.correction].Remaining
		}
		if b.remaining == 0 {
			p.block(ctx, b.charge)
		}
	}
}

// actual returns the true cost of the i-th charge, which is the sum of its rules', and the policy whose Block it may
// begin. It reports false if the charge stands as it is.
func (p *Pass[R]) actual(i int, admitted bool, o Outcome) (actual int64, block halt.Policy, ok bool) {
	for n := range p.entries {
		e := &p.entries[n]
		if e.charge != i {
			continue
		}
		rule := &p.guard.config.Rules[e.rule]
		switch {
		case !admitted && (rule.Settle != nil || e.policy.Algorithm == halt.InFlight):
			ok = true // a shadow rule of a request that others refused: nothing happened
		case rule.Settle != nil:
			cost, err := p.trueCost(rule, e.cost, o)
			if err != nil {
				p.guard.tell(p.r, &RuleError{Rule: e.rule, Policy: e.policy.Name, Err: err})
				cost = e.cost
			}
			if cost > 0 {
				block = e.policy
			}
			actual, ok = actual+cost, true
		case e.policy.Algorithm == halt.InFlight:
			ok = true
		default:
			actual += e.cost
		}
	}
	return actual, block, ok
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

// due is a block that begins if nothing remains.
type due struct {
	charge     halt.Charge
	remaining  int64
	correction int // index of the correction whose decision tells what remains; -1: remaining does
}

func blockDue(c *halt.Charge, policy halt.Policy, remaining int64, correction int) due {
	return due{halt.Charge{Policy: policy, Key: c.Key, Cost: 1, Mode: c.Mode}, remaining, correction}
}

// block begins a block by a Take that an exhausted budget refuses. If somebody gave back meanwhile it fits, and is
// given back itself.
func (p *Pass[R]) block(ctx context.Context, c halt.Charge) {
	call := halt.Call{Charges: []halt.Charge{c}, Route: p.call.Route}
	err := p.guard.limiter.Do(ctx, &call)
	if err == nil && call.Decisions[0].Allowed {
		back, _ := halt.Settlement(&c, &call.Decisions[0], 0)
		call.Charges[0] = back
		err = p.guard.limiter.Do(ctx, &call)
	}
	if err != nil {
		p.guard.tell(p.r, err)
	}
}
