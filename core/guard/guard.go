package guard

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// Guard applies the rules of a Config to requests. It is safe for concurrent use.
type Guard[R any] struct {
	limiter  *halt.Limiter
	config   Config[R]
	order    []int // indices into config.Rules: rules whose key everyone shares come last
	pool     sync.Pool
	failures FailureLog
}

// New returns a guard. A Config that can't be used is an error that matches ErrInvalidConfig and names every fault.
func New[R any](l *halt.Limiter, c Config[R]) (*Guard[R], error) {
	if err := c.check(l); err != nil {
		return nil, err
	}
	if c.ResolveTimeout == 0 {
		c.ResolveTimeout = 2 * time.Second // longer than a PolicyCache waits
	}
	c.Rules = append([]Rule[R](nil), c.Rules...)
	g := &Guard[R]{limiter: l, config: c}
	g.pool.New = func() any { return &Pass[R]{guard: g} }
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
	rule     int
	charge   int         // index of its charge; rules that meet on a budget share one
	cost     int64       // the rule's own part of it
	resolved halt.Policy // of a rule with a Resolve
}

// policyOf returns the policy of an entry's rule.
func (p *Pass[R]) policyOf(e *entry) *halt.Policy {
	if rule := &p.guard.config.Rules[e.rule]; rule.Resolve == nil {
		return &rule.Policy
	}
	return &e.resolved
}

// Pass is a request on its way through a guard. It is not safe for concurrent use, and must not be used after Leave.
type Pass[R any] struct {
	guard   *Guard[R]
	r       R
	ctx     context.Context
	call    halt.Call
	after   halt.Call // what corrects the call in the end
	entries []entry
	held    []int // of the n-th charge: 1 + the rule whose policy it still has from a request before; 0: none's
	due     []due
	denial  Denial
	decided bool   // the call has decisions
	settles bool   // some rule has a true cost that is known only in the end
	scratch []byte // keys are made in it
	memory  memory
}

// Enter decides a request and returns its pass, on which Leave must be called, or nil if the request is exempt. ctx is
// the request's: its end ends a delay and, for stores that wait, the decision.
func (g *Guard[R]) Enter(ctx context.Context, r R) *Pass[R] {
	if g.exempt(r) {
		return nil
	}
	p := g.pool.Get().(*Pass[R])
	p.r, p.ctx = r, ctx
	p.call.FailOpen = !g.config.FailClosed
	if !p.gather() || len(p.call.Charges) == 0 {
		return p
	}
	if g.config.Route != nil && g.limiter.Observed() {
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
		if err == nil && key == "" {
			err = ErrNoKey
			if !rule.Shadow {
				p.guard.tell(p.r, &RuleError{Rule: i, Policy: rule.Policy.Name, Err: err}, false)
				p.denial = Denial{Reason: MissingKey, Policy: halt.Policy{Name: rule.Policy.Name}}
				return false
			}
		}
		if err == nil {
			n := len(p.entries)
			p.grow()
			p.call.Charges[n].Key = key
			p.entries[n].rule, p.entries[n].cost = i, cost
		} else if !p.spoiled(i, rule.Policy.Name, err) {
			return false
		}
	}
	// No policy is looked up for a request without a key.
	return p.resolve()
}

// grow makes room for one more charge and its entry, which are what the last request has left of them: to write such would
// cost a copy.
func (p *Pass[R]) grow() {
	n := len(p.entries)
	if n == cap(p.entries) || n == cap(p.held) || n == cap(p.call.Charges) {
		p.call.Charges = append(p.call.Charges, halt.Charge{})
		p.entries, p.held = append(p.entries, entry{}), append(p.held, 0)
		return
	}
	p.call.Charges = p.call.Charges[:n+1] // one by one: so no pointer is written
	p.entries = p.entries[:n+1]
	p.held = p.held[:n+1]
}

// resolve finds the policies of the entries and completes their charges; it takes out those that fail, and merges those
// that meet on one budget.
func (p *Pass[R]) resolve() bool {
	charges, entries := p.call.Charges, p.entries
	if len(entries) == 1 && p.held[0] == entries[0].rule+1 { // as in the request before, but for key and cost
		e := &entries[0]
		charges[0].Cost, e.charge = e.cost, 0
		p.settles = p.settling(e)
		return true
	}
	p.call.Charges = p.call.Charges[:0]
	p.entries = p.entries[:0]
	ok := p.complete(charges, entries)
	if n := len(p.call.Charges); n < len(charges) { // what failed or merged leaves nothing in the pool
		clear(charges[n:])
		clear(entries[len(p.entries):])
		clear(p.held) // the charges after it were moved
	}
	return ok
}

// complete is resolve of charges and entries, the n-th of the n-th, in place.
func (p *Pass[R]) complete(charges []halt.Charge, entries []entry) bool {
	for n := range entries {
		e, c := &entries[n], &charges[n]
		rule := &p.guard.config.Rules[e.rule]
		policy, err := p.put(c, n, e, rule)
		if err == nil {
			e.charge, err = p.merge(c, rule)
		}
		switch {
		case err == nil:
			k := len(p.entries)
			p.entries = p.entries[:k+1]
			move(&p.entries[k], e)
		case errors.Is(err, errDenied) || !p.spoiled(e.rule, policy.Name, err):
			return false
		}
	}
	for i := range p.entries {
		e := &p.entries[i]
		if c := &p.call.Charges[e.charge]; p.guard.config.Rules[e.rule].Settle != nil && c.Policy.Block != 0 {
			c.Policy.Block = 0 // it begins when the true cost is known
			p.held[e.charge] = 0
		}
		p.settles = p.settles || p.settling(e)
	}
	return true
}

// settling tells whether the true cost of an entry is known only in the end.
func (p *Pass[R]) settling(e *entry) bool {
	return p.guard.config.Rules[e.rule].Settle != nil || p.policyOf(e).Algorithm == halt.InFlight
}

// put completes the n-th charge, which is that of a rule, and returns the rule's policy.
func (p *Pass[R]) put(c *halt.Charge, n int, e *entry, rule *Rule[R]) (policy *halt.Policy, err error) {
	policy = &rule.Policy
	switch {
	case rule.Resolve != nil:
		policy, p.held[n] = &e.resolved, 0
		if e.resolved, err = p.policy(rule); err != nil {
			return policy, err
		}
		c.Policy = *policy
	case p.held[n] != e.rule+1:
		c.Policy, p.held[n] = *policy, e.rule+1
	}
	c.Cost, c.Mode = e.cost, halt.Take
	if rule.Shadow {
		c.Mode = halt.Shadow
	}
	return policy, nil
}

// move copies *from, if that is not where it is to be.
func move[T any](to, from *T) {
	if to != from {
		*to = *from
	}
}

// merge adds the charge of a rule to the call and returns its index: that of the one on the same budget, if there is
// one. Of two rules that meet with unequal policies it is a resolved one that fails: New has seen to the others.
func (p *Pass[R]) merge(c *halt.Charge, rule *Rule[R]) (int, error) {
	for i := range p.call.Charges {
		o := &p.call.Charges[i]
		switch {
		case o.Policy.Name != c.Policy.Name || o.Key != c.Key || o.Mode != c.Mode:
		case samePolicy(o.Policy, c.Policy):
			o.Cost = sum(o.Cost, c.Cost)
			return i, nil
		case halt.StorageKey("", *o) != halt.StorageKey("", *c):
		case rule.Resolve != nil:
			return -1, ErrSameBudget
		default:
			*o = *c
			return i, p.evict(i)
		}
	}
	n := len(p.call.Charges)
	p.call.Charges = p.call.Charges[:n+1]
	move(&p.call.Charges[n], c)
	return n, nil
}

// samePolicy compares all but the plan, which is only a label.
func samePolicy(a, b halt.Policy) bool {
	a.Plan, b.Plan = "", ""
	return a == b
}

// evict takes the resolved rules of the i-th charge out, which a static rule has taken over.
func (p *Pass[R]) evict(i int) error {
	kept := p.entries[:0]
	for n := range p.entries {
		if e := p.entries[n]; e.charge != i {
			kept = append(kept, e)
		} else if !p.spoiled(e.rule, p.policyOf(&e).Name, ErrSameBudget) {
			return errDenied
		}
	}
	p.entries = kept
	return nil
}

// errDenied: the request is denied, and what for is recorded.
var errDenied = errors.New("halt: denied")

// spoiled tells that a rule failed. It reports false if the request is denied for it.
func (p *Pass[R]) spoiled(rule int, policy string, err error) bool {
	shadow := p.guard.config.Rules[rule].Shadow
	// A cost below 0 is often the client's own figure: skipping the rule would be a way past it.
	open := !shadow && !p.closed() && !errors.Is(err, ErrNegativeCost)
	p.guard.tell(p.r, &RuleError{Rule: rule, Policy: policy, Err: err}, open)
	if shadow || open {
		return true
	}
	p.denial = Denial{Reason: Unavailable}
	return false
}

// closed tells whether a failure refuses the request: with FailClosed, or if its own end may be what made it fail. Who
// hangs up at once must not get past the limits by it.
func (p *Pass[R]) closed() bool { return p.guard.config.FailClosed || p.ctx.Err() != nil }

// failed records that the store could not decide.
func (p *Pass[R]) failed(err error) {
	p.guard.tellStore(p.r, err)
	if p.closed() {
		p.denial = Denial{Reason: Unavailable}
	}
}

// refuse records why the call was refused.
func (p *Pass[R]) refuse() {
	p.denial = Denial{Reason: QuotaExceeded, RetryAfter: p.call.Decisions.RetryAfter()}
	for i := range p.guard.config.Rules {
		for n := range p.entries {
			if e := &p.entries[n]; e.rule == i {
				p.violated(e)
			}
		}
	}
}

// violated adds the policy of a rule to the denial, if it refused.
func (p *Pass[R]) violated(e *entry) {
	d := &p.call.Decisions[e.charge]
	if d.Mode != halt.Take || d.Allowed {
		return
	}
	policy := p.policyOf(e)
	if len(p.denial.Violated) == 0 || d.RetryAfter > p.denial.Decision.RetryAfter {
		p.denial.Policy, p.denial.Decision = *policy, *d // of its charge, the Block may have been put off
	}
	if !slices.Contains(p.denial.Violated, policy.Name) {
		p.denial.Violated = append(p.denial.Violated, policy.Name)
	}
}

// Admitted tells whether the request is not denied.
func (p *Pass[R]) Admitted() bool { return p.denial.Reason == 0 }

// Denied returns why the request is denied, if it is. A Denial is large: ask Admitted first.
func (p *Pass[R]) Denied() (Denial, bool) { return p.denial, p.denial.Reason != 0 }

// Verdict returns the charges and decisions of this guard alone, for headers. It has none if nothing could be decided.
// Its slices are valid until Leave, and to be read only.
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

// Delay returns how long the request has to wait before its handler runs; 0 if it is denied.
func (p *Pass[R]) Delay() time.Duration {
	if !p.decided || p.denial.Reason != 0 {
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
