package halt

import (
	"context"
	"fmt"
	"time"
)

// Wait takes 1 of key's budget under p, waiting until it fits or ctx ends. See [Limiter.WaitN].
func (l *Limiter) Wait(ctx context.Context, p Policy, key string) error {
	return l.WaitN(ctx, p, key, 1)
}

// WaitN takes n, waiting until it fits (and, of a leaky bucket, until its turn has come) or ctx ends.
//
// If ctx's deadline is sooner than that, it returns at once with an error that matches context.DeadlineExceeded.
// An n above the capacity is ErrExceedsCapacity. A policy with a Block is refused as ErrInvalidPolicy: every try would
// keep its key blocked; and so is one that is InFlight, since nobody could give the place back. If ctx ends while a leaky
// bucket's turn is awaited, the turn is lost; any other error before that has spent nothing. Waiters are not queued: each tries again when the budget last told it to.
func (l *Limiter) WaitN(ctx context.Context, p Policy, key string, n int64) error {
	if p.Algorithm == InFlight && p.Limit != Unlimited {
		return &InvalidError{Kind: ErrInvalidPolicy, Policy: p.Name, Faults: []Fault{{"Algorithm", "another: Reserve a place in flight, to give it back"}}}
	}
	if p.Block != 0 && p.Limit != Unlimited {
		return &InvalidError{Kind: ErrInvalidPolicy, Policy: p.Name, Faults: []Fault{{"Block", "0, since Wait would keep its key blocked"}}}
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		d, err := l.AllowN(ctx, p, key, n)
		if err != nil {
			return err
		}
		if d.Allowed {
			return sleep(ctx, d.Delay)
		}
		if d.RetryAfter == Never {
			return ErrExceedsCapacity
		}
		if err := sleep(ctx, d.RetryAfter); err != nil {
			return err
		}
	}
}

// sleep waits for d, unless ctx ends or is to end sooner.
func sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if d <= 0 {
		return nil
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < d {
		return fmt.Errorf("halt: the wait of %v would outlast its context: %w", d, context.DeadlineExceeded)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
