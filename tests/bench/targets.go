package main

import (
	"fmt"
	"math"
)

// A verdict is a target beside what was measured.
type verdict struct {
	What     string
	AtMost   float64
	Measured float64 // NaN: not measured
	Unit     string
	Beside   string // what it was compared with
}

func (v verdict) outcome() string {
	switch {
	case math.IsNaN(v.Measured):
		return "not measured"
	case v.Measured <= v.AtMost+1e-9:
		return "met"
	default:
		return "**missed**"
	}
}

// best is the peer with the smallest of the figures, and that figure.
func best(names []string, figure func(name string) float64) (string, float64) {
	who, least := "", math.NaN()
	for _, n := range names {
		if f := figure(n); peer(n) && !math.IsNaN(f) && (who == "" || f < least) {
			who, least = n, f
		}
	}
	return who, least
}

// ratio is Halt's figure over that of the best peer, and who that is. NaN if either is missing or not above zero.
func ratio(names []string, figure func(name string) float64) (float64, string) {
	return ratioOf(haltName, names, figure)
}

// ratioOf is ratio of another than Halt.
func ratioOf(name string, names []string, figure func(name string) float64) (float64, string) {
	who, least := best(names, figure)
	if mine := figure(name); least > 0 && mine > 0 {
		return mine / least, who
	}
	return math.NaN(), who
}

// verdicts holds the measures against their targets.
func (r *report) verdicts() []verdict {
	var vs []verdict
	for _, t := range []struct {
		scenario string
		atMost   float64
	}{{hot, 0.7}, {hotParallel, 0.7}, {many, 0.4}, {manyPar, 0.4}} {
		got, who := ratio(r.deciderNames(), r.decisionNS(t.scenario))
		vs = append(vs, verdict{
			What: "a decision, " + r.title(t.scenario), AtMost: t.atMost, Measured: got, Unit: "of the best peer", Beside: who,
		})
	}

	most := math.NaN()
	for _, s := range r.scenarios {
		if n := r.decisions.of(s.Name, haltName, getAllocs).median(); !math.IsNaN(n) {
			most = math.Max(whole(n), zeroIfNaN(most))
		}
	}
	thousandfold := r.decisionNS(million)(haltName) / r.decisionNS(few)(haltName)
	f := r.memory[haltName]
	vs = append(vs,
		verdict{What: "allocations of a decision, every scenario", AtMost: 0, Measured: most},
		verdict{
			What: "a decision, " + r.title(million), AtMost: 2, Measured: thousandfold,
			Unit: "of one with " + count(r.size.few) + " keys",
		},
		verdict{
			What: "memory, " + r.title(million) + ", the larger of live and in use", AtMost: 48, Unit: "bytes a key",
			Measured: math.Max(footprints(f, getAlloc).median(), footprints(f, getInuse).median()),
		},
		verdict{
			What: "one garbage collection, " + r.title(million), AtMost: 1, Unit: "ms above an empty heap's",
			Measured: footprints(f, getGC).median(),
		})

	for _, f := range r.frameworks {
		for _, s := range []string{f.serial(), f.parallel()} {
			got, who := ratio(f.names(), r.overheadNS(s))
			vs = append(vs, verdict{
				What: "middleware, " + s, AtMost: f.atMost(), Measured: got, Unit: "of the best peer", Beside: who,
			})
		}
		vs = append(vs, verdict{
			What: "allocations of the middleware, " + f.Name, AtMost: 3,
			Measured: whole(over(r.middleware, f.serial(), haltName, getAllocs).median()),
		})
	}
	return vs
}

// whole rounds away what the measurement itself allocates, less than a hundredth per operation.
func whole(n float64) float64 {
	if near := math.Round(n); math.Abs(n-near) < 0.01 {
		return near
	}
	return n
}

func zeroIfNaN(f float64) float64 {
	if math.IsNaN(f) {
		return 0
	}
	return f
}

// count writes a number of keys: 100k, 1M.
func count(n int) string {
	switch {
	case n >= 1_000_000 && n%1_000_000 == 0:
		return fmt.Sprintf("%dM", n/1_000_000)
	case n >= 1_000 && n%1_000 == 0:
		return fmt.Sprintf("%dk", n/1_000)
	default:
		return fmt.Sprint(n)
	}
}
