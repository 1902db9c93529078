package main

import (
	"fmt"
	"io"
	"strings"
)

// rate is a contender's operations per second, in thousands.
func (r *databaseRun) rate(scenario, name string) series {
	return r.decisions.of(scenario, name, func(s sample) float64 { return 1e6 / s.NS })
}

// floors holds the measures of a database against their targets.
func (r *databaseRun) floors() []floor {
	over := func(s string) float64 { return r.rate(s, haltName).over(r.rate(s, r.database.Least)) }
	return []floor{
		{What: databaseHot + ": decisions per second, over " + r.database.Least, Least: 3, Measured: over(databaseHot)},
		{What: databaseMany + ": the same", Least: 0.7, Measured: over(databaseMany)},
	}
}

func writeDatabases(runs []*databaseRun, p printer, w io.Writer, m machine) {
	p("## PostgreSQL, MongoDB, DynamoDB, Memcached\n")
	p("Each server on the loopback and on this machine's processors, which it shares with the callers. %d goroutines ask in a loop,", databaseCallers)
	p("all contenders of a database on one server and in turn. k/s: thousands of decisions per second. p99: what a caller waited, µs.")
	p("Each is compared with the cheapest atomic write of its database, which decides nothing: through the same client, but for")
	p("Memcached, where it is gomemcache's. Halt has a client of its own there, which pipelines, and increments faster than that:")
	p("`go test -run xxx -bench Concurrent ./stores/memcached` compares with its own increment.\n")
	for _, r := range runs {
		p("### %s %s\n", r.database.Name, r.version)
		rows := [][]string{{"", databaseHot + ", k/s", "p99, µs", databaseMany + ", k/s", "p99, µs", "allocs"}}
		for _, d := range r.database.Deciders {
			row := []string{d.Name}
			for _, s := range databaseScenarios {
				row = append(row, withSpread(r.rate(s, d.Name)), figure(r.waits[s][d.Name].P99.median()))
			}
			rows = append(rows, append(row, figure(r.decisions.of(databaseMany, d.Name, getAllocs).median())))
		}
		table(w, rows)
		p("")
		rows = [][]string{{"what", "target", "measured", "verdict"}}
		for _, f := range r.floors() {
			rows = append(rows, []string{f.What, "at least " + figure(f.Least), figure(f.Measured), f.outcome()})
		}
		table(w, rows)
		var told []string
		for _, a := range r.admitted {
			told = append(told, fmt.Sprintf("%s %d", a.Name, a.Allowed))
		}
		if len(r.admitted) > 0 {
			p("\nOf %d simultaneous requests for a budget of %d an hour were admitted by: %s.\n",
				r.admitted[0].Asked, r.admitted[0].Limit, strings.Join(told, ", "))
		}
		rows = [][]string{{"", "module", "how"}}
		for _, d := range r.database.Deciders {
			rows = append(rows, []string{d.Name, m.withVersion(d.Module), d.How})
		}
		table(w, rows)
		p("")
	}
}
