package haltotel_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	haltotel "github.com/halt-dev/halt/adapters/otel"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

// telemetry is what a program would have set up, in memory.
type telemetry struct {
	t       *testing.T
	reader  *sdkmetric.ManualReader
	spans   *tracetest.InMemoryExporter
	meters  *sdkmetric.MeterProvider
	tracers *sdktrace.TracerProvider
}

func newTelemetry(t *testing.T, metrics []sdkmetric.Option, traces ...sdktrace.TracerProviderOption) *telemetry {
	t.Helper()
	reader, spans := sdkmetric.NewManualReader(), tracetest.NewInMemoryExporter()
	return &telemetry{
		t: t, reader: reader, spans: spans,
		meters:  sdkmetric.NewMeterProvider(append(metrics, sdkmetric.WithReader(reader))...),
		tracers: sdktrace.NewTracerProvider(append(traces, sdktrace.WithSyncer(spans))...),
	}
}

// observer returns one with the options.
func (tm *telemetry) observer(o haltotel.Options) halt.Observer {
	tm.t.Helper()
	if o.MeterProvider == nil {
		o.MeterProvider = tm.meters
	}
	if o.TracerProvider == nil {
		o.TracerProvider = tm.tracers
	}
	ob, err := haltotel.New(&o)
	if err != nil {
		tm.t.Fatal(err)
	}
	return ob
}

// limiter returns one on the store that shows its calls to an observer of the defaults.
func (tm *telemetry) limiter(s halt.Store) *halt.Limiter {
	tm.t.Helper()
	return halt.New(s, &halt.Options{Observers: []halt.Observer{tm.observer(haltotel.Options{})}})
}

// request returns a context with a request's span.
func (tm *telemetry) request() (context.Context, trace.Span) {
	return tm.tracers.Tracer("test").Start(tm.t.Context(), "request")
}

// collect returns the metrics by name.
func (tm *telemetry) collect() map[string]metricdata.Metrics {
	tm.t.Helper()
	return collectFrom(tm.t, tm.reader)
}

func collectFrom(t *testing.T, r sdkmetric.Reader) map[string]metricdata.Metrics {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := r.Collect(context.Background(), &rm); err != nil {
		t.Fatal(err)
	}
	all := map[string]metricdata.Metrics{}
	for _, scope := range rm.ScopeMetrics {
		if scope.Scope.Name != "github.com/halt-dev/halt/adapters/otel" {
			t.Errorf("a metric of the scope %q", scope.Scope.Name)
		}
		for _, m := range scope.Metrics {
			all[m.Name] = m
		}
	}
	return all
}

// counts returns the data points of the named metric as "attributes value", sorted; of a histogram its count.
func (tm *telemetry) counts(name string) []string {
	tm.t.Helper()
	return countsOf(tm.t, tm.collect()[name])
}

func countsOf(t *testing.T, m metricdata.Metrics) []string {
	t.Helper()
	var all []string
	switch d := m.Data.(type) {
	case nil:
	case metricdata.Sum[int64]:
		for _, p := range d.DataPoints {
			all = append(all, fmt.Sprint(attributes(p.Attributes.ToSlice()), p.Value))
		}
	case metricdata.Histogram[float64]:
		for _, p := range d.DataPoints {
			all = append(all, fmt.Sprint(attributes(p.Attributes.ToSlice()), p.Count))
		}
	default:
		t.Errorf("%s is a %T", m.Name, d)
	}
	slices.Sort(all)
	return all
}

// attributes writes attributes as "key=value … ", in the order of the keys.
func attributes(kvs []attribute.KeyValue) string {
	var b strings.Builder
	kvs = slices.Clone(kvs)
	name := func(kv attribute.KeyValue) string { return strings.TrimPrefix(string(kv.Key), "halt.") }
	slices.SortFunc(kvs, func(a, b attribute.KeyValue) int { return strings.Compare(name(a), name(b)) })
	for _, kv := range kvs {
		fmt.Fprintf(&b, "%s=%s ", name(kv), kv.Value.String())
	}
	return b.String()
}

// expect compares counts with what is wanted, given in any order.
func expect(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %s\nwant %s", what, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

// do makes a call of charges on a route.
func do(t *testing.T, l *halt.Limiter, ctx context.Context, route string, cs ...halt.Charge) halt.Decisions { //nolint:revive // the test comes first
	t.Helper()
	c := halt.Call{Charges: cs, Route: route}
	if err := l.Do(ctx, &c); err != nil {
		t.Fatal(err)
	}
	return c.Decisions
}

// quota is a fixed window of 1000 hours, so that none ends during a test.
func quota(name, plan string, limit int64) halt.Policy {
	return halt.Policy{Name: name, Plan: plan, Algorithm: halt.FixedWindow, Limit: limit, Window: 1000 * time.Hour}
}

// store is a memory store with another way to answer.
type store struct {
	*memory.Store
	take func() error
}

func (s *store) Name() string { return "scripted" }

func (s *store) Take(ctx context.Context, cs []halt.Charge, ds []halt.Decision) error {
	if err := s.take(); err != nil {
		return err
	}
	return s.Store.Take(ctx, cs, ds)
}

// failing is a store that fails in this way.
func failing(err error) *store { return &store{memory.New(nil), func() error { return err }} }
