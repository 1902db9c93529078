package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
	"github.com/halt-dev/halt/core/stats"
)

// telemetryRun is what it costs a decision in memory to be observed.
type telemetryRun struct {
	decisions results // by scenario and way to observe
	scenarios []scenario
}

// The ways to observe, beside haltName, which is not at all, and those with haltotel.
const (
	idleName    = "an observer that does nothing"
	countsName  = "an observer that only counts, and does nothing"
	statsName   = "core/stats"
	fewParallel = "10k keys, parallel"
)

// telemetryDeciders returns Halt, observed in each way.
func telemetryDeciders() []decider {
	of := func(ob func() halt.Observer) func() (context.Context, halt.Observer, error) {
		return func() (context.Context, halt.Observer, error) { return context.Background(), ob(), nil }
	}
	return slices.Concat(haltDeciders(), []decider{
		observed("core", idleName, "of this program: the price of being observed at all", of(func() halt.Observer {
			return idleObserver{}
		})),
		observed("core", countsName, "the same with `OnlyCounts`", of(func() halt.Observer { return countingObserver{} })),
		observed("core", statsName, "`stats.New(nil)`, which nobody looks at", of(func() halt.Observer { return stats.New(nil) })),
	}, otelDeciders())
}

// observed is Halt with the observer and the context that set returns.
func observed(module, name, how string, set func() (context.Context, halt.Observer, error)) decider {
	return decider{
		Name: name, Module: ours + module, How: how,
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

// observedLimiter is haltLimiter with an observer.
func observedLimiter(keys int, ob halt.Observer) *halt.Limiter {
	store := memory.New(&memory.Options{MaxKeys: max(2*keys, 1_000_000)})
	return halt.New(store, &halt.Options{Observers: []halt.Observer{ob}})
}

type idleObserver struct{}

func (idleObserver) Start(ctx context.Context, _ *halt.Event) context.Context { return ctx }
func (idleObserver) End(context.Context, *halt.Event)                         {}

type countingObserver struct{ idleObserver }

func (countingObserver) OnlyCounts() bool { return true }

// telemetryScenarios are hot keys and many, and a key that is over its limit.
func telemetryScenarios(s size) []scenario {
	var ss []scenario
	for _, sc := range scenarios(s) {
		switch sc.Name {
		case million: // tells no more than many
		case few:
			ss = append(ss, sc, scenario{Name: fewParallel, Keys: sc.Keys, Parallel: true, Rule: sc.Rule})
		default:
			ss = append(ss, sc)
		}
	}
	return ss
}

// telemetryAll measures all ways to observe in all scenarios, interleaved.
func telemetryAll(o options, s size) (*telemetryRun, error) {
	r := &telemetryRun{scenarios: telemetryScenarios(s)}
	var err error
	r.decisions, err = decideAll(telemetryDeciders(), r.scenarios, o)
	return r, err
}

// more is how many ns a decision takes more than one that nobody observes, pass by pass.
func (r *telemetryRun) more(scenario, name string) series {
	return r.decisions.of(scenario, name, getNS).minus(r.decisions.of(scenario, haltName, getNS))
}

// verdicts holds the measures against their targets: of statistics in each scenario that nothing runs beside, of
// OpenTelemetry in the worst of them.
func (r *telemetryRun) verdicts() []verdict {
	worst := func(of func(scenario string) float64) float64 {
		most := math.NaN()
		for _, s := range r.scenarios {
			if v := of(s.Name); !s.Parallel && !math.IsNaN(v) {
				most = math.Max(v, zeroIfNaN(most))
			}
		}
		return most
	}
	more := func(name string) func(string) float64 {
		return func(s string) float64 { return r.more(s, name).median() }
	}
	allocs := func(name string) func(string) float64 {
		return func(s string) float64 { return whole(r.decisions.of(s, name, getAllocs).median()) }
	}
	var vs []verdict
	for _, s := range r.scenarios {
		if !s.Parallel {
			vs = append(vs, verdict{
				What: statsName + ", " + s.title(), AtMost: 60, Unit: "ns more", Measured: more(statsName)(s.Name),
			})
		}
	}
	vs = append(vs, verdict{What: statsName, AtMost: 0, Unit: "allocations", Measured: worst(allocs(statsName))})
	for _, t := range []struct {
		name   string
		atMost float64
	}{{otelMetrics, 250}, {otelDropped, 300}} {
		vs = append(vs,
			verdict{What: t.name, AtMost: t.atMost, Unit: "ns more", Measured: worst(more(t.name))},
			verdict{What: t.name, AtMost: 1, Unit: "allocations", Measured: worst(allocs(t.name))})
	}
	return vs
}

// write writes the section on telemetry.
func (r *telemetryRun) write(p printer, w io.Writer, m machine) {
	p("## Telemetry\n")
	p("What it costs a decision in memory to be observed, by statistics or by OpenTelemetry: ns per decision, and in brackets")
	p("how many more than without, pass by pass. ÷ is the ratio in the first column. Allocations are the most of any scenario.\n")
	head := []string{""}
	for _, s := range r.scenarios {
		head = append(head, s.title())
	}
	rows := [][]string{append(head, "÷", "allocs")}
	ds := telemetryDeciders()
	for _, d := range ds {
		row := []string{d.Name}
		most := 0.0
		for _, s := range r.scenarios {
			cell := withSpread(r.decisions.of(s.Name, d.Name, getNS))
			if d.Name != haltName {
				cell += fmt.Sprintf(" (%s)", signed(r.more(s.Name, d.Name).median()))
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

// signed is figure with a sign.
func signed(f float64) string {
	if f < 0 {
		return figure(f)
	}
	return "+" + figure(f)
}
