package guard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// ErrInvalidConfig: a Config can't be used. The error is a [*halt.InvalidError] that names every fault by field.
var ErrInvalidConfig = errors.New("halt: invalid configuration")

// Errors that OnError is told, beside those of the store and of the user's own functions.
var (
	// ErrPanic: one of the user's functions panicked. What it panicked with is in the error's text.
	ErrPanic = errors.New("halt: panic in a rule's function")
	// ErrNegativeCost: a rule's Cost or Settle returned less than 0.
	ErrNegativeCost = errors.New("halt: negative cost")
	// ErrNoKey: a rule found no key in the request, which is refused for it (400), unless the rule is a shadow.
	ErrNoKey = errors.New("halt: no key in the request")
	// ErrSameBudget: two rules with unequal policies drew on one budget.
	ErrSameBudget = errors.New("halt: two rules of unequal policies meet on one budget")
)

// RuleError tells OnError which rule failed.
type RuleError struct {
	Rule   int    // its index in Config.Rules
	Policy string // the policy's name, if it is known
	Err    error
}

// Error names the rule and the failure. The failure's text is the user's own: it is for logs, not for clients.
func (e *RuleError) Error() string {
	name := e.Policy
	if name != "" {
		name = " " + name
	}
	return fmt.Sprintf("halt: Rules[%d]%s: %v", e.Rule, name, e.Err)
}

// Unwrap returns Err.
func (e *RuleError) Unwrap() error { return e.Err }

// Rule is one limit on requests of type R.
type Rule[R any] struct {
	// Policy is what is allowed. Either it or Resolve is set.
	Policy halt.Policy
	// Resolve finds the policy of a request: of its user's plan, say. A PolicyCache's Get makes a good one. Its context ends
	// with the request, or after Config.ResolveTimeout, which it must heed: one that does not holds its request up, and what
	// it returns then counts as a failure. If it fails, the rule is skipped, or with FailClosed the request
	// refused: so a PolicyCache wants a Default, or whoever is unknown is not limited.
	Resolve func(ctx context.Context, r R) (halt.Policy, error)
	// Key says whose budget it is. Required.
	Key Key[R]
	// Cost is what the request costs; nil: 1. At 0 the rule doesn't apply. It is asked before the key and the policy. A cost
	// below 0 refuses the request (503), FailClosed or not: of a figure that the client gives, see to its least value.
	Cost func(R) int64
	// Settle, if set, is asked for the true cost after the handler; what Cost reserved until then is corrected by it. The
	// policy's algorithm must be FixedWindow, SlidingWindow or InFlight, since a bucket drains what was reserved.
	//
	// With a Block in the policy, the block begins when a request whose true cost isn't 0 spends the last of the budget.
	// What requests still under way have reserved counts as spent until then. A Resolve that returns a bucket fails.
	Settle func(R, Outcome) int64
	// Shadow makes the rule one that only observes: it spends on a budget of its own and refuses, delays and shows nothing.
	Shadow bool
}

// Config are the rules of a guard. All rules that apply to a request are one call: either all of them spend, or none.
type Config[R any] struct {
	Rules []Rule[R]
	// Exempt requests pass without asking anything.
	Exempt func(R) bool
	// Route names a request's route for observers: its pattern, never its path.
	Route func(R) string
	// FailClosed refuses requests (503) when the store or a rule fails. By default a failing store admits and a failing
	// rule is skipped; but a request whose own context has ended is refused, or hanging up would get one past the limits.
	FailClosed bool
	// Attach puts the Verdict into the context that Pass.Context returns.
	Attach bool
	// ResolveTimeout is how long each Resolve may take, told by its context. 0: 2 s, which is longer than a
	// PolicyCache with its default LoadTimeout makes a request wait.
	ResolveTimeout time.Duration
	// OnError observes what fails, a [*RuleError] or the store's error, and requests without a key. It must not write to the
	// request. Without it, what fails in a rule is logged to slog.Default, one in ten seconds; a failing store is left to the
	// limiter to tell, and a key that is missing to the response.
	OnError func(R, error)
}

// Outcome is how a request ended, for Settle.
type Outcome struct {
	Status   int   // the response's HTTP status; 500 after a panic, StatusClientClosed if the client left during a delay
	Reserved int64 // what the rule's Cost reserved
	Err      error // what the handler returned, where handlers return errors
}

// StatusClientClosed is the status of an Outcome whose client left before the handler ran: nginx's 499.
const StatusClientClosed = 499

// ChargeOn returns a Settle that keeps the reserved cost if the response's status is one of these, and gives it back
// otherwise: ChargeOn(401) counts failed logins.
func ChargeOn[R any](status ...int) func(R, Outcome) int64 {
	status = slices.Clone(status)
	return func(_ R, o Outcome) int64 {
		if slices.Contains(status, o.Status) {
			return o.Reserved
		}
		return 0
	}
}

// check returns every fault of c as an *halt.InvalidError, or nil.
func (c *Config[R]) check(l *halt.Limiter) error {
	e := &halt.InvalidError{Kind: ErrInvalidConfig}
	fault := func(field, want string) { e.Faults = append(e.Faults, halt.Fault{Field: field, Want: want}) }
	if l == nil {
		fault("the limiter", "not nil")
	}
	if len(c.Rules) == 0 {
		fault("Rules", "one or more")
	}
	if c.ResolveTimeout < 0 {
		fault("ResolveTimeout", "0 (2 s) or more")
	}
	for i := range c.Rules {
		r := &c.Rules[i]
		at := fmt.Sprintf("Rules[%d].", i)
		switch {
		case r.Resolve != nil && r.Policy != (halt.Policy{}):
			fault(at+"Policy", "left out, or Resolve")
		case r.Resolve == nil && r.Policy == (halt.Policy{}):
			fault(at+"Policy", "set, or Resolve")
		case r.Resolve == nil:
			c.checkPolicy(i, at, fault)
		}
		if f := firstFault(r.Key); r.Key.add == nil && r.Key.fault == "" {
			fault(at+"Key", "set")
		} else if f != "" {
			fault(at+"Key", f)
		}
	}
	if len(e.Faults) == 0 {
		return nil
	}
	return e
}

func (c *Config[R]) checkPolicy(i int, at string, fault func(field, want string)) {
	r := &c.Rules[i]
	var invalid *halt.InvalidError
	if errors.As(r.Policy.Validate(), &invalid) {
		for _, f := range invalid.Faults {
			fault(at+"Policy."+f.Field, f.Want)
		}
	}
	if r.Settle != nil && !settles(&r.Policy) {
		fault(at+"Policy.Algorithm", "FixedWindow, SlidingWindow or InFlight, to be settled")
	}
	for j := range c.Rules[:i] {
		o := &c.Rules[j]
		if o.Resolve == nil && r.Policy.Name != "" && o.Policy.Name == r.Policy.Name && o.Policy != r.Policy && o.Shadow == r.Shadow {
			fault(at+"Policy.Name", fmt.Sprintf("another than that of Rules[%d], whose policy is not the same", j))
		}
	}
}

// settles tells whether a policy gives back exactly what was not used. A bucket has drained it meanwhile.
func settles(p *halt.Policy) bool {
	return p.Limit == halt.Unlimited || p.Algorithm >= halt.FixedWindow
}
