package memory_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/algorithm"
	"github.com/halt-dev/halt/core/memory"
)

// model is what a store is to do: a map, and Decide.
type model map[string]*algorithm.State

func (m model) state(c halt.Charge) *algorithm.State {
	k := halt.StorageKey("", c)
	if m[k] == nil {
		m[k] = new(algorithm.State)
	}
	return m[k]
}

func (m model) take(cs []halt.Charge, ds []halt.Decision, now halt.Instant) {
	ss := make([]algorithm.State, len(cs))
	for i, c := range cs {
		ss[i] = *m.state(c)
		ss[i].Counts = slices.Clone(ss[i].Counts)
	}
	algorithm.DecideAll(cs, ss, now, ds, make([]bool, len(cs)))
	for i, c := range cs {
		*m.state(c) = ss[i]
	}
}

func (m model) reset(p halt.Policy, key string) {
	c := p.Charge(key, 0)
	delete(m, halt.StorageKey("", c))
	c.Mode = halt.Shadow
	delete(m, halt.StorageKey("", c))
}

// tracer makes random calls.
type tracer struct {
	*rand.Rand
	policies []halt.Policy
	spent    []halt.Charge // as Credits
}

func (r *tracer) charge() halt.Charge {
	if len(r.spent) > 0 && r.IntN(6) == 0 {
		c := r.spent[r.IntN(len(r.spent))]
		c.Cost = r.Int64N(c.Taken + 1)
		return c
	}
	p := r.policies[r.IntN(len(r.policies))]
	c := p.Charge(fmt.Sprintf("key-%d", r.IntN(4)), r.Int64N(4))
	switch r.IntN(10) {
	case 0:
		c.Cost = r.Int64N(12)
	case 1:
		c.Mode = halt.Peek
	case 2:
		c.Mode = halt.Shadow
	case 3:
		c.Mode = halt.Debit
		c.Shadow = r.IntN(2) == 0
	}
	return c
}

// call returns charges no two of which draw on one budget.
func (r *tracer) call(n int) []halt.Charge {
	var cs []halt.Charge
	seen := map[string]bool{}
	for range n {
		c := r.charge()
		if k := halt.StorageKey("", c); !seen[k] {
			seen[k] = true
			cs = append(cs, c)
		}
	}
	return cs
}

func (r *tracer) spend(c halt.Charge, d halt.Decision) {
	if !d.Allowed || c.Cost == 0 || c.Mode != halt.Take && c.Mode != halt.Shadow {
		return
	}
	c.Shadow = c.Mode == halt.Shadow
	c.Mode, c.Taken, c.At = halt.Credit, c.Cost, d.At
	r.spent = append(r.spent, c)
	if len(r.spent) > 20 {
		r.spent = r.spent[1:]
	}
}

func (r *tracer) pause() time.Duration {
	switch r.IntN(12) {
	case 0:
		return 0
	case 1:
		return time.Duration(r.Int64N(int64(24 * time.Hour)))
	case 2, 3:
		return time.Duration(r.Int64N(int64(time.Minute)))
	case 4, 5:
		return time.Duration(r.Int64N(int64(10 * time.Microsecond)))
	default:
		return time.Duration(r.Int64N(int64(600 * time.Millisecond)))
	}
}

// The store decides as the model does, to the field: every algorithm, mode, block and period, single charges and calls of
// several, with Resets in between, over days.
func TestStoreEqualsModel(t *testing.T) {
	var all []halt.Policy
	for name, p := range policies() {
		all = append(all, p)
		t.Run(name, func(t *testing.T) { trace(t, []halt.Policy{p}, 3000) })
	}
	slices.SortFunc(all, func(a, b halt.Policy) int { return len(a.Name) - len(b.Name) })
	t.Run("all", func(t *testing.T) { trace(t, all, 20000) })
}

// trace plays random calls to a store and to the model, under ps and then as many under others.
func trace(t *testing.T, ps []halt.Policy, steps int, then ...halt.Policy) {
	t.Helper()
	seed := rand.Uint64()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		s, m := memory.New(nil), model{}
		r := &tracer{Rand: rand.New(rand.NewPCG(seed, 0)), policies: ps}
		for step := range steps + min(len(then), 1)*steps {
			if step == steps {
				r.policies, r.spent = then, nil
			}
			time.Sleep(r.pause()) //nolint:forbidigo // the bubble's clock
			now := halt.InstantOf(time.Now())
			cs := r.call([]int{1, 1, 1, 2, 5, 9}[r.IntN(6)])
			got, want := make([]halt.Decision, len(cs)), make([]halt.Decision, len(cs))
			m.take(cs, want, now)
			if err := s.Take(ctx, cs, got); err != nil {
				t.Fatal(err)
			}
			admitted := halt.Decisions(got).Allowed()
			for i, c := range cs {
				if got[i] != want[i] {
					t.Fatalf("seed %d, step %d, charge %d of %+v:\n got %+v\nwant %+v", seed, step, i, cs, got[i], want[i])
				}
				if admitted || c.Mode == halt.Shadow {
					r.spend(c, got[i])
				}
			}
			if r.IntN(40) == 0 {
				c := r.charge()
				m.reset(c.Policy, c.Key)
				if err := s.Reset(ctx, c.Policy, c.Key); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

// A change of Limit, Burst, Block or Plan keeps what a key has used, and its block. (Where a bucket drains more slowly from then
// on, usage is kept for as long as it would have lasted before.)
func TestChangedPolicyKeepsUsage(t *testing.T) {
	for name, p := range policies() {
		changed := p
		changed.Limit, changed.Plan = p.Limit+3, "other"
		if p.Burst > 0 {
			changed.Burst = p.Burst - 1
		}
		changed.Block = 0
		if p.Block == 0 {
			changed.Block = 5 * time.Second
		}
		t.Run(name, func(t *testing.T) { trace(t, []halt.Policy{p}, 300, changed) })
	}
}

// Forgetting an entry at its reset changes no decision: a store too small for more than one key decides as the model, as long as
// each key is used only after the others' reset.
func TestExpiryChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		s, m := memory.New(&memory.Options{MaxKeys: 1}), model{}
		r := &tracer{Rand: rand.New(rand.NewPCG(1, 2))}
		for _, p := range policies() {
			r.policies = append(r.policies, p)
		}
		for range 500 {
			c := r.charge()
			var longest time.Duration
			for range 10 {
				got, want := make([]halt.Decision, 1), make([]halt.Decision, 1)
				m.take([]halt.Charge{c}, want, halt.InstantOf(time.Now()))
				if err := s.Take(ctx, []halt.Charge{c}, got); err != nil {
					t.Fatal(err)
				}
				if got[0] != want[0] {
					t.Fatalf("%+v:\n got %+v\nwant %+v", c, got[0], want[0])
				}
				longest = got[0].ResetAfter
				time.Sleep(longest / 7) //nolint:forbidigo // the bubble's clock
			}
			time.Sleep(longest) //nolint:forbidigo // the bubble's clock
		}
	})
}
