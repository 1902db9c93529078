package haltgqlgen

import (
	"errors"
	"fmt"
	"slices"

	"github.com/vektah/gqlparser/v2/gqlerror"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
)

// The codes that errors have in extensions.code.
const (
	// CodeRateLimited: a policy refused it; or, without a policy, it selects more limited fields than Config.MaxFields, or
	// so many others around them that they can't be told in 20,000 steps.
	CodeRateLimited = "RATE_LIMITED"
	// CodeKeyMissing: it lacks what a rule needs to tell whose budget it is.
	CodeKeyMissing = "RATE_LIMIT_KEY_MISSING"
	// CodeUnavailable: it could not be decided, and the Config fails closed.
	CodeUnavailable = "RATE_LIMIT_UNAVAILABLE"
)

// FieldError tells OnError which limit of a field failed, or, without a Policy, its function in the ComplexityRoot.
type FieldError struct {
	Field  string // "Mutation.login"
	Policy string // the policy's name, if it is known
	Err    error
}

// Error names the field and the failure. The failure's text is the user's own: it is for logs, not for clients.
func (e *FieldError) Error() string {
	name := e.Policy
	if name != "" {
		name = " " + name
	}
	return fmt.Sprintf("halt: field %s%s: %v", e.Field, name, e.Err)
}

// Unwrap returns Err.
func (e *FieldError) Unwrap() error { return e.Err }

// refusal returns the error that tells a denial: what the client may know, and nothing of what went wrong inside.
func refusal(d Denial) *gqlerror.Error {
	switch d.Reason {
	case guard.MissingKey:
		return coded("The request lacks what says whose limit it counts against.", CodeKeyMissing)
	case guard.Unavailable:
		return coded("The request's limits could not be checked.", CodeUnavailable)
	default:
	}
	e := coded("Too many requests.", CodeRateLimited)
	if d.Policy.Name == "" {
		e.Message = "Too many fields in one operation."
		return e
	}
	e.Extensions["policy"] = d.Policy.Name
	e.Extensions["limit"] = d.Decision.Limit
	e.Extensions["remaining"] = d.Decision.Remaining
	e.Extensions["resetAfter"] = guard.Seconds(d.Decision.ResetAfter)
	e.Extensions["retryAfter"] = nil // waiting does not help
	if d.RetryAfter != halt.Never {
		e.Extensions["retryAfter"] = guard.Seconds(d.RetryAfter)
	}
	return e
}

func coded(message, code string) *gqlerror.Error {
	return &gqlerror.Error{Message: message, Extensions: map[string]any{"code": code}}
}

// faults gathers what is wrong with a configuration.
type faults struct{ list []halt.Fault }

func (f *faults) add(field, format string, args ...any) {
	f.list = append(f.list, halt.Fault{Field: field, Want: fmt.Sprintf(format, args...)})
}

// once adds a fault of a field that may be found several times over.
func (f *faults) once(field, format string, args ...any) {
	if !slices.ContainsFunc(f.list, func(o halt.Fault) bool { return o.Field == field }) {
		f.add(field, format, args...)
	}
}

// policy adds the faults of a policy.
func (f *faults) policy(field string, p halt.Policy) {
	if invalid, ok := errors.AsType[*halt.InvalidError](p.Validate()); ok {
		for _, fault := range invalid.Faults {
			f.add(field+"."+fault.Field, "%s", fault.Want)
		}
	}
}

// err returns them as an error that matches guard.ErrInvalidConfig, or nil if there are none.
func (f *faults) err() error {
	if len(f.list) == 0 {
		return nil
	}
	return &halt.InvalidError{Kind: guard.ErrInvalidConfig, Faults: f.list}
}
