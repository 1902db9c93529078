package halt

import (
	"context"
	"sync"
)

// Store keeps budgets and decides charges against them. An implementation keeps an algorithm.State for each [StorageKey],
// decides with algorithm.DecideAll, or computes the same where its data is, and must pass the suite of core/storetest.
//
// A method Name() string is optional: it says for observers what kind of store it is, such as "redis" (else it is "custom").
// A store around another passes it on.
//
// The Limiter is what calls a store; it has validated the charges, and no two of a call have the same storage key, and
// none is of an Unlimited policy.
// Whoever calls a store directly must keep to that. All methods may be called concurrently.
type Store interface {
	// Take decides the charges of cs as one call, and writes the decision on cs[i] to ds[i]; both have the same length.
	// All charges are decided at one instant of the store's clock, atomically, where the store's documentation says so.
	//
	// If any Take or Peek of the call is refused, no Take spends, each refused Take whose policy has a Block writes it, and
	// the other Takes' decisions read as a Peek's would. Shadow, Debit and Credit take effect in any case.
	//
	// After an error it is unknown what was spent, and ds has no meaning. A store never repeats a Credit or Debit whose
	// outcome it does not know. It neither keeps cs or ds nor changes cs. Its errors wrap one of the package's kinds where
	// one fits; the Limiter makes ErrDeadline or ErrStore of the rest. They never tell a key.
	Take(ctx context.Context, cs []Charge, ds []Decision) error
	// Reset forgets what key has used under p, its shadow's budget and blocks included.
	Reset(ctx context.Context, p Policy, key string) error
}

// TakeEach makes a Store's Take out of one, which decides a single charge atomically, for stores that can't decide
// several charges in one step. one may be called concurrently.
//
// It peeks at all binding charges, concurrently; if one refuses, it sends the refused Takes that have a Block, each
// alone, and stops. Else it takes in the order of cs, leaky buckets last, and gives back what it took if a later one
// is refused after all. So put the most specific key first and shared ones last. Under contention it may refuse
// falsely; it never admits more than the policies do. The charges of a call are decided at as many instants.
func TakeEach(ctx context.Context, cs []Charge, ds []Decision, one func(context.Context, Charge) (Decision, error)) error {
	t := &each{ctx: ctx, cs: cs, ds: ds, one: one}
	binding := 0
	for i := range cs {
		if cs[i].Mode.Binds() {
			binding++
		}
	}
	if binding > 1 {
		if err := t.peek(); err != nil {
			return err
		}
	}
	var err error
	if binding > 1 && !Decisions(ds).allowedOf(cs) {
		err = t.block()
	} else {
		err = t.take()
	}
	if err != nil {
		return err
	}
	for i := range cs {
		if !cs[i].Mode.Binds() {
			if ds[i], err = one(ctx, cs[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// allowedOf is Allowed for decisions some of which are not made yet.
func (ds Decisions) allowedOf(cs []Charge) bool {
	for i := range cs {
		if cs[i].Mode.Binds() && !ds[i].Allowed {
			return false
		}
	}
	return true
}

type each struct {
	ctx context.Context
	cs  []Charge
	ds  []Decision
	one func(context.Context, Charge) (Decision, error)
}

// peek fills ds for all binding charges, as Peeks.
func (t *each) peek() error {
	var wg sync.WaitGroup
	errs := make([]error, len(t.cs))
	panics := make([]any, len(t.cs))
	for i, c := range t.cs {
		if !c.Mode.Binds() {
			continue
		}
		mode := c.Mode
		c.Mode = Peek
		wg.Go(func() {
			defer func() { panics[i] = recover() }() // it is the caller's, who may recover
			t.ds[i], errs[i] = t.one(t.ctx, c)
			t.ds[i].Mode = mode
		})
	}
	wg.Wait()
	for _, v := range panics {
		if v != nil {
			panic(v) //nolint:forbidigo // passed on
		}
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// block lets the refused Takes that have a Block write it.
func (t *each) block() error {
	for i, c := range t.cs {
		if d := t.ds[i]; c.Mode != Take || d.Allowed || d.Blocked || d.RetryAfter == Never || c.Policy.Block == 0 {
			continue
		}
		d, err := t.one(t.ctx, c)
		if err != nil {
			return err
		}
		if !d.Allowed {
			t.ds[i] = d
		} else if _, err := t.giveBack(c, d); err != nil { // it fits by now, but its call stays refused
			return err
		}
	}
	return nil
}

// take spends all Takes, leaky buckets last, or none.
func (t *each) take() error {
	var taken []int
	for _, leaky := range []bool{false, true} {
		for i, c := range t.cs {
			if !c.Mode.Binds() || leaky != (c.Policy.Algorithm == LeakyBucket) {
				continue
			}
			d, err := t.one(t.ctx, c)
			if err != nil {
				_ = t.undo(taken) // the first error is the one to tell
				return err
			}
			t.ds[i] = d
			if !d.Allowed {
				return t.undo(taken)
			}
			if c.Mode == Take {
				taken = append(taken, i)
			}
		}
	}
	return nil
}

// undo gives back what was taken. The decisions then read as a Peek's would.
func (t *each) undo(taken []int) error {
	var first error
	for _, i := range taken {
		d, err := t.giveBack(t.cs[i], t.ds[i])
		if err != nil {
			if first == nil {
				first = err
			}
			continue
		}
		t.ds[i].Remaining, t.ds[i].ResetAfter = d.Remaining, d.ResetAfter
	}
	return first
}

// giveBack returns what the Take c spent, even if the caller has gone meanwhile.
func (t *each) giveBack(c Charge, d Decision) (Decision, error) {
	c.Mode, c.At, c.Taken = Credit, d.At, c.Cost
	return t.one(context.WithoutCancel(t.ctx), c)
}
