package guard

import (
	"errors"
	"log/slog"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/internal/seldom"
)

// log tells the operator that a rule failed, when no OnError does: what kind of failure err is; never its text, which is the
// user's and can hold internals or keys. That a request has no key is no failure: any client can leave it out.
func (g *Guard[R]) log(err error) {
	if errors.Is(err, ErrNoKey) {
		return
	}
	suppressed, due := g.failures.Due(seldom.Every)
	if !due {
		return
	}
	attrs := []any{"error", kind(err), "failed_open", !g.config.FailClosed, "suppressed", suppressed}
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
