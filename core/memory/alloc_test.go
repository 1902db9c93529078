//go:build !race

package memory_test

import (
	"context"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
	"github.com/halt-dev/halt/core/storetest"
)

// A decision on a key that is known allocates nothing: admitted, refused, blocked, given back, alone or in a call of several.
func TestAllocNothing(t *testing.T) {
	ctx := context.Background()
	for name, p := range policies() {
		t.Run(name, func(t *testing.T) {
			s := memory.New(nil)
			l := halt.New(s, nil)
			var cs []halt.Charge
			for _, key := range []string{"a", "b", "c"} {
				cs = append(cs, p.Charge(key, 1))
			}
			ds := make([]halt.Decision, len(cs))
			debit, credit := p.Charge("a", 3), p.Charge("a", 3)
			debit.Mode, credit.Mode, credit.Taken = halt.Debit, halt.Credit, 3
			round := func() {
				for range 3 {
					if _, err := l.Allow(ctx, p, "a"); err != nil {
						t.Fatal(err)
					}
				}
				credit.At = halt.InstantOf(time.Now())
				for _, c := range []halt.Charge{debit, credit} {
					if _, err := storetest.TakeOne(ctx, s, c); err != nil {
						t.Fatal(err)
					}
				}
				if err := s.Take(ctx, cs, ds); err != nil {
					t.Fatal(err)
				}
			}
			round()
			if n := testing.AllocsPerRun(1000, round); n != 0 {
				t.Errorf("%v allocations in a round of decisions", n)
			}
		})
	}
}
