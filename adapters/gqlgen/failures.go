package haltgqlgen

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
)

// failureLog tells the operator that limits of fields or events fail when no OnError does: one line in ten seconds, as
// guards do for rules.
type failureLog struct {
	last       atomic.Int64 // Unix nanoseconds of the last line
	suppressed atomic.Int64
}

const failureLogEvery = 10 * time.Second

// write writes what kind of failure err is; never its text, which is the user's and can hold internals or keys.
func (f *failureLog) write(err error, failedOpen bool) {
	now, last := time.Now().UnixNano(), f.last.Load()
	if d := now - last; last != 0 && 0 <= d && d < int64(failureLogEvery) || !f.last.CompareAndSwap(last, now) {
		f.suppressed.Add(1)
		return
	}
	kind := halt.ErrorKind(err)
	switch {
	case errors.Is(err, guard.ErrPanic):
		kind = "panic"
	case errors.Is(err, guard.ErrNegativeCost):
		kind = "negative_cost"
	case errors.Is(err, guard.ErrSameBudget):
		kind = "same_budget"
	}
	attrs := []any{"error", kind, "failed_open", failedOpen, "suppressed", f.suppressed.Swap(0)}
	if field, ok := errors.AsType[*FieldError](err); ok {
		attrs = append(attrs, "field", field.Field, "policy", field.Policy)
	}
	slog.Default().Warn("halt: limit failed", attrs...)
}

// tell tells OnError, or without one the log, that one of the user's functions failed.
func (e *extension) tell(o *Operation, err error) {
	if e.config.OnError == nil {
		e.log.write(err, !e.config.FailClosed && !errors.Is(err, errNegativeCost))
		return
	}
	e.observe(o, err)
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
