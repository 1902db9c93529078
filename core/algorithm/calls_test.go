package algorithm_test

import (
	"math/rand/v2"
	"reflect"
	"testing"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/algorithm"
)

// TestDecideAll holds the decisions of a call against the contract, told one charge after the other: if any Take or Peek
// would be refused, no Take spends, refused Takes leave their blocks, and what fits reads as a Peek's; the others take
// effect in any case.
func TestDecideAll(t *testing.T) {
	t.Parallel()
	admitted, refused := 0, 0
	forSeeds(t, 400, func(t *testing.T, rng *rand.Rand) {
		n := 1 + rng.IntN(5)
		ps := make([]halt.Policy, n)
		ss := make([]algorithm.State, n)
		for i := range ps {
			ps[i] = modest(rng, pick(rng, algorithms...))
		}
		now := epoch
		for step := range 60 {
			cs := make([]halt.Charge, n)
			want := make([]halt.Decision, n)
			wantStates := make([]algorithm.State, n)
			wantChanged := make([]bool, n)
			for i := range cs {
				cs[i] = halt.Charge{
					Policy: ps[i], Key: "k", Cost: pick(rng, 1, 1, cost(rng, &ps[i])),
					Mode: pick(rng, halt.Take, halt.Take, halt.Take, halt.Peek, halt.Shadow, halt.Debit, halt.Credit),
				}
				cs[i].Taken, cs[i].At = cs[i].Cost, now-1000
				wantStates[i] = clone(ss[i])
			}
			all := true
			for i, c := range cs {
				if c.Mode.Binds() {
					c.Mode = halt.Peek
					d, _ := algorithm.Decide(&c, &wantStates[i], now)
					all = all && d.Allowed
				}
			}
			for i, c := range cs {
				w := &world{s: wantStates[i], now: now}
				fits := w.peek(c.Policy, c.Cost).Allowed
				if c.Mode == halt.Take && fits && !all {
					want[i] = w.peek(c.Policy, c.Cost)
					want[i].Mode = halt.Take
					continue
				}
				want[i], wantChanged[i] = algorithm.Decide(&c, &wantStates[i], now)
			}
			ds := make([]halt.Decision, n)
			changed := make([]bool, n)
			algorithm.DecideAll(cs, ss, now, ds, changed)
			if !reflect.DeepEqual(ds, want) || !reflect.DeepEqual(changed, wantChanged) || !reflect.DeepEqual(ss, wantStates) {
				t.Fatalf("step %d of %+v:\ngot  %+v\nwant %+v\nchanged %v, not %v", step, cs, ds, want, changed, wantChanged)
			}
			if halt.Decisions(ds).Allowed() != all {
				t.Fatalf("Allowed is %t, of %+v", !all, ds)
			}
			if all {
				admitted++
			} else {
				refused++
			}
			now += gap(rng, &ps[0])
		}
	})
	if admitted == 0 || refused == 0 {
		t.Errorf("%d calls were admitted and %d refused", admitted, refused)
	}
}

// TestDecideAllocates nothing where there is nothing to keep.
func TestDecideAllocations(t *testing.T) {
	for _, a := range algorithms {
		p := halt.Policy{Name: "p", Algorithm: a, Limit: 1000, Window: 1000 * 1000 * 1000}
		w := &world{now: epoch}
		w.take(p, 1)
		c := p.Charge("k", 1)
		if n := testing.AllocsPerRun(100, func() {
			w.now += 997
			algorithm.Decide(&c, &w.s, w.now)
		}); n != 0 {
			t.Errorf("%s: %v allocations", a, n)
		}
	}
}
