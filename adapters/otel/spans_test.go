package haltotel_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	haltotel "github.com/halt-dev/halt/adapters/otel"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

// took returns the only span halt.take, and forgets all.
func (tm *telemetry) took() tracetest.SpanStub {
	tm.t.Helper()
	defer tm.spans.Reset()
	var found []tracetest.SpanStub
	for _, s := range tm.spans.GetSpans() {
		if s.Name == "halt.take" {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		tm.t.Fatalf("%d spans halt.take", len(found))
	}
	return found[0]
}

func TestSpanAttributes(t *testing.T) {
	tm := newTelemetry(t, nil)
	l := tm.limiter(memory.New(nil))
	ctx, request := tm.request()
	tight, wide := quota("tight", "free", 2), quota("wide", "", 100)
	trial := quota("trial", "", 1).Charge("k", 1)
	trial.Mode = halt.Shadow
	blocks := quota("login", "", 1)
	blocks.Block = 1
	for i, c := range []struct {
		charges []halt.Charge
		want    string
	}{
		{
			[]halt.Charge{wide.Charge("k", 1), tight.Charge("k", 2), trial},
			"algorithm=fixed_window allowed=true blocked=false cost=2 http.route=GET /a mode=take plan=free " +
				`policies=["wide","tight","trial"] policy=tight remaining=0 shadow=false store=memory `,
		},
		{
			[]halt.Charge{wide.Charge("k", 1), tight.Charge("k", 1), trial},
			"algorithm=fixed_window allowed=false blocked=false cost=1 http.route=GET /a mode=take plan=free " +
				`policies=["wide","tight","trial"] policy=tight remaining=0 shadow=false shadow_refused=["trial"] store=memory `,
		},
		{
			[]halt.Charge{trial},
			"algorithm=fixed_window allowed=true blocked=false cost=1 http.route=GET /a mode=shadow " +
				`policies=["trial"] policy=trial remaining=0 shadow=true shadow_refused=["trial"] store=memory `,
		},
		{
			[]halt.Charge{{Policy: wide, Key: "k", Cost: 9, Mode: halt.Debit}},
			"algorithm=fixed_window allowed=true blocked=false cost=9 http.route=GET /a mode=debit " +
				`policies=["wide"] policy=wide remaining=90 shadow=false store=memory `,
		},
	} {
		do(t, l, ctx, "GET /a", c.charges...)
		s := tm.took()
		if got := attributes(s.Attributes); got != c.want {
			t.Errorf("call %d:\n got %s\nwant %s", i, got, c.want)
		}
		if s.SpanKind != trace.SpanKindInternal || s.Status.Code != codes.Unset || s.EndTime.Before(s.StartTime) {
			t.Errorf("call %d: kind %v, status %+v", i, s.SpanKind, s.Status)
		}
		if s.Parent.SpanID() != request.SpanContext().SpanID() {
			t.Errorf("call %d: not a child of the request's", i)
		}
	}
	request.End()
}

// TestSpanErrors: the status is an error exactly if the store failed, and tells no more than its kind.
func TestSpanErrors(t *testing.T) {
	tm := newTelemetry(t, nil)
	for _, c := range []struct {
		err    error
		gone   bool
		open   bool
		status sdktrace.Status
		want   string
	}{
		{errors.New("secret: 10.0.0.7"), false, true, sdktrace.Status{Code: codes.Error, Description: "store"}, "error.type=store failed_open=true"},
		{context.DeadlineExceeded, false, false, sdktrace.Status{Code: codes.Error, Description: "deadline"}, "error.type=deadline failed_open=false"},
		{context.Canceled, true, true, sdktrace.Status{}, "error.type=canceled failed_open=false"},
		{context.Canceled, false, true, sdktrace.Status{Code: codes.Error, Description: "store"}, "error.type=store failed_open=true"},
	} {
		ctx, request := tm.request()
		ctx, cancel := context.WithCancel(ctx)
		if c.gone {
			cancel()
		}
		call := halt.Call{Charges: []halt.Charge{quota("api", "", 1).Charge("k", 1)}, FailOpen: c.open}
		if err := tm.limiter(failing(c.err)).Do(ctx, &call); err == nil {
			t.Fatal("no error")
		}
		cancel()
		request.End()
		s := tm.took()
		want := "algorithm=fixed_window cost=1 " + c.want + ` mode=take policies=["api"] policy=api shadow=false store=scripted `
		if got := attributes(s.Attributes); got != want || s.Status != c.status || len(s.Events) != 0 {
			t.Errorf("%v: %s, %+v, %d events", c.err, got, s.Status, len(s.Events))
		}
	}
}

// TestWhenThereAreSpans: within a trace, and only there.
func TestWhenThereAreSpans(t *testing.T) {
	tm := newTelemetry(t, nil)
	l := tm.limiter(memory.New(nil))
	id := trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, Remote: true}
	unsampled := trace.NewSpanContext(id)
	id.TraceFlags = trace.FlagsSampled
	for _, c := range []struct {
		what string
		ctx  context.Context
		want int
	}{
		{"no trace", t.Context(), 0},
		{"a trace that is not sampled", trace.ContextWithRemoteSpanContext(t.Context(), unsampled), 0},
		{"a sampled trace from elsewhere", trace.ContextWithRemoteSpanContext(t.Context(), trace.NewSpanContext(id)), 1},
	} {
		do(t, l, c.ctx, "", plenty.Charge("k", 1))
		if got := len(tm.spans.GetSpans()); got != c.want {
			t.Errorf("%s: %d spans", c.what, got)
		}
		tm.spans.Reset()
	}
}

// seeing is an observer that notes the span that is current for it and for the store.
type seeing struct{ start, end trace.SpanContext }

func (s *seeing) Start(ctx context.Context, _ *halt.Event) context.Context {
	s.start = trace.SpanContextFromContext(ctx)
	return context.WithValue(ctx, s, "its own")
}

func (s *seeing) End(ctx context.Context, _ *halt.Event) {
	s.end = trace.SpanContextFromContext(ctx)
}

// TestNesting: with other observers around and within, and a second one of this package's, each ends its own span, and none
// the request's.
func TestNesting(t *testing.T) {
	tm := newTelemetry(t, nil)
	var outer, middle, inner seeing
	l := halt.New(memory.New(nil), &halt.Options{Observers: []halt.Observer{
		&outer, tm.observer(haltotel.Options{}), &middle, tm.observer(haltotel.Options{}), &inner,
	}})
	ctx, request := tm.request()
	do(t, l, ctx, "", plenty.Charge("k", 1))
	if !request.IsRecording() {
		t.Error("the request's span was ended")
	}
	spans := tm.spans.GetSpans() // in the order of their ends
	if len(spans) != 2 {
		t.Fatalf("%d spans", len(spans))
	}
	within, around := spans[0], spans[1]
	if around.Parent.SpanID() != request.SpanContext().SpanID() || within.Parent.SpanID() != around.SpanContext.SpanID() {
		t.Error("the spans do not nest")
	}
	for what, pair := range map[string][2]trace.SpanContext{
		"outer":  {outer.start, request.SpanContext()},
		"middle": {middle.start, around.SpanContext},
		"inner":  {inner.start, within.SpanContext},
		"ends":   {outer.end, request.SpanContext()},
	} {
		if !pair[0].Equal(pair[1]) {
			t.Errorf("%s observer: another span than expected is current", what)
		}
	}
	if !middle.end.Equal(around.SpanContext) || !inner.end.Equal(within.SpanContext) {
		t.Error("at End another span is current than at Start")
	}
}

// spying is a store that notes the current span.
type spying struct {
	halt.Store
	saw trace.SpanContext
}

func (s *spying) Take(ctx context.Context, cs []halt.Charge, ds []halt.Decision) error {
	s.saw = trace.SpanContextFromContext(ctx)
	return s.Store.Take(ctx, cs, ds)
}

// TestTracingOff: where spans are off the request's stays the parent of what the store's client traces.
func TestTracingOff(t *testing.T) {
	tm := newTelemetry(t, nil)
	s := &spying{Store: memory.New(nil)}
	ob := tm.observer(haltotel.Options{TracerProvider: noop.NewTracerProvider()})
	ctx, request := tm.request()
	do(t, halt.New(s, &halt.Options{Observers: []halt.Observer{ob}}), ctx, "", plenty.Charge("k", 1))
	if !s.saw.Equal(request.SpanContext()) {
		t.Error("the store does not see the request's span")
	}
	do(t, halt.New(s, &halt.Options{Observers: []halt.Observer{tm.observer(haltotel.Options{})}}), ctx, "", plenty.Charge("k", 1))
	if got := tm.took(); !s.saw.Equal(got.SpanContext) {
		t.Error("the store does not see halt.take")
	}
}

// TestSampler: what a sampler is told at the start, and what it drops.
func TestSampler(t *testing.T) {
	var told []string
	tm := newTelemetry(t, nil, sdktrace.WithSampler(sampler(func(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
		if p.Name != "halt.take" {
			return sdktrace.AlwaysSample().ShouldSample(p)
		}
		told = append(told, attributes(p.Attributes))
		return sdktrace.NeverSample().ShouldSample(p)
	})))
	ctx, request := tm.request()
	do(t, tm.limiter(memory.New(nil)), ctx, "GET /a", plenty.Charge("k", 1), quota("q", "", 1).Charge("k", 1))
	request.End()
	if n := len(tm.spans.GetSpans()); n != 1 {
		t.Errorf("%d spans, want the request's alone", n)
	}
	if got, want := fmt.Sprint(told), `[http.route=GET /a policies=["api","q"] store=memory ]`; got != want {
		t.Errorf("the sampler is told %s, want %s", got, want)
	}
	expect(t, "halt.cost", tm.counts("halt.cost"), "http.route=GET /a plan=free policy=api 1", "http.route=GET /a policy=q 1")
}

type sampler func(sdktrace.SamplingParameters) sdktrace.SamplingResult

func (f sampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult { return f(p) }
func (f sampler) Description() string                                                { return "test" }
