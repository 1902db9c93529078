package storetest

import (
	"context"

	halt "github.com/halt-dev/halt/core"
)

// TakeOne is a Take of one charge.
func TakeOne(ctx context.Context, s halt.Store, c halt.Charge) (halt.Decision, error) {
	var ds [1]halt.Decision
	err := s.Take(ctx, []halt.Charge{c}, ds[:])
	return ds[0], err
}
