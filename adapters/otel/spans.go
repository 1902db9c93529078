package haltotel

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	halt "github.com/halt-dev/halt/core"
)

const spanName = "halt.take"

// inSpan is the context of a call that has a span of its own. End knows by its type that the span in the context is the
// observer's to end, and not the request's.
type inSpan struct {
	context.Context
	span  trace.Span
	owner *observer
}

// startSpan begins a span with what a sampler may want to know.
func (o *observer) startSpan(ctx context.Context, e *halt.Event) context.Context {
	names := make([]string, len(e.Charges))
	for i := range e.Charges {
		names[i] = e.Charges[i].Policy.Name
	}
	attrs := make([]attribute.KeyValue, 0, 3)
	attrs = append(attrs, policiesKey.StringSlice(names), storeKey.String(valid(e.Store)))
	if e.Route != "" {
		attrs = append(attrs, o.routeKey.String(valid(e.Route)))
	}
	in, span := o.tracer.Start(ctx, spanName, trace.WithSpanKind(trace.SpanKindInternal), trace.WithAttributes(attrs...))
	if !span.SpanContext().IsValid() {
		return ctx // tracing is off: the request's span stays the parent of what the store does
	}
	return &inSpan{Context: in, span: span, owner: o}
}

// endSpan tells what became of the call and ends its span.
func (o *observer) endSpan(ctx context.Context, span trace.Span, e *halt.Event) {
	defer span.End()
	if !span.IsRecording() || len(e.Charges) == 0 {
		return
	}
	i := decider(e)
	c := &e.Charges[i]
	attrs := make([]attribute.KeyValue, 0, 12)
	attrs = append(attrs,
		policyKey.String(c.Policy.Name),
		algorithmKey.String(algorithmName(c.Policy.Algorithm)),
		modeKey.String(c.Mode.String()),
		costKey.Int64(c.Cost),
		shadowKey.Bool(c.OnShadow()),
	)
	if c.Policy.Plan != "" {
		attrs = append(attrs, planKey.String(valid(c.Policy.Plan)))
	}
	if e.Err != nil {
		k := kind(ctx, e.Err)
		attrs = append(attrs, errorKey.String(k), failedOpenKey.Bool(e.FailedOpen))
		if k != canceled {
			span.SetStatus(codes.Error, k)
		}
	} else {
		d := &e.Decisions[i]
		attrs = append(attrs,
			allowedKey.Bool(e.Decisions.Allowed()),
			blockedKey.Bool(d.Blocked),
			remainingKey.Int64(d.Remaining),
		)
		if refused := shadowRefused(e); len(refused) > 0 {
			attrs = append(attrs, shadowRefusedKey.StringSlice(refused))
		}
	}
	span.SetAttributes(attrs...)
	if o.spanKey != nil { // last, so that the rest is there if it panics
		span.SetAttributes(keyKey.String(valid(o.spanKey(c.Key))))
	}
}

// decider returns the charge that decided: of those that refused the one that has to wait longest, else the one that
// binds with the least remaining, else the first.
func decider(e *halt.Event) int {
	if e.Err != nil {
		return 0
	}
	refused, tightest := -1, -1
	for i := range e.Decisions {
		d := &e.Decisions[i]
		switch {
		case !d.Mode.Binds():
		case !d.Allowed:
			if refused < 0 || d.RetryAfter > e.Decisions[refused].RetryAfter {
				refused = i
			}
		case tightest < 0 || d.Remaining < e.Decisions[tightest].Remaining:
			tightest = i
		}
	}
	if refused >= 0 {
		return refused
	}
	return max(tightest, 0)
}

// shadowRefused names the policies on trial that would have refused.
func shadowRefused(e *halt.Event) (names []string) {
	for i := range e.Decisions {
		if e.Decisions[i].Mode == halt.Shadow && !e.Decisions[i].Allowed {
			names = append(names, e.Charges[i].Policy.Name)
		}
	}
	return names
}

// valid is s as exporters want it, who fail as a whole on a string that isn't UTF-8.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// algorithmName is the algorithm's name as attributes have such values: token_bucket, in_flight.
func algorithmName(a halt.Algorithm) string {
	return strings.NewReplacer(" ", "_", "-", "_").Replace(a.String())
}
