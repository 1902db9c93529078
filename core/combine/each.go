package combine

import (
	"context"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// TakeEach is halt.TakeEach within a time, for stores that decide the charges of a call one after the other: as [Within] is. What
// has to be given back is given back even after that. take decides the charges, one at a time.
func TakeEach(ctx context.Context, timeout time.Duration, cs []halt.Charge, ds []halt.Decision,
	take func(context.Context, []halt.Charge, []halt.Decision) error,
) error {
	own := append([]halt.Charge(nil), cs...) // the caller's may have another use by the time that take sees them
	decided := make([]halt.Decision, len(cs))
	err := Within(ctx, timeout, func(ctx context.Context) error {
		return halt.TakeEach(ctx, own, decided, func(ctx context.Context, c halt.Charge) (halt.Decision, error) {
			var ds [1]halt.Decision
			err := take(ctx, []halt.Charge{c}, ds[:])
			return ds[0], err
		})
	})
	if err == nil {
		copy(ds, decided)
	}
	return err
}

// Within calls f in a goroutine of its own, for what takes several round trips or a client that does not look at its context. It
// returns f's error when f has returned, when ctx ends, or after the timeout, with an error that matches halt.ErrDeadline. By then
// f's context has ended, too, but f may go on for longer: what it writes to must be its own. If it panics before that, the caller
// gets the panic.
func Within(ctx context.Context, timeout time.Duration, f func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return Ended(err)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	done := make(chan outcome, 1)
	go func() {
		var o outcome
		defer cancel()
		defer func() {
			o.panicked = recover()
			done <- o
		}()
		o.err = f(ctx)
	}()
	var o outcome
	select {
	case o = <-done:
	case <-ctx.Done():
		select {
		case o = <-done: // the answer came at the same moment
		default:
			return Ended(ctx.Err())
		}
	}
	if o.panicked != nil {
		panic(o.panicked) //nolint:forbidigo // it is the caller's, who may recover
	}
	return o.err
}

// outcome is how what Within calls has ended.
type outcome struct {
	err      error
	panicked any
}
