package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"
)

// TestMeasuresOpenTelemetry: each way to observe, in each scenario, and the table of it.
func TestMeasuresOpenTelemetry(t *testing.T) {
	if testing.Short() {
		t.Skip("measures for a while")
	}
	o := options{passes: 1, took: time.Millisecond, log: t.Logf}
	var b bytes.Buffer
	if err := otelOnly(o, size{many: 100, few: 10, million: 1000}, &b, thisMachine(os.Args[1:], time.Now())); err != nil {
		t.Fatal(err)
	}
	for _, d := range otelDeciders() {
		if strings.Count(b.String(), "| "+d.Name+" ") < 2 {
			t.Errorf("the report lacks %s:\n%s", d.Name, b.String())
		}
	}
}

// TestOpenTelemetryVerdicts: of made-up figures.
func TestOpenTelemetryVerdicts(t *testing.T) {
	r := &otelRun{decisions: results{}, scenarios: otelScenarios(size{many: 3, few: 2, million: 4})}
	for _, s := range r.scenarios {
		r.decisions.add(s.Name, haltName, sample{NS: 50})
		r.decisions.add(s.Name, otelMetrics, sample{NS: 290, Allocs: 1.004})
		r.decisions.add(s.Name, otelDropped, sample{NS: 360, Allocs: 2})
	}
	var got []string
	for _, v := range r.verdicts() {
		got = append(got, figure(v.Measured)+" "+v.Unit+" "+v.outcome())
	}
	want := "240 ns more met, 1 allocations met, 310 ns more **missed**, 2 allocations **missed**"
	if strings.Join(got, ", ") != want {
		t.Errorf("got %s, want %s", strings.Join(got, ", "), want)
	}
}
