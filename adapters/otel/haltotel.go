package haltotel

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	halt "github.com/halt-dev/halt/core"
)

// The attributes, beside Options.RouteKey. See docs/telemetry.md.
const (
	policyKey  = attribute.Key("halt.policy")
	planKey    = attribute.Key("halt.plan")
	outcomeKey = attribute.Key("halt.outcome")
	storeKey   = attribute.Key("halt.store")
	errorKey   = attribute.Key("error.type")

	// Of spans only.
	policiesKey      = attribute.Key("halt.policies")
	algorithmKey     = attribute.Key("halt.algorithm")
	modeKey          = attribute.Key("halt.mode")
	costKey          = attribute.Key("halt.cost")
	allowedKey       = attribute.Key("halt.allowed")
	blockedKey       = attribute.Key("halt.blocked")
	remainingKey     = attribute.Key("halt.remaining")
	shadowKey        = attribute.Key("halt.shadow")
	shadowRefusedKey = attribute.Key("halt.shadow_refused")
	failedOpenKey    = attribute.Key("halt.failed_open")
	keyKey           = attribute.Key("halt.key")
)

// observer is what New returns.
type observer struct {
	tracer  trace.Tracer
	spanKey func(string) string
	meters
}

// New returns an observer that makes spans and metrics of what limiters decide. It is safe for concurrent use, and runs no
// goroutine. The error names what is wrong with the options, or why an instrument could not be made.
//
// Its MeterProvider keeps it until that is shut down: make one for the program, not one per limiter.
func New(o *Options) (halt.Observer, error) {
	c, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	ob := &observer{
		tracer:  c.TracerProvider.Tracer(scope, trace.WithInstrumentationVersion(version())),
		spanKey: c.SpanKey,
	}
	if err := ob.meters.init(&c); err != nil {
		return nil, err
	}
	return ob, nil
}

// Start begins a span, if the request's is sampled or records.
func (o *observer) Start(ctx context.Context, e *halt.Event) context.Context {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() && !parent.SpanContext().IsSampled() {
		return ctx
	}
	return o.startSpan(ctx, e)
}

// End ends the span and counts the call.
func (o *observer) End(ctx context.Context, e *halt.Event) {
	in, ok := ctx.(*inSpan)
	if !ok || in.owner != o {
		o.measure(ctx, e)
		return
	}
	defer o.measure(ctx, e) // even if SpanKey or a span processor panics, which the Limiter catches
	o.endSpan(ctx, in.span, e)
}

// canceled is the kind of what failed because the caller gave up.
const canceled = "canceled"

// kind is what error.type tells of a call that failed.
func kind(ctx context.Context, err error) string {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return canceled
	}
	return halt.ErrorKind(err)
}
