package main

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"
)

func TestFigure(t *testing.T) {
	for f, want := range map[float64]string{
		0: "0", 0.0004: "0", 0.4: "0.40", 9.994: "9.99", 9.996: "10.0", 48: "48", 23.44: "23.4", 99.96: "100", 1234.5: "1234",
		-1.53: "-1.53", math.NaN(): "–",
	} {
		if got := figure(f); got != want {
			t.Errorf("figure(%v) = %q, want %q", f, got, want)
		}
	}
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	table(&b, [][]string{{"", "ns ±"}, {"halt", "1"}, {"x"}})
	want := "" +
		"|      | ns ± |\n" +
		"| ---- | ---- |\n" +
		"| halt | 1    |\n" +
		"| x    |      |\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}

func TestRatioIsToTheBestPeer(t *testing.T) {
	ns := map[string]float64{haltName: 30, "slow": 100, "fast": 60, loopName: 1, bareName: 2, "absent": math.NaN()}
	of := func(name string) float64 { return ns[name] }
	names := []string{loopName, haltName, "absent", "slow", "fast", bareName}
	if got, who := ratio(names, of); got != 0.5 || who != "fast" {
		t.Errorf("got %v of %q, want 0.5 of fast", got, who)
	}
	delete(ns, haltName)
	if got, _ := ratio(names, of); !math.IsNaN(got) {
		t.Errorf("without Halt: %v, want NaN", got)
	}
}

func TestOutcome(t *testing.T) {
	for measured, want := range map[float64]string{0.39: "met", 0.4: "met", 0.401: "**missed**", math.NaN(): "not measured"} {
		if got := (verdict{AtMost: 0.4, Measured: measured}).outcome(); got != want {
			t.Errorf("%v of at most 0.4: %q, want %q", measured, got, want)
		}
	}
}

// A report whose figures are made up: Halt at half of the best peer everywhere.
func TestReport(t *testing.T) {
	s := size{many: 100_000, few: 10_000, million: 1_000_000}
	r := report{
		machine: machine{
			CPU: "A CPU", Cores: 2, Procs: 2, OS: "plan9/386", Go: "go1", Date: "2000-01-01", Command: "cd tests && go run ./bench",
			versions: map[string]string{"example.com/p": "v1.2.3", ours + "core": "this tree"},
		},
		options: options{passes: 3, took: time.Second}, size: s, scenarios: scenarios(s),
		deciders: []decider{
			{Name: haltName, Module: ours + "core"}, {Name: "p", Module: "example.com/p"}, {Name: loopName},
		},
		frameworks: []framework{{Name: "gin", Handlers: []handler{{Name: bareName}, {Name: haltName}, {Name: "p"}}}},
		decisions:  results{}, middleware: results{},
		memory: map[string][]footprint{haltName: {{Alloc: 40, Inuse: 44, GC: 0.1}}, "p": {{Alloc: 100, Inuse: 120, GC: 9}}},
	}
	for _, s := range r.scenarios {
		for _, ns := range []float64{20, 21, 19} {
			r.decisions.add(s.Name, haltName, sample{NS: ns})
			r.decisions.add(s.Name, "p", sample{NS: 2 * ns, Allocs: 2})
			r.decisions.add(s.Name, loopName, sample{NS: 1})
		}
	}
	for _, s := range []string{"gin", "gin, parallel"} {
		r.middleware.add(s, bareName, sample{NS: 100, Allocs: 1})
		r.middleware.add(s, haltName, sample{NS: 400, Allocs: 5})
		r.middleware.add(s, "p", sample{NS: 700, Allocs: 10})
	}
	var b bytes.Buffer
	r.write(&b)
	got := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range []string{
		"A CPU, 2 cores, GOMAXPROCS 2, plan9/386", "Command: `cd tests && go run ./bench`", "median of 3 passes",
		"| a decision, hot key | 0.70 | 0.50 | of the best peer | p | met |",
		"| a decision, 100k keys, parallel | 0.40 | 0.50 | of the best peer | p | **missed** |",
		"| allocations of a decision, every scenario | 0 | 0 | | | met |",
		"| a decision, 1M keys | 2 | 1 | of one with 10k keys | | met |",
		"in use | 48 | 44 | bytes a key | | met |",
		"| middleware, gin | 0.50 | 0.50 | of the best peer | p | met |",
		"| allocations of the middleware, gin | 3 | 4 | | | **missed** |",
		"8 of 11 targets met.",
		"| **halt** | 20 ±5% |", "| p | 100 | 120 | 9 |", "| p | 600 ±0% | 600 ±0% | 9 |",
		"| p | example.com/p@v1.2.3 |", "| **halt** | halt/core, this tree |", "krishna-kudari",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the report lacks %q", want)
		}
	}
	if t.Failed() {
		t.Log(b.String())
	}
}
