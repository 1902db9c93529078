package haltgqlgen

import (
	"context"
	"net/http"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"

	halt "github.com/halt-dev/halt/core"
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
	if o.denial != nil {
		return o.refuse()
	}
	ctx, err := o.admitted()
	switch {
	case err != nil:
		outcome = Outcome{Status: guard.StatusClientClosed, Err: err}
		return graphql.OneShot(&graphql.Response{Errors: gqlerror.List{refusal(Denial{Reason: guard.Unavailable})}})
	case o.denial != nil:
		return o.refuse()
	}
	if o.ext.counts {
		o.gql.ResolverMiddleware = o.counting(o.gql.ResolverMiddleware)
	}
	handler := next(ctx)
	over = false
	if o.answers == nil {
		o.settle(Outcome{Status: http.StatusOK}) // nothing depends on how it ends
		return handler
	}
	o.answers.next = handler
	if o.Kind() == Subscription {
		o.watch(ctx)
	}
	return o.respond
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
	return o.admitFields(ctx)
}

// admitFields decides on the operation's limited fields, and waits for their delay.
func (o *Operation) admitFields(ctx context.Context) (context.Context, error) {
	w := o.ext.walker(o)
	if !w.walk() {
		o.denial = &Denial{Reason: guard.QuotaExceeded, RetryAfter: halt.Never}
		return ctx, nil
	}
	if len(w.found) > 0 {
		w.decide(o)
		if o.ext.config.Cost {
			o.noteFields(w.budgets)
		}
		if w.directed {
			o.decided.Context = ctx
			ctx = &o.decided
		}
	}
	if w.refused == nil && len(w.held) == 0 && w.delay == 0 {
		o.ext.recycle(w) // there is nothing more to do for them
		return ctx, nil
	}
	o.fields = &w.fieldCharges
	if len(w.held) > 0 && o.answers == nil {
		o.answers = new(answers)
	}
	if w.refused != nil {
		o.gql.ResolverMiddleware = w.middleware(o.gql.ResolverMiddleware)
	}
	return ctx, wait(ctx, w.delay)
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
		return refusal(*o.denial)
	}
	var err error
	defer func() {
		if err != nil {
			o.ext.tellFunction(o, "OnDenied", err, false)
		}
		if e == nil {
			e = refusal(*o.denial)
		}
	}()
	defer recovered(&err)
	return o.ext.config.OnDenied(o, *o.denial)
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
	resp := o.answers.next(ctx)
	if o.answers.event != "" {
		resp = o.events(ctx, resp)
	}
	if resp == nil {
		outcome.Status = http.StatusOK
		return nil
	}
	o.answers.failed(resp.Errors)
	switch {
	case o.Kind() == Subscription:
		over = false
	case resp.HasNext != nil && *resp.HasNext: // @defer: more is to come, if the transport asks for it
		over = false
		o.watch(ctx)
	default:
		over = false
		o.settle(Outcome{Status: http.StatusOK})
	}
	if o.ext.config.Cost {
		o.addCost(resp)
	}
	return resp
}

// failed remembers the errors of an answer for Settle: the first thousand, since a stream may have any number.
func (a *answers) failed(list gqlerror.List) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if room := 1000 - len(a.errors); len(list) > room {
		list = list[:max(0, room)]
	}
	a.errors = append(a.errors, list...)
}

// watch settles the operation when its context ends, in case that nobody asks for a further answer.
func (o *Operation) watch(ctx context.Context) {
	a := o.answers
	if a.watched {
		return
	}
	a.watched = true
	stop := context.AfterFunc(ctx, func() { o.settle(Outcome{Status: guard.StatusClientClosed, Err: ctx.Err()}) })
	a.mu.Lock()
	a.stop = stop
	a.mu.Unlock()
}

// settle ends the operation, once: it corrects what was reserved, and gives back places in flight.
func (o *Operation) settle(outcome Outcome) {
	a := o.answers
	if a == nil {
		o.leave(outcome)
		return
	}
	a.settled.Do(func() {
		a.mu.Lock()
		if len(a.errors) > 0 {
			outcome.Err = a.errors
		}
		stop := a.stop
		a.mu.Unlock()
		if stop != nil {
			stop()
		}
		o.leave(outcome)
	})
}

func (o *Operation) leave(outcome Outcome) {
	if o.pass != nil {
		o.pass.Leave(outcome)
	}
	if o.fields != nil {
		o.fields.release(o)
	}
}

// counting counts the fields that are resolved.
func (o *Operation) counting(next graphql.FieldMiddleware) graphql.FieldMiddleware {
	return func(ctx context.Context, resolve graphql.Resolver) (any, error) {
		o.answers.resolved.Add(1)
		return next(ctx, resolve)
	}
}
