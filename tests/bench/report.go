package main

import (
	"fmt"
	"io"
	"math"
	"strings"
)

// A report is all of a run.
type report struct {
	only       string // the section that was asked for; empty: all
	machine    machine
	options    options
	size       size
	scenarios  []scenario
	deciders   []decider
	frameworks []framework
	decisions  results
	middleware results
	memory     map[string][]footprint
	redis      *redisRun // nil: not measured
	databases  []*databaseRun
	telemetry  *telemetryRun // nil: not measured
}

func getAlloc(f footprint) float64 { return f.Alloc }
func getInuse(f footprint) float64 { return f.Inuse }
func getGC(f footprint) float64    { return f.GC }

func (r *report) deciderNames() []string {
	var names []string
	for _, d := range r.deciders {
		names = append(names, d.Name)
	}
	return names
}

func (f framework) names() []string {
	var names []string
	for _, h := range f.Handlers {
		names = append(names, h.Name)
	}
	return names
}

func (r *report) decisionNS(scenario string) func(string) float64 {
	return func(name string) float64 { return r.decisions.of(scenario, name, getNS).median() }
}

func (r *report) overheadNS(scenario string) func(string) float64 {
	return func(name string) float64 { return over(r.middleware, scenario, name, getNS).median() }
}

// title is a scenario's name with the number of keys that it really had.
func (r *report) title(scenario string) string {
	for _, s := range r.scenarios {
		if s.Name == scenario {
			return s.title()
		}
	}
	return scenario
}

// title is the scenario's name with the number of keys that it really had.
func (s scenario) title() string {
	if s.Keys <= 1 {
		return s.Name
	}
	title := count(s.Keys) + " keys"
	if s.Parallel {
		title += ", parallel"
	}
	return title
}

// write writes the report as Markdown.
func (r *report) write(w io.Writer) {
	p := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	p("# Benchmarks\n")
	p("Written by `make bench`; don't edit it. Every figure is the median of %d passes. A pass measures each scenario for one", r.options.passes)
	p("contender after the other, in an order that rotates, so whatever else the machine does meets all alike. Read the ratios:")
	p("the nanoseconds are this machine's. ± is how far a pass strayed from the median at most.\n")
	if r.options.quick {
		p("> A quick run, to see that it works: one short pass with few keys. Its figures mean nothing.\n")
	}
	r.writeMachine(p)
	if r.only == "" {
		r.writeVerdicts(p, w)
	}
	if r.decisions != nil {
		r.writeDecisions(p, w)
	}
	if r.memory != nil {
		r.writeMemory(p, w)
	}
	if r.middleware != nil {
		for _, f := range r.frameworks {
			r.writeFramework(f, p, w)
		}
	}
	if r.only == "" {
		r.writePeers(p, w)
	}
	if r.redis != nil {
		r.redis.write(p, w, r.machine)
	}
	if len(r.databases) > 0 {
		writeDatabases(r.databases, p, w, r.machine)
	}
	if r.telemetry != nil {
		r.telemetry.write(p, w, r.machine)
	}
}

type printer func(format string, args ...any)

func (r *report) writeMachine(p printer) {
	m := r.machine
	p("- Machine: %s, %d cores, GOMAXPROCS %d, %s", m.CPU, m.Cores, m.Procs, m.OS)
	p("- Go: %s", m.Go)
	p("- Date: %s", m.Date)
	p("- Command: `%s`", m.Command)
	p("- Each measurement: %s, after a garbage collection, on a fresh instance that has seen every key\n", r.options.took)
}

func (r *report) writeVerdicts(p printer, w io.Writer) {
	p("## Targets\n")
	rows := [][]string{{"what", "target: at most", "measured", "", "beside", "verdict"}}
	missed := 0
	vs := r.verdicts()
	for _, v := range vs {
		if v.outcome() != "met" {
			missed++
		}
		rows = append(rows, []string{v.What, figure(v.AtMost), figure(v.Measured), v.Unit, v.Beside, v.outcome()})
	}
	table(w, rows)
	p("\n%d of %d targets met.\n", len(vs)-missed, len(vs))
}

func (r *report) writeDecisions(p printer, w io.Writer) {
	p("## Decisions\n")
	p("ns per decision, all allowed except in \"refused\", a key that is over its limit. Parallel: GOMAXPROCS goroutines, the")
	p("time divided by the decisions of all. Many keys come in pseudo-random order. The last column is the most allocations in")
	p("any scenario.\n")
	head := []string{""}
	for _, s := range r.scenarios {
		head = append(head, r.title(s.Name))
	}
	rows := [][]string{append(head, "allocs")}
	for _, name := range r.deciderNames() {
		row := []string{name}
		most := math.NaN()
		for _, s := range r.scenarios {
			row = append(row, withSpread(r.decisions.of(s.Name, name, getNS)))
			if n := r.decisions.of(s.Name, name, getAllocs).median(); !math.IsNaN(n) {
				most = math.Max(whole(n), zeroIfNaN(most))
			}
		}
		rows = append(rows, append(row, figure(most)))
	}
	row := []string{"halt ÷ best peer"}
	for _, s := range r.scenarios {
		got, who := ratio(r.deciderNames(), r.decisionNS(s.Name))
		row = append(row, fmt.Sprintf("%s (%s)", figure(got), who))
	}
	table(w, append(rows, append(row, "")))
	p("")
}

func (r *report) writeMemory(p printer, w io.Writer) {
	p("## Memory with %s keys\n", count(r.size.million))
	p("Each contender in a process of its own. Bytes per key: what the heap holds more than before, after a collection, the key")
	p("strings that a contender keeps included; the keys are %d bytes long. GC: one `runtime.GC()`, wall time above that of", len(key(0)))
	p("the heap before.\n")
	rows := [][]string{{"", "live bytes a key", "in-use bytes a key", "GC, ms"}}
	for _, name := range r.deciderNames() {
		if f := r.memory[name]; name != loopName {
			rows = append(rows, []string{
				name, figure(footprints(f, getAlloc).median()), figure(footprints(f, getInuse).median()),
				figure(footprints(f, getGC).median()),
			})
		}
	}
	table(w, rows)
	p("")
}

func (r *report) writeFramework(f framework, p printer, w io.Writer) {
	p("## Middleware: %s\n", f.Name)
	p("ns per request above the bare framework, which is subtracted pass by pass; an allowed request, with the headers, keyed by")
	p("the client's address (%d of them), in process. The bare row is what was subtracted.\n", clients)
	rows := [][]string{{"", "ns", "ns, parallel", "allocs", "bytes"}}
	for _, name := range f.names() {
		get := over
		if name == bareName {
			get = func(r results, scenario, name string, get func(sample) float64) series {
				return r.of(scenario, name, get)
			}
		}
		rows = append(rows, []string{
			name, withSpread(get(r.middleware, f.serial(), name, getNS)), withSpread(get(r.middleware, f.parallel(), name, getNS)),
			figure(whole(get(r.middleware, f.serial(), name, getAllocs).median())),
			figure(math.Round(get(r.middleware, f.serial(), name, getBytes).median())),
		})
	}
	for _, mine := range []string{haltName, byHandName, floorName} {
		row := []string{strings.Trim(mine, "*") + " ÷ best peer"}
		for _, s := range []string{f.serial(), f.parallel()} {
			got, who := ratioOf(mine, f.names(), r.overheadNS(s))
			row = append(row, fmt.Sprintf("%s (%s)", figure(got), who))
		}
		rows = append(rows, append(row, "", ""))
	}
	table(w, rows)
	p("")
}

func (r *report) writePeers(p printer, w io.Writer) {
	p("## Who was measured, and how\n")
	rows := [][]string{{"", "module", "how"}}
	for _, d := range r.deciders {
		module := ""
		if d.Module != "" {
			module = r.machine.withVersion(d.Module)
		}
		rows = append(rows, []string{d.Name, module, d.How})
	}
	for _, f := range r.frameworks {
		for _, h := range f.Handlers {
			module := ""
			if h.Module != "" {
				module = r.machine.withVersion(h.Module)
			}
			rows = append(rows, []string{f.Name + ": " + h.Name, module, h.How})
		}
	}
	table(w, rows)
	p("\nThe limits, for each key: one hot key %s; refused %s; many keys %s; memory %s; middleware", ruleHot, ruleRefused, ruleMany, ruleOnce)
	p("%s. So no request is refused that shouldn't be, and no key is forgotten before its next request: the run fails", ruleClients)
	p("where either happens. Every contender is called through one function value; that and the loop are in the loop's row and")
	p("in every figure. The tests of this program hold each contender to its limit: five pass, the sixth doesn't, another key")
	p("isn't touched.")
	p("\nAbsent: krishna-kudari/ratelimit, whose gin middleware should stand here. The module proxy doesn't serve that module, so")
	p("this program can't require it.")
}

// withSpread writes a series' median and how far it strays.
func withSpread(s series) string {
	if len(s) == 0 {
		return "–"
	}
	return fmt.Sprintf("%s ±%.0f%%", figure(s.median()), 100*s.spread())
}

// figure writes a number to three digits, – if there is none.
func figure(f float64) string {
	abs := math.Abs(f)
	switch {
	case math.IsNaN(f):
		return "–"
	case abs < 0.005:
		return "0"
	case f == math.Trunc(f) || abs >= 99.95:
		return fmt.Sprintf("%.0f", f)
	case abs >= 9.995:
		return fmt.Sprintf("%.1f", f)
	default:
		return fmt.Sprintf("%.2f", f)
	}
}

// table writes rows as a Markdown table, the first being its head, padded so that it can be read as it is.
func table(w io.Writer, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)), 3)
		}
	}
	line := func(row []string, fill string) {
		var b strings.Builder
		for i, width := range widths {
			cell := ""
			if i < len(row) {
				cell = row[i]
			}
			b.WriteString("| " + cell + strings.Repeat(fill, width-len([]rune(cell))) + " ")
		}
		fmt.Fprintln(w, b.String()+"|")
	}
	line(rows[0], " ")
	line(make([]string, len(widths)), "-")
	for _, row := range rows[1:] {
		line(row, " ")
	}
}
