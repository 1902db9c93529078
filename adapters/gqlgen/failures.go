package haltgqlgen

import "fmt"

// tell tells OnError, or without one the log, that one of the user's functions failed, and whether a limit that should
// have bound the operation, a field or an event is skipped for it. For the log, attrs say where it failed.
func (e *extension) tell(o *Operation, err error, failedOpen bool, attrs ...any) {
	if e.config.OnError == nil {
		e.log.Log("halt: limit failed", err, failedOpen, attrs...)
		return
	}
	e.observe(o, err)
}

// tellField is tell of a field's limit, or, without a policy, of its function in the ComplexityRoot.
func (e *extension) tellField(o *Operation, field, policy string, err error, failedOpen bool) {
	e.tell(o, &FieldError{Field: field, Policy: policy, Err: err}, failedOpen, "field", field, "policy", policy)
}

// tellFunction is tell of a function that the Config has but once, by its name: "Events.Key".
func (e *extension) tellFunction(o *Operation, name string, err error, failedOpen bool) {
	e.tell(o, fmt.Errorf("halt: %s: %w", name, err), failedOpen, "function", name)
}

// tellStore tells OnError that the store failed. Observers and the log have heard it from the limiter.
func (e *extension) tellStore(o *Operation, err error) {
	if e.config.OnError != nil {
		e.observe(o, err)
	}
}

// observe calls OnError. What that panics with is dropped: it is an observer.
func (e *extension) observe(o *Operation, err error) {
	defer func() { _ = recover() }()
	e.config.OnError(o, err)
}
