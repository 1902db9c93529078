package guard

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// failureLog tells the operator that rules fail when no OnError does: one line in ten seconds.
type failureLog struct {
	last       atomic.Int64 // Unix nanoseconds of the last line
	suppressed atomic.Int64
}

const failureLogEvery = 10 * time.Second

// log writes what kind of failure err is; never its text, which is the user's and can hold internals or keys. That a
// shadow rule finds no key is what it is there to find out, and no failure.
func (f *failureLog) log(err error, failedOpen bool) {
	if errors.Is(err, ErrNoKey) {
		return
	}
	now, last := time.Now().UnixNano(), f.last.Load()
	if d := now - last; last != 0 && 0 <= d && d < int64(failureLogEvery) || !f.last.CompareAndSwap(last, now) {
		f.suppressed.Add(1)
		return
	}
	attrs := []any{"error", kind(err), "failed_open", failedOpen, "suppressed", f.suppressed.Swap(0)}
	var rule *RuleError
	if errors.As(err, &rule) {
		attrs = append(attrs, "rule", rule.Rule, "policy", rule.Policy)
	}
	slog.Default().Warn("halt: rule failed", attrs...)
}

// kind is halt.ErrorKind, and this package's own kinds.
func kind(err error) string {
	switch {
	case errors.Is(err, ErrPanic):
		return "panic"
	case errors.Is(err, ErrNegativeCost):
		return "negative_cost"
	case errors.Is(err, ErrSameBudget):
		return "same_budget"
	}
	return halt.ErrorKind(err)
}
