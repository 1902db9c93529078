package haltotel_test

import (
	"context"
	"fmt"
	"sort"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	haltotel "github.com/halt-dev/halt/adapters/otel"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

// Two of three requests are admitted: what traces and metrics show of them. A program has its providers set up once, with
// exporters of its choice in place of these.
func Example() {
	reader, spans := sdkmetric.NewManualReader(), tracetest.NewInMemoryExporter()
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))

	observer, err := haltotel.New(&haltotel.Options{MeterProvider: meters, TracerProvider: tracers})
	if err != nil {
		panic(err)
	}
	limiter := halt.New(memory.New(nil), &halt.Options{Observers: []halt.Observer{observer}})

	ctx, request := tracers.Tracer("example").Start(context.Background(), "GET /hello")
	for range 3 {
		if _, err := limiter.Allow(ctx, halt.Policy{Name: "api", Limit: 2, Window: time.Hour}, "user:42"); err != nil {
			panic(err)
		}
	}
	request.End()

	for _, s := range spans.GetSpans() {
		fmt.Print(s.Name)
		for _, a := range s.Attributes {
			if a.Key == "halt.allowed" || a.Key == "halt.remaining" {
				fmt.Print(" ", a.Key, "=", a.Value.String())
			}
		}
		fmt.Println()
	}
	var rm metricdata.ResourceMetrics
	if err := reader.Collect(ctx, &rm); err != nil {
		panic(err)
	}
	for _, m := range rm.ScopeMetrics[0].Metrics {
		if m.Name == "halt.decisions" {
			points := m.Data.(metricdata.Sum[int64]).DataPoints
			sort.Slice(points, func(i, j int) bool { return points[i].Value > points[j].Value })
			for _, p := range points {
				outcome, _ := p.Attributes.Value("halt.outcome")
				fmt.Println(m.Name, outcome.AsString(), p.Value)
			}
		}
	}
	// Output:
	// halt.take halt.allowed=true halt.remaining=1
	// halt.take halt.allowed=true halt.remaining=0
	// halt.take halt.allowed=false halt.remaining=0
	// GET /hello
	// halt.decisions allowed 2
	// halt.decisions refused 1
}
