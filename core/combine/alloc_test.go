//go:build !race

package combine

import (
	"context"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// A call allocates nothing, once there is memory to use again.
func TestAllocations(t *testing.T) {
	c := New(Options{Timeout: time.Minute, MaxBatch: 10, InFlight: 2}, func() Sender[string, int] { return quiet{} })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cs, ds := []halt.Charge{policy.Charge("a", 1), policy.Charge("b", 1)}, make([]halt.Decision, 2)
	if n := testing.AllocsPerRun(2000, func() {
		if _, err := c.takeOne(ctx, "q", cs[0], 1); err != nil {
			t.Error(err)
		}
	}); n > 0 {
		t.Errorf("a call allocates %v times", n)
	}
	if n := testing.AllocsPerRun(2000, func() {
		if err := c.Take(ctx, "q", cs, ds, 1); err != nil {
			t.Error(err)
		}
	}); n > 0 {
		t.Errorf("a call of two charges allocates %v times", n)
	}
}

// quiet is a database that answers at once.
type quiet struct{}

func (quiet) Send(_ context.Context, _ string, calls []*Call[int]) {
	for _, w := range calls {
		w.Answer(nil)
	}
}
