package combine

import (
	"context"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// TakeEach is halt.TakeEach within a time, for stores that decide the charges of a call one after the other. It returns when
// the call is decided, when ctx ends, or after the timeout, with an error that matches halt.ErrDeadline; what has to be given
// back is given back even then. take decides them, one at a time. It may be called after TakeEach has returned; if it panics before
// that, the caller gets the panic.
func TakeEach(ctx context.Context, timeout time.Duration, cs []halt.Charge, ds []halt.Decision,
	take func(context.Context, []halt.Charge, []halt.Decision) error,
) error {
	if err := ctx.Err(); err != nil {
		return ended(err)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	own := append([]halt.Charge(nil), cs...) // the caller's may have another use by the time that take sees them
	decided := make([]halt.Decision, len(cs))
	done := make(chan outcome, 1)
	go func() {
		var o outcome
		defer cancel()
		defer func() {
			o.panicked = recover()
			done <- o
		}()
		o.err = halt.TakeEach(ctx, own, decided, func(ctx context.Context, c halt.Charge) (halt.Decision, error) {
			var ds [1]halt.Decision
			err := take(ctx, []halt.Charge{c}, ds[:])
			return ds[0], err
		})
	}()
	var o outcome
	select {
	case o = <-done:
	case <-ctx.Done():
		select {
		case o = <-done: // the answer came at the same moment
		default:
			return ended(ctx.Err())
		}
	}
	if o.panicked != nil {
		panic(o.panicked) //nolint:forbidigo // it is the caller's, who may recover
	}
	copy(ds, decided)
	return o.err
}

// outcome is how a halt.TakeEach ended.
type outcome struct {
	err      error
	panicked any
}
