package halt

import (
	"strconv"
)

// Mode says what a [Charge] does with the budget.
type Mode uint8

const (
	// Take spends the cost if every binding charge of the call fits; otherwise none of the call's Takes spends.
	Take Mode = iota
	// Peek binds as Take does and spends nothing.
	Peek
	// Shadow does what a call of a single Take would do, on a budget of its own: it neither binds the call, nor is bound by
	// it, nor delays it. It shows what a policy would do to the traffic before it does.
	Shadow
	// Debit spends the cost even if it doesn't fit or the key is blocked: a cost that became known only afterwards.
	// It never binds and never blocks.
	Debit
	// Credit gives back Cost of the Taken that a Take spent at the instant At. It never binds. A bucket gets back what has
	// not drained by itself since; a window what it still counts; a leaky bucket nothing, its slot has passed.
	Credit
)

var modeNames = [...]string{"take", "peek", "shadow", "debit", "credit"}

// String returns the mode's name, such as "take".
func (m Mode) String() string {
	if int(m) < len(modeNames) {
		return modeNames[m]
	}
	return "unknown"
}

// Binds tells whether a charge of this mode can refuse its call: Take and Peek.
func (m Mode) Binds() bool { return m <= Peek }

// Charge is a cost against one budget: that of Key under Policy.
type Charge struct {
	Policy Policy
	// Key is whose budget it is: a user, an address, a tenant. Not empty.
	Key string
	// Cost is literal: 0 spends nothing, negative is an error.
	Cost int64
	Mode Mode
	// At and Taken belong to a Credit: when the Take that it gives back from was decided (its Decision.At), and what that
	// Take spent; Cost is at most Taken.
	At    Instant
	Taken int64
	// Shadow, of a Debit or Credit: it concerns the budget that Shadow charges draw on.
	Shadow bool
}

// OnShadow tells whether the charge draws on the budget that Shadow charges draw on.
func (c *Charge) OnShadow() bool { return c.Mode == Shadow || c.Shadow }

// validate returns an InvalidError if the charge, policy included, can't be decided.
func (c *Charge) validate() error {
	if !c.Policy.check(nil) {
		return c.Policy.Validate()
	}
	return c.validateRest()
}

// validateRest is validate for a charge whose policy is known to be valid.
func (c *Charge) validateRest() error {
	switch {
	case c.Key == "":
		return invalidCharge(c.Policy.Name, "Key", "not empty")
	case c.Cost < 0:
		return invalidCharge(c.Policy.Name, "Cost", "0 or more")
	case c.Mode > Credit:
		return invalidCharge(c.Policy.Name, "Mode", "one of the package's constants")
	case c.Shadow && c.Mode < Debit:
		return invalidCharge(c.Policy.Name, "Shadow", "left to a Debit or Credit; a charge of mode Shadow is one already")
	case c.Mode == Credit && (c.Taken < c.Cost || c.At < 0):
		return invalidCharge(c.Policy.Name, "Taken", "at least Cost, and At the instant of the Take")
	}
	return nil
}

// sameBudget tells whether a and b have the same storage key.
func sameBudget(a, b *Charge) bool {
	return a.Key == b.Key && a.Policy.Name == b.Policy.Name && a.OnShadow() == b.OnShadow() &&
		a.Policy.Algorithm == b.Policy.Algorithm && a.Policy.Window == b.Policy.Window &&
		a.Policy.Period.normal() == b.Policy.Period.normal() && a.Policy.subs() == b.Policy.subs()
}

// subs is SubWindows for the algorithms that have any, else 0.
func (p *Policy) subs() int {
	if p.Algorithm == SlidingWindow || p.Algorithm == InFlight {
		return p.SubWindows()
	}
	return 0
}

// StorageKey names the budget of a charge in a store: the prefix, whether it is a shadow, the policy's name, all that
// gives the stored value its shape (algorithm and Window, Period or Precision), and the key, last and as it is. Two
// charges have the same storage key exactly if they draw on the same budget. An example: "halt:api:T1m0s:user:42".
func StorageKey(prefix string, c Charge) string {
	var a [96]byte
	b := append(a[:0], prefix...)
	if c.OnShadow() {
		b = append(b, '~')
	}
	b = append(b, c.Policy.Name...)
	b = append(b, ':', "TLFSI?"[min(c.Policy.Algorithm, InFlight+1)])
	if p := c.Policy.Period.normal(); p != (Period{}) {
		b = append(b, p.String()...)
	} else {
		b = append(b, c.Policy.Window.String()...)
		if n := c.Policy.subs(); n > 0 {
			b = append(b, '/')
			b = strconv.AppendInt(b, int64(n), 10)
		}
	}
	b = append(b, ':')
	b = append(b, c.Key...)
	return string(b)
}
