package main

import (
	"context"
	"fmt"
	"io"
	"math"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace/noop"

	haltotel "github.com/halt-dev/halt/adapters/otel"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

// otelRun is what OpenTelemetry costs a decision in memory.
type otelRun struct {
	decisions results // by scenario and way to observe
	scenarios []scenario
}

// The ways to observe, beside haltName, which is not at all.
const (
	otelIdle     = "an observer that does nothing"
	otelMetrics  = "haltotel: metrics"
	otelDropped  = "haltotel: metrics, in a span that does not record"
	otelOwn      = "haltotel: metrics, a halt.take that does not record"
	otelRecorded = "haltotel: metrics, a halt.take that records"
)

// otelDeciders returns Halt, observed in each way. OpenTelemetry's SDK is set up as a program would: a reader that collects,
// here at nobody's request, and spans that are thrown away.
func otelDeciders() []decider {
	observed := func(name, how string, set func() (context.Context, halt.Observer, error)) decider {
		return decider{
			Name: name, Module: ours + "adapters/otel", How: how,
			New: func(r rule, keys int) (take, func()) {
				ctx, ob, err := set()
				if err != nil {
					panic(err) // of fixed options
				}
				l, p := observedLimiter(keys, ob), haltPolicy(r)
				return func(key string) bool {
					d, err := l.Allow(ctx, p, key)
					return err == nil && d.Allowed
				}, nothing
			},
		}
	}
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
	return append(haltDeciders(),
		observed(otelIdle, "of this program: the price of being observed at all", func() (context.Context, halt.Observer, error) {
			return context.Background(), idleObserver{}, nil
		}),
		observed(otelMetrics, "no tracing", func() (context.Context, halt.Observer, error) {
			ob, err := haltotel.New(&haltotel.Options{MeterProvider: metrics(), TracerProvider: noop.NewTracerProvider()})
			return context.Background(), ob, err
		}),
		observed(otelDropped, "the request's span was not sampled, as most are not", within(never, never)),
		observed(otelOwn, "the request's was, and a sampler drops its children", within(never, always)),
		observed(otelRecorded, "the whole trace is sampled; exemplars too", within(always, always)),
	)
}

// observedLimiter is haltLimiter with an observer.
func observedLimiter(keys int, ob halt.Observer) *halt.Limiter {
	store := memory.New(&memory.Options{MaxKeys: max(2*keys, 1_000_000)})
	return halt.New(store, &halt.Options{Observers: []halt.Observer{ob}})
}

type idleObserver struct{}

func (idleObserver) Start(ctx context.Context, _ *halt.Event) context.Context { return ctx }
func (idleObserver) End(context.Context, *halt.Event)                         {}

func otelScenarios(s size) []scenario {
	var ss []scenario
	for _, sc := range scenarios(s) {
		if sc.Name == hot || sc.Name == hotParallel || sc.Name == refused || sc.Name == few {
			ss = append(ss, sc)
		}
	}
	return ss
}

// otelAll measures all ways to observe in all scenarios, interleaved.
func otelAll(o options, s size) (*otelRun, error) {
	r := &otelRun{scenarios: otelScenarios(s)}
	var err error
	r.decisions, err = decideAll(otelDeciders(), r.scenarios, o)
	return r, err
}

// more is how many ns a decision takes more than one that nobody observes, pass by pass.
func (r *otelRun) more(scenario, name string) series {
	return r.decisions.of(scenario, name, getNS).minus(r.decisions.of(scenario, haltName, getNS))
}

// verdicts holds the measures against their targets, in the worst scenario that nothing runs beside.
func (r *otelRun) verdicts() []verdict {
	worst := func(of func(scenario string) float64) float64 {
		most := math.NaN()
		for _, s := range r.scenarios {
			if v := of(s.Name); !s.Parallel && !math.IsNaN(v) {
				most = math.Max(v, zeroIfNaN(most))
			}
		}
		return most
	}
	var vs []verdict
	for _, t := range []struct {
		name   string
		atMost float64
	}{{otelMetrics, 250}, {otelDropped, 300}} {
		vs = append(vs, verdict{
			What: t.name, AtMost: t.atMost, Unit: "ns more", Beside: haltName,
			Measured: worst(func(s string) float64 { return r.more(s, t.name).median() }),
		}, verdict{
			What: t.name, AtMost: 1, Unit: "allocations",
			Measured: worst(func(s string) float64 { return whole(r.decisions.of(s, t.name, getAllocs).median()) }),
		})
	}
	return vs
}

// write writes the section on OpenTelemetry.
func (r *otelRun) write(p printer, w io.Writer, m machine) {
	p("## OpenTelemetry\n")
	p("What it costs a decision in memory to be observed: ns per decision, and in brackets how many more than without, pass by")
	p("pass. ÷ is the ratio in the first column. Allocations are the most of any scenario.\n")
	head := []string{""}
	for _, s := range r.scenarios {
		head = append(head, s.Name)
	}
	rows := [][]string{append(head, "÷", "allocs")}
	ds := otelDeciders()
	for _, d := range ds {
		row := []string{d.Name}
		most := 0.0
		for _, s := range r.scenarios {
			cell := withSpread(r.decisions.of(s.Name, d.Name, getNS))
			if d.Name != haltName {
				cell += fmt.Sprintf(" (+%s)", figure(r.more(s.Name, d.Name).median()))
			}
			row = append(row, cell)
			most = math.Max(most, whole(r.decisions.of(s.Name, d.Name, getAllocs).median()))
		}
		first := r.scenarios[0].Name
		quotient := r.decisions.of(first, d.Name, getNS).over(r.decisions.of(first, haltName, getNS))
		rows = append(rows, append(row, figure(quotient), figure(most)))
	}
	table(w, rows)
	p("")
	rows = [][]string{{"what", "target: at most", "measured", "", "verdict"}}
	for _, v := range r.verdicts() {
		rows = append(rows, []string{v.What, figure(v.AtMost), figure(v.Measured), v.Unit, v.outcome()})
	}
	table(w, rows)
	p("")
	rows = [][]string{{"", "module", "how"}}
	for _, d := range ds {
		rows = append(rows, []string{d.Name, m.withVersion(d.Module), d.How})
	}
	table(w, rows)
	p("\nWith go.opentelemetry.io/otel/sdk/metric@%s.\n", m.version("go.opentelemetry.io/otel/sdk/metric"))
}

// otelOnly measures OpenTelemetry and writes what it found.
func otelOnly(o options, s size, w io.Writer, m machine) error {
	r, err := otelAll(o, s)
	if err != nil {
		return err
	}
	r.write(func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }, w, m)
	return nil
}
