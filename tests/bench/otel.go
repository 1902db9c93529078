package main

import (
	"context"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace/noop"

	haltotel "github.com/halt-dev/halt/adapters/otel"
	halt "github.com/halt-dev/halt/core"
)

// The ways to observe with haltotel.
const (
	otelMetrics  = "haltotel: metrics"
	otelDropped  = "haltotel: metrics, in a span that does not record"
	otelOwn      = "haltotel: metrics, a halt.take that does not record"
	otelRecorded = "haltotel: metrics, a halt.take that records"
)

// otelDeciders returns Halt, observed by haltotel in each way. OpenTelemetry's SDK is set up as a program would: a reader that collects,
// here at nobody's request, and spans that are thrown away.
func otelDeciders() []decider {
	metrics := func() *sdkmetric.MeterProvider {
		return sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
	}
	tracers := func(s sdktrace.Sampler) *sdktrace.TracerProvider {
		return sdktrace.NewTracerProvider(sdktrace.WithSampler(s), sdktrace.WithSyncer(tracetest.NewNoopExporter()))
	}
	never, always := tracers(sdktrace.NeverSample()), tracers(sdktrace.AlwaysSample())
	// within makes an observer with these tracers, within a request's span of those.
	within := func(own, request *sdktrace.TracerProvider) func() (context.Context, halt.Observer, error) {
		return func() (context.Context, halt.Observer, error) {
			ctx, _ := request.Tracer("bench").Start(context.Background(), "request")
			ob, err := haltotel.New(&haltotel.Options{MeterProvider: metrics(), TracerProvider: own})
			return ctx, ob, err
		}
	}
	return []decider{
		observed("adapters/otel", otelMetrics, "no tracing", func() (context.Context, halt.Observer, error) {
			ob, err := haltotel.New(&haltotel.Options{MeterProvider: metrics(), TracerProvider: noop.NewTracerProvider()})
			return context.Background(), ob, err
		}),
		observed("adapters/otel", otelDropped, "the request's span was not sampled, as most are not", within(never, never)),
		observed("adapters/otel", otelOwn, "the request's was, and a sampler drops its children", within(never, always)),
		observed("adapters/otel", otelRecorded, "the whole trace is sampled; exemplars too", within(always, always)),
	}
}
