package guard

import (
	"errors"
	"log/slog"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/internal/seldom"
)

// log tells the operator that a rule failed, when no OnError does.
func (g *Guard[R]) log(err error, failedOpen bool) {
	var attrs []any
	if rule := (*RuleError)(nil); errors.As(err, &rule) {
		attrs = []any{"rule", rule.Rule, "policy", rule.Policy}
	}
	g.failures.Log("halt: rule failed", err, failedOpen, attrs...)
}

// FailureLog tells the operator of limits that fail, where no OnError does, in one line in ten seconds: for adapters that
// make charges beside a Guard's. The zero value is ready to use, by several goroutines at once.
type FailureLog struct{ gate seldom.Gate }

// Log writes to slog.Default what kind of failure err is: never its text, which is the user's and can hold internals or
// keys. That a request has no key is no failure, since any client can leave it out: that isn't logged.
func (l *FailureLog) Log(message string, err error, failedOpen bool, attrs ...any) {
	if errors.Is(err, ErrNoKey) {
		return
	}
	if suppressed, due := l.gate.Due(seldom.Every); due {
		attrs = append([]any{"error", kind(err), "failed_open", failedOpen, "suppressed", suppressed}, attrs...)
		slog.Default().Warn(message, attrs...)
	}
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
