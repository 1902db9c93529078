//go:build !race

package haltmongo

import (
	"context"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// A decision of a caller who is alone allocates at most 110 times, what the driver does included: not more than an increment.
func TestAllocations(t *testing.T) {
	l := halt.New(newStore(t, &patient), nil)
	p := halt.Policy{Name: "api", Limit: 1_000_000, Window: time.Hour}
	n := testing.AllocsPerRun(200, func() {
		if _, err := l.Allow(context.Background(), p, "user:42"); err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("%v allocations", n)
	if n > 110 {
		t.Errorf("a decision allocates %v times", n)
	}
}
