package haltotel_test

import (
	"context"
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace/noop"

	haltotel "github.com/halt-dev/halt/adapters/otel"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

// setups are ways to observe a decision; "none" is the one that the others are compared with.
func setups(tb testing.TB) []setup {
	tb.Helper()
	metrics := func() *sdkmetric.MeterProvider {
		return sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
	}
	observer := func(o haltotel.Options) *halt.Options {
		ob, err := haltotel.New(&o)
		if err != nil {
			tb.Fatal(err)
		}
		return &halt.Options{Observers: []halt.Observer{ob}}
	}
	sampler := func(s sdktrace.Sampler) *sdktrace.TracerProvider {
		return sdktrace.NewTracerProvider(sdktrace.WithSampler(s), sdktrace.WithSyncer(tracetest.NewNoopExporter()))
	}
	background := context.Background()
	never, always := sampler(sdktrace.NeverSample()), sampler(sdktrace.AlwaysSample())
	dropped, _ := never.Tracer("test").Start(background, "request")
	sampled, span := always.Tracer("test").Start(background, "request")
	tb.Cleanup(func() { span.End() })
	return []setup{
		{"none", background, nil},
		{"an observer that does nothing", background, &halt.Options{Observers: []halt.Observer{idle{}}}},
		{"no provider set", background, observer(haltotel.Options{})},
		{"metrics", background, observer(haltotel.Options{MeterProvider: metrics(), TracerProvider: noop.NewTracerProvider()})},
		{"a request's span that does not record, no metrics", dropped, observer(haltotel.Options{TracerProvider: never})},
		{"a request's span that does not record, metrics", dropped, observer(haltotel.Options{TracerProvider: never, MeterProvider: metrics()})},
		{"a span of its own that does not record", sampled, observer(haltotel.Options{TracerProvider: never})},
		{"a span that records, metrics", sampled, observer(haltotel.Options{TracerProvider: always, MeterProvider: metrics()})},
	}
}

type setup struct {
	name    string
	ctx     context.Context
	options *halt.Options
}

type idle struct{}

func (idle) Start(ctx context.Context, _ *halt.Event) context.Context { return ctx }
func (idle) End(context.Context, *halt.Event)                         {}

// plenty is never used up.
var plenty = halt.Policy{Name: "api", Plan: "free", Limit: 1_000_000_000, Window: time.Hour}

// decide returns a function that makes one decision.
func (s setup) decide() func() (halt.Decision, error) {
	l := halt.New(memory.New(nil), s.options)
	return func() (halt.Decision, error) { return l.Allow(s.ctx, plenty, "user:10000000") }
}

func BenchmarkAllow(b *testing.B) {
	for _, s := range setups(b) {
		b.Run(s.name, func(b *testing.B) {
			decide := s.decide()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := decide(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAllowParallel(b *testing.B) {
	for _, s := range setups(b) {
		b.Run(s.name, func(b *testing.B) {
			decide := s.decide()
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := decide(); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
