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
		only   = flag.Bool("redis", false, "only the section on Redis, to standard output")
		serves = flag.Bool("middleware", false, "only the sections on middleware, to standard output")
		base   = flag.String("database", "", "only the section on the databases, and of these only one (PostgreSQL, MongoDB, DynamoDB or Memcached) or all, to standard output")
		watch  = flag.Bool("telemetry", false, "only the section on telemetry, to standard output")
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
	if *only {
		exit(redisOnly(o))
	}
	if *base != "" {
		exit(databasesOnly(o, *base))
	}
	if *serves {
		exit(middlewareOnly(o, os.Stdout, thisMachine(os.Args[1:], time.Now())))
	}
	if *watch {
		exit(telemetryOnly(o, s, os.Stdout, thisMachine(os.Args[1:], time.Now())))
	}
	exit(run(o, s, *out))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run(o options, s size, out string) error {
	rep := report{
		machine:    thisMachine(os.Args[1:], time.Now()),
		options:    o,
		size:       s,
		deciders:   deciders(),
		frameworks: frameworks(),
		scenarios:  scenarios(s),
	}
	var err error
	if rep.memory, err = weighAll(rep.deciders, s.million, o); err != nil {
		return err
	}
	if rep.middleware, err = serveAll(rep.frameworks, o); err != nil {
		return err
	}
	if rep.decisions, err = decideAll(rep.deciders, rep.scenarios, o); err != nil {
		return err
	}
	if rep.redis, err = redisAll(o); err != nil {
		return err
	}
	if rep.databases, err = databasesAll(o, allDatabases); err != nil {
		return err
	}
	if rep.telemetry, err = telemetryAll(o, s); err != nil {
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

// redisOnly measures on Redis and writes what it found to standard output.
func redisOnly(o options) error {
	r, err := redisAll(o)
	if err != nil {
		return err
	}
	r.write(func(format string, args ...any) { fmt.Printf(format+"\n", args...) }, os.Stdout, thisMachine(os.Args[1:], time.Now()))
	return nil
}

// databasesOnly measures on one database, or on all, and writes what it found to standard output.
func databasesOnly(o options, name string) error {
	runs, err := databasesAll(o, name)
	if err != nil {
		return err
	}
	writeDatabases(runs, func(format string, args ...any) { fmt.Printf(format+"\n", args...) }, os.Stdout, thisMachine(os.Args[1:], time.Now()))
	return nil
}
