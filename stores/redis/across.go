package haltredis

import (
	"cmp"
	"context"
	"slices"
	"sync"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/combine"
)

// across is a call whose keys are in several slots of a cluster, which no script can touch at once. It is decided slot by
// slot, as halt.TakeEach does it charge by charge: all slots are peeked at, at the same time, and a refusal ends it there,
// with nothing spent. Only then are the slots taken from, one after the other in the order of the charges, those with leaky
// buckets last, and what was taken is given back if a later one refuses after all. So it may refuse falsely while others
// take from the same keys, and never admits more than the policies do. Were they taken from at the same time, a caller who makes
// many calls at once could for a moment take all of a budget that he shares with others, though his own refuses all but one.
type across struct {
	s      *Store
	groups []*group
}

// group is the charges of a call that are in one slot: one atomic step.
type group struct {
	at    []int // in the call
	cs    []halt.Charge
	ds    []halt.Decision
	leaky bool
}

func (s *Store) takeAcross(ctx context.Context, cs []halt.Charge, ds []halt.Decision) error {
	a := &across{s: s}
	bySlot := make(map[int]*group)
	for i := range cs {
		slot := s.slotOf(cs[i].Key)
		g := bySlot[slot]
		if g == nil {
			g = new(group)
			bySlot[slot] = g
			a.groups = append(a.groups, g)
		}
		g.at = append(g.at, i)
		g.cs = append(g.cs, cs[i])
		g.ds = append(g.ds, halt.Decision{})
		g.leaky = g.leaky || cs[i].Mode.Binds() && cs[i].Policy.Algorithm == halt.LeakyBucket
	}
	if len(a.groups) == 1 {
		return s.takeTogether(ctx, cs, ds)
	}
	slices.SortStableFunc(a.groups, func(g, h *group) int {
		switch {
		case g.leaky == h.leaky:
			return 0
		case h.leaky:
			return -1
		}
		return 1
	})
	if err := combine.Within(ctx, s.timeout, a.decide); err != nil {
		return err // the groups may still be in use, for what is to be given back
	}
	for _, g := range a.groups {
		for i, at := range g.at {
			ds[at] = g.ds[i]
		}
	}
	return nil
}

func (a *across) decide(ctx context.Context) error {
	binding := 0
	for _, g := range a.groups {
		if g.binds() {
			binding++
		}
	}
	if binding > 1 {
		if err := each(a.groups, func(g *group) error { return a.peek(ctx, g) }); err != nil {
			return err
		}
		for _, g := range a.groups {
			if !halt.Decisions(g.ds).Allowed() {
				return a.refuse(ctx)
			}
		}
	}
	var taken []*group
	for n, g := range a.groups {
		if err := a.s.takeTogether(ctx, g.cs, g.ds); err != nil {
			_ = a.giveBack(ctx, taken) // the first error is the one to tell
			return err
		}
		if !halt.Decisions(g.ds).Allowed() {
			return cmp.Or(a.giveBack(ctx, taken), a.rest(ctx, a.groups[n+1:]))
		}
		taken = append(taken, g)
	}
	return nil
}

// binds tells whether any charge of the group can refuse the call.
func (g *group) binds() bool {
	return slices.ContainsFunc(g.cs, func(c halt.Charge) bool { return c.Mode.Binds() })
}

// each calls f for the groups, all at once, and returns the first error.
func each(groups []*group, f func(g *group) error) error {
	errs := make([]error, len(groups))
	panics := make([]any, len(groups))
	var wg sync.WaitGroup
	for i, g := range groups {
		wg.Go(func() {
			defer func() { panics[i] = recover() }() // it is the caller's, who may recover
			errs[i] = f(g)
		})
	}
	wg.Wait()
	for _, v := range panics {
		if v != nil {
			panic(v) //nolint:forbidigo // passed on
		}
	}
	return cmp.Or(errs...)
}

// peek fills in the decisions on the charges that bind, as Peeks.
func (a *across) peek(ctx context.Context, g *group) error {
	return a.some(ctx, g, func(i int) (halt.Charge, bool) {
		c := g.cs[i]
		if !c.Mode.Binds() {
			// Until it is decided, it must not seem to refuse.
			g.ds[i] = halt.Decision{Mode: c.Mode, Allowed: true}
			return c, false
		}
		c.Mode = halt.Peek
		return c, true
	})
}

// refuse ends a call of which a peek was refused: refused Takes write their blocks, and what doesn't bind takes effect.
func (a *across) refuse(ctx context.Context) error {
	return each(a.groups, func(g *group) error {
		refused := !halt.Decisions(g.ds).Allowed()
		return a.some(ctx, g, func(i int) (halt.Charge, bool) {
			c, d := g.cs[i], &g.ds[i]
			switch {
			case !c.Mode.Binds():
				return c, true
			case !refused || c.Mode == halt.Peek || d.Allowed || d.Blocked || d.RetryAfter == halt.Never || c.Policy.Block == 0:
				return c, false
			}
			return c, true
		})
	})
}

// rest sends what doesn't bind of the groups that a refusal kept from being taken from.
func (a *across) rest(ctx context.Context, groups []*group) error {
	return each(groups, func(g *group) error {
		return a.some(ctx, g, func(i int) (halt.Charge, bool) { return g.cs[i], !g.cs[i].Mode.Binds() })
	})
}

// some makes a call of those charges of a group that choose returns, and puts their decisions in place. A Take that was
// sent for its block and fits by now is given back: its call stays refused.
func (a *across) some(ctx context.Context, g *group, choose func(i int) (halt.Charge, bool)) error {
	var cs []halt.Charge
	var at []int
	for i := range g.cs {
		if c, ok := choose(i); ok {
			cs, at = append(cs, c), append(at, i)
		}
	}
	if len(cs) == 0 {
		return nil
	}
	ds := make([]halt.Decision, len(cs))
	if err := a.s.takeTogether(ctx, cs, ds); err != nil {
		return err
	}
	var back []halt.Charge
	admitted := halt.Decisions(ds).Allowed()
	for i, n := range at {
		if cs[i].Mode == halt.Take && ds[i].Allowed {
			if admitted && cs[i].Cost > 0 {
				back = append(back, credit(cs[i], ds[i]))
			}
			continue
		}
		ds[i].Mode = g.cs[n].Mode
		g.ds[n] = ds[i]
	}
	return a.s.credit(ctx, back)
}

// giveBack returns what the Takes of groups spent.
func (a *across) giveBack(ctx context.Context, groups []*group) error {
	return each(groups, func(g *group) error {
		var back []halt.Charge
		for i, c := range g.cs {
			if c.Mode == halt.Take && c.Cost > 0 {
				back = append(back, credit(c, g.ds[i]))
				g.ds[i].Delay = 0
			}
		}
		return a.s.credit(ctx, back)
	})
}

// credit returns the charge that gives a Take back.
func credit(c halt.Charge, d halt.Decision) halt.Charge {
	c.Mode, c.At, c.Taken = halt.Credit, d.At, c.Cost
	return c
}

// credit sends credits that are in one slot, even if the caller has gone meanwhile.
func (s *Store) credit(ctx context.Context, cs []halt.Charge) error {
	if len(cs) == 0 {
		return nil
	}
	return s.takeTogether(context.WithoutCancel(ctx), cs, make([]halt.Decision, len(cs)))
}
