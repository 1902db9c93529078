package halt

import (
	"context"
	"fmt"
	"sync/atomic"
)

// Reservation holds what was spent on an estimate, until the true cost is known. It is safe for concurrent use.
//
// Reserve, do the work, then Settle with what it really cost; a deferred Cancel gives everything back if the work never
// came so far. What is neither settled nor cancelled stays spent.
type Reservation struct {
	limiter   *Limiter
	charges   []Charge
	decisions Decisions
	settled   atomic.Bool
}

// Reserve takes estimate of key's budget under p, to be settled later. If it does not fit, the reservation holds
// nothing: see [Reservation.Allowed].
//
// A bucket drains what was reserved while the work goes on, and gives back only the rest: for exact settling choose
// FixedWindow, SlidingWindow or InFlight.
func (l *Limiter) Reserve(ctx context.Context, p Policy, key string, estimate int64) (*Reservation, error) {
	return l.ReserveAll(ctx, p.Charge(key, estimate))
}

// ReserveAll is Reserve for a call of several charges, of modes Take, Peek and Shadow.
func (l *Limiter) ReserveAll(ctx context.Context, charges ...Charge) (*Reservation, error) {
	for i := range charges {
		if charges[i].Mode > Shadow {
			return nil, invalidCharge(charges[i].Policy.Name, "Mode", "Take, Peek or Shadow, to be reserved")
		}
	}
	r := &Reservation{limiter: l, charges: append([]Charge(nil), charges...)}
	ds, err := l.AllowAll(ctx, r.charges...)
	if err != nil {
		return nil, err
	}
	r.decisions = ds
	return r, nil
}

// Allowed tells whether the estimate was spent. If not, Settle and Cancel do nothing. A nil Reservation, which Reserve
// returns beside an error, holds nothing either.
func (r *Reservation) Allowed() bool { return r != nil && r.decisions.Allowed() }

// Decisions are those of the reservation's call. The slice is the reservation's: read it only.
func (r *Reservation) Decisions() Decisions {
	if r == nil {
		return nil
	}
	return r.decisions
}

// Settle replaces the estimates by the actual costs, one per charge: below the estimate it gives back, above it spends
// more, even if that does not fit. What is given back to a FixedWindow goes to the window that it was taken from, if that
// still lasts; what is spent more counts in the present one. It survives a cancelled ctx, and does nothing once settled or cancelled.
//
// A wrong number of costs, or a negative one, is ErrInvalidCharge and leaves the reservation as it is. After any other
// error it is unknown what was settled; it is not to be repeated, and calling again does nothing.
func (r *Reservation) Settle(ctx context.Context, actual ...int64) error {
	if r == nil {
		return nil
	}
	if len(actual) != len(r.charges) {
		return invalidCharge("", "actual", fmt.Sprintf("one cost per charge, %d", len(r.charges)))
	}
	for i, n := range actual {
		if n < 0 {
			return invalidCharge(r.charges[i].Policy.Name, "actual", "0 or more")
		}
	}
	if !r.settled.CompareAndSwap(false, true) {
		return nil
	}
	admitted := r.decisions.Allowed()
	var cs []Charge
	for i := range r.charges {
		c, d := &r.charges[i], &r.decisions[i]
		if spent := c.Mode == Shadow && d.Allowed || c.Mode == Take && admitted; spent {
			if s, differs := Settlement(c, d, actual[i]); differs {
				cs = append(cs, s)
			}
		}
	}
	if len(cs) == 0 {
		return nil
	}
	return r.limiter.Do(context.WithoutCancel(ctx), &Call{Charges: cs})
}

// Cancel gives back all that is held. It survives a cancelled ctx, and does nothing once settled or cancelled: meant to
// be deferred.
func (r *Reservation) Cancel(ctx context.Context) error {
	if r == nil {
		return nil
	}
	return r.Settle(ctx, make([]int64, len(r.charges))...)
}

// Settlement returns the charge that corrects what c spent, as decided by d, to the actual cost: a Credit or a Debit.
// It reports false if there is nothing to correct.
func Settlement(c *Charge, d *Decision, actual int64) (Charge, bool) {
	s := Charge{Policy: c.Policy, Key: c.Key, Shadow: c.OnShadow()}
	switch {
	case actual < c.Cost:
		s.Mode, s.Cost, s.At, s.Taken = Credit, c.Cost-actual, d.At, c.Cost
	case actual > c.Cost:
		s.Mode, s.Cost = Debit, actual-c.Cost
	default:
		return s, false
	}
	return s, true
}
