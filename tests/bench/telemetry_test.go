package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// TestMeasuresTelemetry: each way to observe, in each scenario, and the table of it.
func TestMeasuresTelemetry(t *testing.T) {
	if testing.Short() {
		t.Skip("measures for a while")
	}
	o := options{passes: 1, took: time.Millisecond, log: t.Logf}
	rep, err := measured(o, size{many: 100, few: 10, million: 1000}, "telemetry")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	rep.write(&b)
	for _, d := range telemetryDeciders() {
		if strings.Count(b.String(), "| "+d.Name+" ") < 2 {
			t.Errorf("the report lacks %s:\n%s", d.Name, b.String())
		}
	}
	for _, scenario := range []string{"hot key", "hot key, parallel", "refused", "10 keys", "10 keys, parallel", "100 keys", "100 keys, parallel"} {
		if !strings.Contains(b.String(), "| "+scenario+" ") {
			t.Errorf("the report lacks %s:\n%s", scenario, b.String())
		}
	}
}

// TestTelemetryVerdicts: of made-up figures.
func TestTelemetryVerdicts(t *testing.T) {
	r := &telemetryRun{decisions: results{}, scenarios: telemetryScenarios(size{many: 3, few: 2, million: 4})}
	for _, s := range r.scenarios {
		r.decisions.add(s.Name, haltName, sample{NS: 50})
		counted := sample{NS: 100}
		switch {
		case s.Parallel:
			counted.NS = 500 // says more of the machine
		case s.Name == many:
			counted = sample{NS: 111, Allocs: 1}
		}
		r.decisions.add(s.Name, statsName, counted)
		r.decisions.add(s.Name, otelMetrics, sample{NS: 290, Allocs: 1.004})
		r.decisions.add(s.Name, otelDropped, sample{NS: 360, Allocs: 2})
	}
	var got []string
	for _, v := range r.verdicts() {
		got = append(got, v.What+": "+figure(v.Measured)+" "+v.Unit+" "+v.outcome())
	}
	want := []string{
		statsName + ", hot key: 50 ns more met",
		statsName + ", refused: 50 ns more met",
		statsName + ", 3 keys: 61 ns more **missed**",
		statsName + ", 2 keys: 50 ns more met",
		statsName + ": 1 allocations **missed**",
		otelMetrics + ": 240 ns more met",
		otelMetrics + ": 1 allocations met",
		otelDropped + ": 310 ns more **missed**",
		otelDropped + ": 2 allocations **missed**",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestSigned(t *testing.T) {
	for f, want := range map[float64]string{12.34: "+12.3", 0: "+0", -1.5: "-1.50"} {
		if got := signed(f); got != want {
			t.Errorf("signed(%v) = %q, want %q", f, got, want)
		}
	}
}
