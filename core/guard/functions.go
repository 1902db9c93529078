package guard

import (
	"context"
	"fmt"

	halt "github.com/halt-dev/halt/core"
)

// exempt asks Config.Exempt. A panic exempts nobody.
func (g *Guard[R]) exempt(r R) (exempt bool) {
	if g.config.Exempt == nil {
		return false
	}
	defer g.caught(r, func() { exempt = false })
	return g.config.Exempt(r)
}

func (g *Guard[R]) route(r R) (route string) {
	defer g.caught(r, func() { route = "" })
	return g.config.Route(r)
}

// caught, deferred, tells of a panic and calls then.
func (g *Guard[R]) caught(r R, then func()) {
	if v := recover(); v != nil {
		then()
		g.tell(r, panicked(v), false)
	}
}

// tell tells OnError, or without one the log, that one of the user's functions failed, and whether a rule that should have
// bound the request is skipped for it.
func (g *Guard[R]) tell(r R, err error, failedOpen bool) {
	if g.config.OnError == nil {
		g.log(err, failedOpen)
		return
	}
	g.observe(r, err)
}

// tellStore tells OnError that the store failed. Observers and the log have heard it from the limiter.
func (g *Guard[R]) tellStore(r R, err error) {
	if g.config.OnError != nil {
		g.observe(r, err)
	}
}

// observe calls OnError. What that panics with is dropped: it is an observer.
func (g *Guard[R]) observe(r R, err error) {
	defer func() { _ = recover() }()
	g.config.OnError(r, err)
}

func panicked(v any) error { return fmt.Errorf("%w: %v", ErrPanic, v) }

func (p *Pass[R]) cost(rule *Rule[R]) (n int64, err error) {
	if rule.Cost == nil {
		return 1, nil
	}
	defer func() {
		if v := recover(); v != nil {
			err = panicked(v)
		}
	}()
	if n = rule.Cost(p.r); n < 0 {
		return 0, ErrNegativeCost
	}
	return n, nil
}

// maxScratch bounds what a pass keeps for making keys: a request with a huge one must not cost memory for good.
const maxScratch = 1024

func (p *Pass[R]) key(rule *Rule[R]) (key string, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = panicked(v)
		}
	}()
	if rule.Key.same != "" {
		return rule.Key.same, nil
	}
	b, ok := rule.Key.add(p.scratch[:0], p.r)
	if len(b) > longestKey {
		b = hashed(p.scratch[:0], b)
	}
	if cap(b) != cap(p.scratch) && cap(b) <= maxScratch {
		p.scratch = b
	}
	if !ok {
		return "", nil
	}
	return p.memory.keys.string(b, keyBlock), nil
}

func (p *Pass[R]) policy(rule *Rule[R]) (policy halt.Policy, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = panicked(v)
		}
	}()
	ctx, cancel := context.WithTimeout(p.ctx, p.guard.config.ResolveTimeout)
	defer cancel()
	if policy, err = rule.Resolve(ctx, p.r); err == nil {
		err = ctx.Err() // one that did not look at its context is late all the same
	}
	if err != nil {
		return halt.Policy{}, err
	}
	if err = policy.Validate(); err != nil {
		return halt.Policy{}, err
	}
	if rule.Settle != nil && !settles(&policy) {
		return halt.Policy{}, &halt.InvalidError{Kind: halt.ErrInvalidPolicy, Policy: policy.Name, Faults: []halt.Fault{
			{Field: "Algorithm", Want: "FixedWindow, SlidingWindow or InFlight, to be settled"},
		}}
	}
	return policy, nil
}
