package halt

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// The kinds of failure, to be matched with [errors.Is]. A refusal is none of them: it is a [Decision].
//
// After one of the last four, and after context.Canceled if the caller's own context was, take it as unknown whether the call
// was spent, unless the store's documentation says of a case that it was not. Repeating a Take can only admit less than the
// policy allows; a Credit or a Debit must not be repeated. An ErrDeadline matches context.DeadlineExceeded whether the store's
// time or the caller's was up: the caller's ctx.Err() tells.
var (
	// ErrInvalidPolicy: the policy can't be used; see [InvalidError] for its faults.
	ErrInvalidPolicy = errors.New("halt: invalid policy")
	// ErrInvalidCharge: the charge, or the call that it is part of, makes no sense; see [InvalidError].
	ErrInvalidCharge = errors.New("halt: invalid charge")
	// ErrUnknownPolicy: a [Registry] has no policy of that name.
	ErrUnknownPolicy = errors.New("halt: unknown policy")
	// ErrPolicyLoad: a [PolicyCache] could not load the policy of a key; see [LoadError]. The error also matches its cause.
	ErrPolicyLoad = errors.New("halt: policy could not be loaded")
	// ErrExceedsCapacity: [Limiter.Wait] was asked for more than the policy can ever hold.
	ErrExceedsCapacity = errors.New("halt: cost exceeds the policy's capacity")
	// ErrDeadline: the store did not answer in time. The error also matches its cause, often context.DeadlineExceeded.
	ErrDeadline = errors.New("halt: store did not answer in time")
	// ErrContention: too many others wrote the same key at the same time, and the store gave up.
	ErrContention = errors.New("halt: too much contention on a key")
	// ErrCorrupt: the store holds a value under this key that is not Halt's. It was left as it is.
	ErrCorrupt = errors.New("halt: store holds a foreign or corrupt value")
	// ErrStore: the store failed in any other way. The error also matches its cause.
	ErrStore = errors.New("halt: store failed")
)

// Fault is one thing wrong with a policy, a charge or a configuration.
type Fault struct {
	Field string // the field's name, such as "Window" or "Rules[2].Key"
	Want  string // what was expected of it
}

// InvalidError tells everything that is wrong with a policy or a charge. It matches its Kind with errors.Is. Its text
// never holds a key.
type InvalidError struct {
	Kind   error  // ErrInvalidPolicy, ErrInvalidCharge, or of a middleware's configuration guard.ErrInvalidConfig
	Policy string // the policy's name, as it was given
	Faults []Fault
}

// Error names the policy and its faults, by field.
func (e *InvalidError) Error() string {
	var b strings.Builder
	b.WriteString(e.Kind.Error())
	switch {
	case validName(e.Policy):
		b.WriteString(" " + e.Policy)
	case e.Policy != "":
		fmt.Fprintf(&b, " %.80q", e.Policy)
	}
	for i, f := range e.Faults {
		b.WriteString([]string{": ", "; "}[min(i, 1)])
		b.WriteString(f.Field + " must be " + f.Want)
	}
	return b.String()
}

// Unwrap returns the Kind.
func (e *InvalidError) Unwrap() error { return e.Kind }

func invalidCharge(policy, field, want string) error {
	return &InvalidError{Kind: ErrInvalidCharge, Policy: policy, Faults: []Fault{{Field: field, Want: want}}}
}

// StoreError is a failure of a store. It matches its Kind and its cause with errors.Is and errors.As.
//
// Its text includes the cause's, which is the store's client's and can tell addresses or statements: it is meant for
// the operator's eyes, not for clients. Halt itself never sends or logs it; [ErrorKind] is what it shows.
type StoreError struct {
	Kind  error // ErrStore, ErrDeadline, ErrContention or ErrCorrupt
	Cause error // may be nil
}

// Error returns the kind and the cause.
func (e *StoreError) Error() string {
	if e.Cause == nil {
		return e.Kind.Error()
	}
	return e.Kind.Error() + ": " + e.Cause.Error()
}

// Unwrap returns the kind and the cause.
func (e *StoreError) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}

// LoadError tells why a [PolicyCache] could not load a policy. It matches ErrPolicyLoad and its cause with errors.Is and
// errors.As: the load function's own error; ErrInvalidPolicy, if what it returned is no valid policy;
// context.DeadlineExceeded, if it took longer than the LoadTimeout.
//
// Its text includes the cause's, but never a panic's: it is meant for the operator's eyes, not for clients. Halt itself
// never sends it, and logs no more of it than its kind and Stack.
type LoadError struct {
	Cause error  // nil after a panic
	Panic any    // what the load function panicked with, or nil
	Stack string // where it panicked
}

// Error returns the kind, and the cause or that there was a panic.
func (e *LoadError) Error() string {
	switch {
	case e.Panic != nil:
		return ErrPolicyLoad.Error() + ": the load function panicked"
	case e.Cause != nil:
		return ErrPolicyLoad.Error() + ": " + e.Cause.Error()
	}
	return ErrPolicyLoad.Error()
}

// Unwrap returns ErrPolicyLoad and the cause.
func (e *LoadError) Unwrap() []error {
	if e.Cause == nil {
		return []error{ErrPolicyLoad}
	}
	return []error{ErrPolicyLoad, e.Cause}
}

var errorKinds = []struct {
	err  error
	name string
}{
	{ErrInvalidPolicy, "invalid_policy"},
	{ErrInvalidCharge, "invalid_charge"},
	{ErrUnknownPolicy, "unknown_policy"},
	{ErrPolicyLoad, "policy_load"},
	{ErrExceedsCapacity, "exceeds_capacity"},
	{ErrDeadline, "deadline"},
	{ErrContention, "contention"},
	{ErrCorrupt, "corrupt"},
	{ErrStore, "store"},
}

// ErrorKind returns a short, constant label of what kind of error err is, fit for a log, a metric or a span: such as
// "deadline" or "invalid_policy" (the names of the errors above, in lower case); "canceled" for context.Canceled, "other" for what is not Halt's, "" for nil.
func ErrorKind(err error) string {
	if err == nil {
		return ""
	}
	for _, k := range errorKinds {
		if errors.Is(err, k.err) {
			return k.name
		}
	}
	if errors.Is(err, context.Canceled) {
		return "canceled"
	}
	return "other"
}

// typed returns err as one of the package's kinds: as it is if it is one already, else as a StoreError.
func typed(err error) error {
	if err == nil {
		return nil
	}
	for _, k := range errorKinds {
		if errors.Is(err, k.err) {
			return err
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &StoreError{Kind: ErrDeadline, Cause: err}
	}
	return &StoreError{Kind: ErrStore, Cause: err}
}
