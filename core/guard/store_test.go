package guard_test

import (
	"context"

	halt "github.com/halt-dev/halt/core"
)

// charges is a Store that admits everything and does nothing, but show each charge.
type charges func(*halt.Charge)

func (s charges) Take(_ context.Context, cs []halt.Charge, ds []halt.Decision) error {
	for i := range cs {
		if s != nil {
			s(&cs[i])
		}
		ds[i] = halt.Decision{Mode: cs[i].Mode, Allowed: true, Limit: cs[i].Policy.Limit, Remaining: cs[i].Policy.Limit - 1}
	}
	return nil
}

func (charges) Reset(context.Context, halt.Policy, string) error { return nil }
