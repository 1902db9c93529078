package guard

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/halt-dev/halt/core"
)

// Guard applies the rules of a Config to requests. It is safe for concurrent use.
type Guard[R any] struct {
	limiter *halt.Limiter
	config  Config[R]
	order   []int // indices into config.Rules: rules whose key everyone shares come last
	pool    sync.Pool
}

// New returns a guard. A Config that can't be used is an error that matches ErrInvalidConfig and names every fault.
func New[R any](l *halt.Limiter, c Config[R]) (*Guard[R], error) {
	if err := c.check(l); err != nil {
		return nil, err
	}
	if c.ResolveTimeout == 0 {
		c.ResolveTimeout = time.Second
	}
	c.Rules = append([]Rule[R](nil), c.Rules...)
	g := &Guard[R]{limiter: l, config: c}
	g.pool.New = func() any { return new(Pass[R]) }
	for i := range c.Rules {
		g.order = append(g.order, i)
	}
	slices.SortStableFunc(g.order, func(a, b int) int {
		return rank(c.Rules[a].Key.shared) - rank(c.Rules[b].Key.shared)
	})
	return g, nil
}

func rank(shared bool) int {
	if shared {
		return 1
	}
	return 0
}

// entry is a rule that applies to a request.
type entry struct {
	rule   int
	charge int   // index of its charge; rules that meet on a budget share one
	cost   int64 // the rule's own part of it
	policy halt.Policy
}

// Pass is a request on its way through a guard. It is not safe for concurrent use, and must not be used after Leave.
type Pass[R any] struct {
	guard   *Guard[R]
	r       R
	ctx     context.Context
	call    halt.Call
	entries []entry
	denial  Denial
	decided bool // the call has decisions
}

// Enter decides a request and returns its pass, on which Leave must be called, or nil if the request is exempt. ctx is
// the request's: its end ends a delay and, for stores that wait, the decision.
func (g *Guard[R]) Enter(ctx context.Context, r R) *Pass[R] {
	if g.exempt(r) {
		return nil
	}
	p := g.pool.Get().(*Pass[R])
	p.guard, p.r, p.ctx = g, r, ctx
	p.call.FailOpen = !g.config.FailClosed
	if !p.gather() || len(p.call.Charges) == 0 {
		return p
	}
	if g.config.Route != nil {
		p.call.Route = g.route(r)
	}
	if err := g.limiter.Do(ctx, &p.call); err != nil {
		p.failed(err)
		return p
	}
	p.decided = true
	if !p.call.Decisions.Allowed() {
		p.refuse()
	}
	return p
}

// gather makes the charges of the rules that apply. It reports false if the request is denied already.
func (p *Pass[R]) gather() bool {
	for _, i := range p.guard.order {
		rule := &p.guard.config.Rules[i]
		cost, err := p.cost(rule)
		if err == nil && cost == 0 {
			continue
		}
		key := ""
		if err == nil {
			key, err = p.key(rule)
		}
		if err == nil && key == "" && !rule.Shadow {
			p.denial = Denial{Reason: MissingKey, Policy: halt.Policy{Name: rule.Policy.Name}}
			return false
		}
		if err == nil && key == "" {
			err = ErrNoKey
		}
		// The policy comes later: no database is asked for a request without a key.
		p.entries = append(p.entries, entry{rule: i, charge: -1, cost: cost, policy: rule.Policy})
		if err != nil {
			if !p.spoiled(len(p.entries)-1, err) {
				return false
			}
			p.entries = p.entries[:len(p.entries)-1]
			continue
		}
		p.call.Charges = append(p.call.Charges, halt.Charge{Key: key})
	}
	return p.resolve()
}

// resolve finds the policies of the entries and completes their charges, the n-th of the n-th, merging those that meet
// on one budget.
func (p *Pass[R]) resolve() bool {
	keys, entries := p.call.Charges, p.entries
	p.call.Charges, p.entries = keys[:0], entries[:0]
	for n := range entries {
		e := entries[n]
		rule := &p.guard.config.Rules[e.rule]
		var err error
		if rule.Resolve != nil {
			e.policy, err = p.policy(rule)
		}
		c := halt.Charge{Policy: e.policy, Key: keys[n].Key, Cost: e.cost}
		if rule.Shadow {
			c.Mode = halt.Shadow
		}
		if rule.Settle != nil {
			c.Policy.Block = 0 // it begins when the true cost is known
		}
		if err == nil {
			e.charge, err = p.merge(&c, rule)
		}
		if errors.Is(err, errDenied) {
			return false
		}
		p.entries = append(p.entries, e)
		if err != nil {
			if !p.spoiled(len(p.entries)-1, err) {
				return false
			}
			p.entries = p.entries[:len(p.entries)-1]
		}
	}
	return true
}

// merge adds the charge of a rule to the call and returns its index: that of the one on the same budget, if there is
// one. Of two rules that meet with unequal policies it is a resolved one that fails: New has seen to the others.
func (p *Pass[R]) merge(c *halt.Charge, rule *Rule[R]) (int, error) {
	for i := range p.call.Charges {
		o := &p.call.Charges[i]
		if o.Policy.Name != c.Policy.Name || o.Key != c.Key || o.Mode != c.Mode {
			continue
		}
		if !samePolicy(o.Policy, c.Policy) {
			if halt.StorageKey("", *o) != halt.StorageKey("", *c) {
				continue
			}
			if rule.Resolve != nil {
				return -1, ErrSameBudget
			}
			*o = *c
			return i, p.evict(i)
		}
		if o.Cost += c.Cost; o.Cost < 0 {
			o.Cost = math.MaxInt64
		}
		o.Policy.Block = min(o.Policy.Block, c.Policy.Block)
		return i, nil
	}
	p.call.Charges = append(p.call.Charges, *c)
	return len(p.call.Charges) - 1, nil
}

// samePolicy compares what is counted and how. A rule with a Settle has put its Block off, and a plan is but a label.
func samePolicy(a, b halt.Policy) bool {
	a.Block, b.Block, a.Plan, b.Plan = 0, 0, "", ""
	return a == b
}

// evict takes the resolved rules of the i-th charge out, which a static rule has taken over.
func (p *Pass[R]) evict(i int) error {
	kept := p.entries[:0]
	for n := range p.entries {
		if e := p.entries[n]; e.charge != i {
			kept = append(kept, e)
		} else if !p.spoiled(n, ErrSameBudget) {
			return errDenied
		}
	}
	p.entries = kept
	return nil
}

// errDenied: the request is denied, and what for is recorded.
var errDenied = errors.New("halt: denied")

// spoiled tells OnError that a rule failed. It reports false if the request is denied for it.
func (p *Pass[R]) spoiled(n int, err error) bool {
	e := &p.entries[n]
	p.guard.tell(p.r, &RuleError{Rule: e.rule, Policy: e.policy.Name, Err: err})
	if !p.guard.config.FailClosed || p.guard.config.Rules[e.rule].Shadow {
		return true
	}
	p.denial = Denial{Reason: Unavailable}
	return false
}

// failed records that the store could not decide.
func (p *Pass[R]) failed(err error) {
	p.guard.tell(p.r, err)
	if p.guard.config.FailClosed {
		p.denial = Denial{Reason: Unavailable}
	}
}

// refuse records why the call was refused.
func (p *Pass[R]) refuse() {
	p.denial = Denial{Reason: QuotaExceeded, RetryAfter: p.call.Decisions.RetryAfter()}
	for i := range p.call.Charges {
		d := &p.call.Decisions[i]
		if d.Mode != halt.Take || d.Allowed {
			continue
		}
		p.denial.Violated = append(p.denial.Violated, p.call.Charges[i].Policy.Name)
		if p.denial.Policy.Name == "" || d.RetryAfter > p.denial.Decision.RetryAfter {
			p.denial.Policy, p.denial.Decision = p.call.Charges[i].Policy, *d
		}
	}
	for i := range p.entries {
		if e := &p.entries[i]; e.policy.Name == p.denial.Policy.Name {
			p.denial.Policy = e.policy // with the Block that its charge was made without
			break
		}
	}
}

// Denied returns why the request is denied, if it is.
func (p *Pass[R]) Denied() (Denial, bool) { return p.denial, p.denial.Reason != 0 }

// Verdict returns the charges and decisions of this guard alone, for headers. It has none if nothing could be decided.
// Its slices are valid until Leave.
func (p *Pass[R]) Verdict() Verdict {
	if !p.decided {
		return Verdict{}
	}
	return Verdict{Charges: p.call.Charges, Decisions: p.call.Decisions}
}

// Context returns the request's context; with Config.Attach, one that has the Verdict.
func (p *Pass[R]) Context() context.Context {
	if !p.guard.config.Attach || !p.decided {
		return p.ctx
	}
	return attach(p.ctx, p.call.Charges, p.call.Decisions)
}

// Delay returns how long the request has to wait before its handler runs.
func (p *Pass[R]) Delay() time.Duration {
	if !p.decided {
		return 0
	}
	return p.call.Decisions.Delay()
}

// Wait waits for the Delay. If the request's context ends sooner it returns its error, and the handler must not run.
func (p *Pass[R]) Wait() error {
	d := p.Delay()
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-p.ctx.Done():
		return p.ctx.Err()
	}
}
