package guard_test

import (
	"testing"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
)

// TestAttach: a verdict is put beside those before it, and is a copy.
func TestAttach(t *testing.T) {
	verdict := func(name string) guard.Verdict {
		return guard.Verdict{Charges: []halt.Charge{{Policy: halt.Policy{Name: name}}}, Decisions: halt.Decisions{{Limit: int64(len(name))}}}
	}
	first, second := verdict("a"), verdict("bb")
	before := guard.Attach(t.Context(), first)
	both := guard.Attach(before, second)
	first.Decisions[0].Limit, second.Decisions[0].Limit = 0, 0
	for name, limit := range map[string]int64{"a": 1, "bb": 2} {
		if d, ok := guard.VerdictOf(both).Of(name); !ok || d.Limit != limit {
			t.Errorf("%s: %+v, %v", name, d, ok)
		}
	}
	if got := len(guard.VerdictOf(before).Charges); got != 1 {
		t.Errorf("the context before has %d charges, want 1", got)
	}
}
