package guard

import (
	"context"
	"net/http"
	"slices"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// Reason says why a request was denied.
type Reason uint8

const (
	// QuotaExceeded: a policy refused it. Status 429.
	QuotaExceeded Reason = iota + 1
	// MissingKey: it lacks what a rule needs to tell whose budget it is. Status 400.
	MissingKey
	// Unavailable: it could not be decided, and the configuration fails closed. Status 503.
	Unavailable
)

var reasonNames = [...]string{"none", "quota exceeded", "missing key", "unavailable"}

// String returns the reason in English, such as "quota exceeded".
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return "unknown"
}

// Denial is why a request was denied, and when to come again.
type Denial struct {
	Reason Reason
	// Policy and Decision are those of the rule that refuses the longest. They are zero for other reasons than
	// QuotaExceeded, but Policy.Name, which for a MissingKey says whose rule's key it is.
	Policy   halt.Policy
	Decision halt.Decision
	// RetryAfter is when the same request would be admitted, if nobody else spends: halt.Never if waiting does not help.
	RetryAfter time.Duration
	// Violated are the names of all policies that refused it, in the order of the rules.
	Violated []string
}

// Status returns the HTTP status that fits: 429, 400 or 503.
func (d Denial) Status() int {
	switch d.Reason {
	case MissingKey:
		return http.StatusBadRequest
	case Unavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusTooManyRequests
	}
}

// RetrySeconds returns RetryAfter in whole seconds, rounded up, as the field Retry-After has it. It is 0 if there is
// nothing to say: waiting does not help, or nobody knows.
func (d Denial) RetrySeconds() int64 {
	if d.RetryAfter == halt.Never {
		return 0
	}
	return Seconds(d.RetryAfter)
}

// Seconds returns d in whole seconds, rounded up.
func Seconds(d time.Duration) int64 {
	return int64(d/time.Second) + min(int64(d%time.Second), 1)
}

// Verdict is what the guards that a request has passed so far decided, for its handler to read.
type Verdict struct {
	Charges   []halt.Charge
	Decisions halt.Decisions // one per charge
}

// Of returns the decision under the policy of that name, of the guard passed last; not that of a shadow rule.
func (v Verdict) Of(policy string) (halt.Decision, bool) { return v.last(policy, false) }

// OfShadow is Of for the shadow rule of a policy: what it would have decided.
func (v Verdict) OfShadow(policy string) (halt.Decision, bool) { return v.last(policy, true) }

func (v Verdict) last(policy string, shadow bool) (halt.Decision, bool) {
	for i, c := range slices.Backward(v.Charges) {
		if c.Policy.Name == policy && (c.Mode == halt.Shadow) == shadow {
			return v.Decisions[i], true
		}
	}
	return halt.Decision{}, false
}

type verdictKey struct{}

// VerdictOf returns the Verdict that guards with Attach have put into the context: an empty one if there were none.
func VerdictOf(ctx context.Context) Verdict {
	v, _ := ctx.Value(verdictKey{}).(*Verdict)
	if v == nil {
		return Verdict{}
	}
	return *v
}

// attach returns a context with what was decided before, and this.
func attach(ctx context.Context, cs []halt.Charge, ds halt.Decisions) context.Context {
	before := VerdictOf(ctx)
	v := &Verdict{
		Charges:   append(slices.Clip(before.Charges), cs...),
		Decisions: append(slices.Clip(before.Decisions), ds...),
	}
	return context.WithValue(ctx, verdictKey{}, v)
}

// Attach returns a context with what VerdictOf returns of ctx, and v: for adapters whose handler's context is not the one
// that the guard was entered with. It copies v.
func Attach(ctx context.Context, v Verdict) context.Context {
	return attach(ctx, v.Charges, v.Decisions)
}
