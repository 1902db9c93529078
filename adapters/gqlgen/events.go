package haltgqlgen

import (
	"context"
	"errors"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
)

// startEvents finds out whose budget a subscription's events draw on. It reports false if the operation is denied for it.
func (o *Operation) startEvents() bool {
	ev := o.ext.config.Events
	if ev == nil || o.Kind() != Subscription {
		return true
	}
	var err error
	func() {
		defer recovered(&err)
		o.answers.event = ev.Key.Of(o)
	}()
	switch {
	case err != nil:
		o.ext.tellFunction(o, "Events.Key", err, !o.closed())
		if !o.closed() {
			return true
		}
		o.denial = &Denial{Reason: guard.Unavailable}
	case o.answers.event == "":
		o.ext.tellFunction(o, "Events.Key", guard.ErrNoKey, false)
		o.denial = &Denial{Reason: guard.MissingKey, Policy: halt.Policy{Name: ev.Policy.Name}}
	default:
		return true
	}
	return false
}

// events returns the event that the client gets in the place of resp: resp itself, after a pause, a later one, one that
// ends the stream, or nil.
func (o *Operation) events(ctx context.Context, resp *graphql.Response) *graphql.Response {
	ev := o.ext.config.Events
	for ; resp != nil && !o.answers.ended; resp = o.answers.next(ctx) {
		for {
			d, err := o.chargeEvent(ctx, resp)
			switch {
			case err != nil && (o.closed() || errors.Is(err, guard.ErrNegativeCost)):
				return o.endStream(Denial{Reason: guard.Unavailable})
			case err != nil:
				return resp
			case d.Allowed:
				if wait(ctx, d.Delay) != nil {
					return nil
				}
				return resp
			}
			if ev.Over == End || ev.Over == Pause && d.RetryAfter == halt.Never {
				return o.endStream(Denial{
					Reason: guard.QuotaExceeded, Policy: ev.Policy, Decision: d, RetryAfter: d.RetryAfter, Violated: []string{ev.Policy.Name},
				})
			}
			if ev.Over == Thin {
				break
			}
			if wait(ctx, d.RetryAfter) != nil {
				return nil
			}
		}
	}
	return nil
}

// chargeEvent charges one event.
func (o *Operation) chargeEvent(ctx context.Context, resp *graphql.Response) (d halt.Decision, err error) {
	ev := o.ext.config.Events
	cost := int64(1)
	if ev.Cost != nil {
		func() {
			defer recovered(&err)
			if cost = ev.Cost(o, resp); cost < 0 {
				err = guard.ErrNegativeCost
			}
		}()
		if err != nil {
			o.ext.tellFunction(o, "Events.Cost", err, !o.closed() && !errors.Is(err, guard.ErrNegativeCost))
			return d, err
		}
	}
	if cost == 0 {
		d.Allowed = true
		return d, nil
	}
	call := o.ext.call(o)
	defer o.ext.recycleCall(call)
	*call.add(0) = ev.Policy.Charge(o.answers.event, cost)
	if err = o.ext.limiter.Do(ctx, &call.Call); err != nil {
		o.ext.tellStore(o, err)
		return d, err
	}
	return call.Decisions[0], nil
}

// endStream returns the last answer of a subscription.
func (o *Operation) endStream(d Denial) *graphql.Response {
	o.answers.ended = true
	return &graphql.Response{Errors: gqlerror.List{refusal(d)}}
}

// wait waits for d, or until ctx ends, which is its error.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
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
