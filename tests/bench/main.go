// Bench measures Halt beside its peers in one run and writes what it found:
//
//	cd tests && go run ./bench -out ../docs/benchmarks.md
//
// In every pass each scenario is measured for one contender after the other, in an order that rotates with the pass, so
// that whatever else the machine does meets all alike. The figures are medians over the passes; what counts are their
// ratios. It takes several minutes; the machine should do nothing else. -quick only proves that all of it works.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"
)

// options of a run.
type options struct {
	passes int
	took   time.Duration // of one measurement
	quick  bool
	log    func(format string, args ...any)
}

// A size is how many keys the scenarios use.
type size struct{ many, few, million int }

func main() {
	var (
		out    = flag.String("out", "", "file to write the report to; none: standard output")
		passes = flag.Int("passes", 5, "passes over everything, of which the medians are taken")
		took   = flag.Duration("time", 300*time.Millisecond, "duration of one measurement")
		quick  = flag.Bool("quick", false, "one short pass with fewer keys: for checking that it works")
		silent = flag.Bool("silent", false, "print no progress")
		weighs = flag.String("child", "", "internal: weigh the contender of this name and exit")
		keys   = flag.Int("keys", 0, "internal: how many keys to weigh it with")
		only   = flag.String("only", "", "only one section: "+strings.Join(sections, ", ")+", or one of the databases")
	)
	flag.Parse()
	switch *weighs {
	case "":
	case "redis-serial":
		exit(serialChild(*took, func(name string, p50, p99, allocs float64) {
			fmt.Printf("%s\t%f\t%f\t%f\n", name, p50, p99, allocs)
		}))
	default:
		exit(child(*weighs, *keys, os.Stdout))
	}

	o := options{passes: *passes, took: *took, quick: *quick, log: func(string, ...any) {}}
	if !*silent {
		o.log = func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
	}
	s := size{many: 100_000, few: 10_000, million: 1_000_000}
	if o.quick {
		o.passes, o.took = 1, 3*time.Millisecond
		s = size{many: 5_000, few: 1_000, million: 20_000}
	}
	exit(run(o, s, *only, *out))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// sections are the parts of a report that can be had alone.
var sections = []string{"memory", "middleware", "decisions", "redis", "databases", "telemetry"}

// run measures, and writes the report to the file out, or to standard output.
func run(o options, s size, only, out string) error {
	rep, err := measured(o, s, only)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	rep.write(&b)
	if out == "" {
		_, err = os.Stdout.Write(b.Bytes())
		return err
	}
	return os.WriteFile(out, b.Bytes(), 0o644)
}

// measured is the report of all sections, or only of one.
func measured(o options, s size, only string) (rep *report, err error) {
	rep = &report{
		machine:    thisMachine(os.Args[1:], time.Now()),
		options:    o,
		size:       s,
		only:       only,
		deciders:   deciders(),
		frameworks: frameworks(),
		scenarios:  scenarios(s),
	}
	measures := map[string]func() error{
		"memory":     func() error { rep.memory, err = weighAll(rep.deciders, s.million, o); return err },
		"middleware": func() error { rep.middleware, err = serveAll(rep.frameworks, o); return err },
		"decisions":  func() error { rep.decisions, err = decideAll(rep.deciders, rep.scenarios, o); return err },
		"redis":      func() error { rep.redis, err = redisAll(o); return err },
		"databases":  func() error { rep.databases, err = databasesAll(o, ""); return err },
		"telemetry":  func() error { rep.telemetry, err = telemetryAll(o, s); return err },
	}
	switch measure, known := measures[only]; {
	case known:
		return rep, measure()
	case only != "":
		rep.databases, err = databasesAll(o, only)
		return rep, err
	}
	for _, section := range sections {
		if err := measures[section](); err != nil {
			return nil, err
		}
	}
	return rep, nil
}
