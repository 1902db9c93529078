package main

import (
	"io"
	"math"
	"slices"
	"strings"
)

var redisScenarios = []string{redisHot, redisMany}

// rate is a contender's decisions per second, in thousands.
func (r *redisRun) rate(scenario, name string) series {
	return r.decisions.of(scenario, name, func(s sample) float64 { return 1e6 / s.NS })
}

func (r *redisRun) over(scenario, name string) float64 {
	return r.rate(scenario, haltName).over(r.rate(scenario, name))
}

// A floor is a target that has to be reached or exceeded.
type floor struct {
	What     string
	Least    float64
	Measured float64
	AtMost   bool // it is a ceiling
}

func (f floor) outcome() string {
	switch {
	case math.IsNaN(f.Measured):
		return "not measured"
	case f.AtMost == (f.Measured <= f.Least) || f.Measured == f.Least:
		return "met"
	default:
		return "**missed**"
	}
}

// floors holds the measures of Redis against their targets.
func (r *redisRun) floors() []floor {
	var fs []floor
	for _, s := range redisScenarios {
		for _, peer := range []struct {
			name  string
			least float64
		}{{ululeOnRedis, 3}, {redisRateName, 3}, {rueidisBareGCRA, 1.5}} {
			fs = append(fs, floor{What: s + ": decisions per second, over those of " + peer.name, Least: peer.least, Measured: r.over(s, peer.name)})
		}
		slowest, fastest := math.Inf(1), 0.0
		for _, d := range redisDeciders() {
			if strings.HasPrefix(d.Module, ours) && d.Name != haltUnbatched {
				m := r.rate(s, d.Name).over(r.rate(s, haltName))
				slowest, fastest = min(slowest, m), max(fastest, m)
			}
		}
		fs = append(fs,
			floor{What: s + ": the slowest algorithm over the fastest", Least: 0.75, Measured: slowest / fastest},
			floor{
				What:  s + ": Redis's time per decision, over that without batches",
				Least: 0.5, AtMost: true, Measured: r.serverCPU[s][haltName].over(r.serverCPU[s][haltUnbatched]),
			},
			floor{
				What: s + ": allocations per decision", Least: 4, AtMost: true,
				Measured: r.decisions.of(s, haltName, getAllocs).median(),
			})
	}
	mine, bare := r.serial[haltName], r.serial[bareScript]
	return append(fs,
		floor{What: "one caller, one core: p50 over that of " + bareScript, Least: 1.2, AtMost: true, Measured: mine.P50.over(bare.P50)},
		floor{What: "one caller, one core: p99 over that of " + bareScript, Least: 1.5, AtMost: true, Measured: mine.P99.over(bare.P99)},
		floor{What: "one caller: allocations per decision", Least: 12, AtMost: true, Measured: mine.Allocs.median()},
		floor{What: "a token bucket's entry with a key of 20 bytes: bytes", Least: 130, AtMost: true, Measured: r.bytesOf("token bucket")})
}

// over is the median of the ratios, pass by pass.
func (s series) over(t series) float64 {
	var q series
	for i := range min(len(s), len(t)) {
		q = append(q, s[i]/t[i])
	}
	return q.median()
}

func (r *redisRun) bytesOf(algorithm string) float64 {
	if n, ok := r.memory[algorithm]; ok {
		return n
	}
	return math.NaN()
}

// write writes the section on Redis.
func (r *redisRun) write(p printer, w io.Writer, m machine) {
	p("## Redis\n")
	if r.skippedWhy != "" {
		p("Not measured: %s.\n", r.skippedWhy)
		return
	}
	p("Redis %s on the loopback, on this machine's processors, which it shares with the callers. %d goroutines ask in a loop, all", r.version, redisCallers)
	p("contenders on one server and in turn. Thousands of decisions per second; Redis: µs of its own time per decision, of the")
	p("scripts (INFO commandstats). Ratios are medians of the passes' ratios, so what else the machine does matters little. One")
	p("caller: a process alone with its Redis on one core, so that nothing overlaps, µs per call.\n")
	rows := [][]string{{"", redisHot + ", k/s", "Redis", redisMany + ", k/s", "Redis", "allocs", "one caller, p50", "p99", "allocs"}}
	serial := func(name string) []string {
		s, ok := r.serial[name]
		if !ok {
			return []string{"–", "–", "–"}
		}
		return []string{withSpread(s.P50), withSpread(s.P99), figure(s.Allocs.median())}
	}
	for _, d := range redisDeciders() {
		row := []string{d.Name}
		for _, s := range redisScenarios {
			row = append(row, withSpread(r.rate(s, d.Name)), figure(r.serverCPU[s][d.Name].median()))
		}
		row = append(row, figure(r.decisions.of(redisMany, d.Name, getAllocs).median()))
		rows = append(rows, append(row, serial(d.Name)...))
	}
	rows = append(rows, append([]string{bareScript, "", "", "", "", ""}, serial(bareScript)...))
	table(w, rows)
	p("")
	rows = [][]string{{"what", "target", "measured", "verdict"}}
	for _, f := range r.floors() {
		sign := "at least "
		if f.AtMost {
			sign = "at most "
		}
		rows = append(rows, []string{f.What, sign + figure(f.Least), figure(f.Measured), f.outcome()})
	}
	table(w, rows)
	var names []string
	for name := range r.memory {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		names[i] = name + " " + figure(r.memory[name])
	}
	p("\nBytes of an entry with a key of 20 bytes, by `MEMORY USAGE`: %s.\n", strings.Join(names, ", "))
	rows = [][]string{{"", "module", "how"}}
	for _, d := range redisDeciders() {
		rows = append(rows, []string{d.Name, m.withVersion(d.Module), d.How})
	}
	table(w, rows)
	p("")
}
