package haltgqlgen

import (
	"context"
	"net/http"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/halt-dev/halt/core/guard"
)

// run executes an operation that was entered, if it may be.
func (o *Operation) run(next graphql.OperationHandler) graphql.ResponseHandler {
	outcome := Outcome{Status: http.StatusInternalServerError} // what a panic settles as
	over := true
	defer func() {
		if over {
			o.settle(outcome)
		}
	}()
	if o.denial.Reason != 0 {
		return o.refuse()
	}
	ctx, err := o.admitted()
	switch {
	case err != nil:
		outcome = Outcome{Status: guard.StatusClientClosed, Err: err}
		return graphql.OneShot(&graphql.Response{Errors: gqlerror.List{refusal(Denial{Reason: unavailable})}})
	case o.denial.Reason != 0:
		return o.refuse()
	}
	if o.ext.counts {
		o.gql.ResolverMiddleware = o.counting(o.gql.ResolverMiddleware)
	}
	handler := next(ctx)
	over = false
	if !o.watches() {
		o.settle(Outcome{Status: statusOK}) // nothing depends on how it ends
		return handler
	}
	o.next = handler
	if o.Kind() == Subscription {
		o.watch(ctx)
	}
	return o.respond
}

// watches tells whether anything is left to do with the operation's answers.
func (o *Operation) watches() bool {
	return o.ext.lasts || o.ext.config.Cost || o.event != "" || o.fields != nil && len(o.fields.held) > 0
}

// admitted waits for the delay of the operation's rules, and decides on its fields. The context it returns is that of
// the execution; an error, that it has ended before.
func (o *Operation) admitted() (context.Context, error) {
	ctx := o.ctx
	if o.pass != nil {
		if err := o.pass.Wait(); err != nil {
			return nil, err
		}
		if o.ext.config.Attach {
			ctx = guard.Attach(ctx, o.pass.Verdict())
		}
	}
	if !o.startEvents() {
		return ctx, nil
	}
	if o.ext.fields == nil {
		return ctx, nil
	}
	w, ok := walk(o, o.ext.fields)
	if !ok {
		o.denial = Denial{Reason: guard.QuotaExceeded, RetryAfter: never}
		return ctx, nil
	}
	if len(w.found) == 0 {
		return ctx, nil
	}
	o.fields = decide(o, w)
	if o.ext.config.Cost {
		o.noteFields()
	}
	if err := wait(ctx, o.fields.delay); err != nil {
		return nil, err
	}
	if o.fields.refused != nil {
		o.gql.ResolverMiddleware = o.fields.middleware(o.gql.ResolverMiddleware)
	}
	return context.WithValue(ctx, decidedKey{}, true), nil
}

// refuse answers an operation that was denied.
func (o *Operation) refuse() graphql.ResponseHandler {
	resp := &graphql.Response{Errors: gqlerror.List{o.presented()}}
	if o.ext.config.Cost {
		o.addCost(resp)
	}
	o.request.refuse(o.denial.Status())
	return graphql.OneShot(resp)
}

// presented returns the error of a denied operation.
func (o *Operation) presented() (e *gqlerror.Error) {
	if o.ext.config.OnDenied == nil {
		return refusal(o.denial)
	}
	var err error
	defer func() {
		if err != nil {
			o.ext.tell(o, err)
		}
		if e == nil {
			e = refusal(o.denial)
		}
	}()
	defer recovered(&err)
	return o.ext.config.OnDenied(o, o.denial)
}

// respond returns the operation's next answer, and settles it after the last.
func (o *Operation) respond(ctx context.Context) *graphql.Response {
	outcome := Outcome{Status: http.StatusInternalServerError}
	over := true
	defer func() {
		if over {
			o.settle(outcome)
		}
	}()
	resp := o.next(ctx)
	if o.event != "" {
		resp = o.events(ctx, resp)
	}
	if resp == nil {
		outcome.Status = statusOK
		return nil
	}
	o.failed(resp.Errors)
	switch {
	case o.Kind() == Subscription:
		over = false
	case resp.HasNext != nil && *resp.HasNext: // @defer: more is to come, if the transport asks for it
		over = false
		o.watch(ctx)
	default:
		over = false
		o.settle(Outcome{Status: statusOK})
	}
	if o.ext.config.Cost {
		o.addCost(resp)
	}
	return resp
}

// failed remembers the errors of an answer for Settle: the first thousand, since a stream may have any number.
func (o *Operation) failed(list gqlerror.List) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if room := 1000 - len(o.errors); len(list) > room {
		list = list[:max(0, room)]
	}
	o.errors = append(o.errors, list...)
}

// watch settles the operation when its context ends, in case that nobody asks for a further answer.
func (o *Operation) watch(ctx context.Context) {
	if o.watched {
		return
	}
	o.watched = true
	stop := context.AfterFunc(ctx, func() { o.settle(Outcome{Status: guard.StatusClientClosed, Err: ctx.Err()}) })
	o.mu.Lock()
	o.stop = stop
	o.mu.Unlock()
}

// settle ends the operation, once: it corrects what was reserved, and gives back places in flight.
func (o *Operation) settle(outcome Outcome) {
	o.settled.Do(func() {
		o.mu.Lock()
		if len(o.errors) > 0 {
			outcome.Err = o.errors
		}
		stop := o.stop
		o.mu.Unlock()
		if stop != nil {
			stop()
		}
		if o.pass != nil {
			o.pass.Leave(outcome)
		}
		if o.fields != nil {
			o.fields.release(o)
		}
	})
}

// counting counts the fields that are resolved.
func (o *Operation) counting(next graphql.FieldMiddleware) graphql.FieldMiddleware {
	return func(ctx context.Context, resolve graphql.Resolver) (any, error) {
		o.resolved.Add(1)
		return next(ctx, resolve)
	}
}
