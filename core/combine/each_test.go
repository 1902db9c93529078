package combine

import (
	"context"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// What panics in a call that is decided charge by charge is the caller's to recover, as with halt.TakeEach.
func TestTakeEachPanics(t *testing.T) {
	defer func() {
		if got := recover(); got != "a driver's bug" {
			t.Errorf("recovered %v", got)
		}
	}()
	cs := []halt.Charge{policy.Charge("k", 1), policy.Charge("l", 1)}
	err := TakeEach(t.Context(), time.Minute, cs, make([]halt.Decision, 2), func(context.Context, []halt.Charge, []halt.Decision) error {
		panic("a driver's bug")
	})
	t.Errorf("it returned %v", err)
}
