package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest/testserver"
)

// A database is what several contenders keep their state in.
type database struct {
	Name    string
	Version func(addr string) (string, error)
	// Start returns the address of an empty server, which lives as long as the tb.
	Start func(tb testing.TB) string
	// Least is the cheapest atomic write there is, and what the others are compared with. It limits nothing.
	Least    string
	Deciders []databaseDecider
}

// A databaseDecider is a contender on a database.
type databaseDecider struct {
	Name   string
	Module string
	How    string
	Limits bool // it is a limiter: five of six pass a limit of five
	// New returns a contender with an empty keyspace of its own.
	New func(r rule, addr string) (t take, closer func(), err error)
}

// haltOn is Halt on a store, with the policy of the rule.
func haltOn(s halt.Store, p halt.Policy, r rule) take {
	l, ctx := halt.New(s, nil), context.Background()
	p.Name, p.Limit, p.Window = "api", r.Limit, r.Window
	return func(key string) bool {
		d, err := l.Allow(ctx, p, key)
		return err == nil && d.Allowed
	}
}

func databases() []database {
	return []database{postgresDatabase(), mongoDatabase(), dynamoDatabase(), memcachedDatabase()}
}

// A latency is what the callers waited, in µs.
type latency struct{ P50, P99 series }

// databaseRun is what was measured on one database.
type databaseRun struct {
	database  database
	version   string
	decisions results                        // by scenario and contender
	waits     map[string]map[string]*latency // the same
	admitted  []admission
}

// An admission is how many of many simultaneous requests for the same budget a contender let pass.
type admission struct {
	Name           string
	Limit          int64
	Asked, Allowed int
}

// patience is how long a store of Halt's may take in a benchmark: it is throughput that is measured.
const patience = 30 * time.Second

// databasesAll measures one database after the other, or only the one of that name, if there is one; on each all contenders in turn.
func databasesAll(o options, only string) (runs []*databaseRun, err error) {
	for _, d := range databases() {
		if only != "" && !strings.EqualFold(only, d.Name) {
			continue
		}
		r := &databaseRun{database: d, decisions: results{}, waits: map[string]map[string]*latency{}}
		err := testserver.Outside(func(tb testing.TB) {
			if err := r.run(o, d.Start(tb)); err != nil {
				tb.Fatal(err)
			}
		})
		if err != nil {
			return nil, err
		}
		runs = append(runs, r)
	}
	if len(runs) == 0 {
		return nil, fmt.Errorf("%q is neither a section nor a database", only)
	}
	return runs, nil
}

// run measures all that there is to measure on a server.
func (r *databaseRun) run(o options, addr string) (err error) {
	if r.version, err = r.database.Version(addr); err != nil {
		return err
	}
	if err := r.measure(o, addr); err != nil {
		return err
	}
	return r.overAdmit(o, addr)
}

func (r *databaseRun) measure(o options, addr string) error {
	keys := 10_000
	if o.quick {
		keys = 50
	}
	for pass := range o.passes {
		for _, s := range databaseScenarios {
			n := 1
			if s == databaseMany {
				n = keys
			}
			for _, i := range rotated(len(r.database.Deciders), pass) {
				d := r.database.Deciders[i]
				got, waits, err := databaseDecide(d, addr, n, o.took)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", r.database.Name, d.Name, err)
				}
				r.decisions.add(s, d.Name, got)
				if r.waits[s] == nil {
					r.waits[s] = map[string]*latency{}
				}
				l := r.waits[s][d.Name]
				if l == nil {
					l = &latency{}
					r.waits[s][d.Name] = l
				}
				l.P50, l.P99 = append(l.P50, percentile(waits, 0.5)), append(l.P99, percentile(waits, 0.99))
				o.log("pass %d, %s, %s: %s %.0f/s, p99 %.0f µs", pass+1, r.database.Name, s, d.Name, 1e9/got.NS, percentile(waits, 0.99))
			}
		}
	}
	return nil
}

const (
	databaseHot     = "hot key"
	databaseMany    = "10k keys"
	databaseCallers = 64

	// getThenSet is what a store comes to that has no atomic step.
	getThenSet = "get, then set"
)

var databaseScenarios = []string{databaseHot, databaseMany}

// databaseDecide measures one contender. The waits are in µs, sorted.
func databaseDecide(d databaseDecider, addr string, n int, took time.Duration) (got sample, waits []float64, err error) {
	t, closer, err := d.New(redisRule(n), addr)
	if err != nil {
		return got, nil, err
	}
	defer closer()
	keys := walk(n)
	byWorker := make([][]float64, databaseCallers)
	wrong := make([]int64, databaseCallers)
	loop := func(w int, took time.Duration) (ops int64, busy time.Duration) {
		i := w * n / databaseCallers
		byWorker[w] = byWorker[w][:0]
		start := time.Now()
		for last := start; ; {
			if !t(keys[i]) {
				wrong[w]++
			}
			ops++
			if i++; i == n {
				i = 0
			}
			now := time.Now()
			byWorker[w] = append(byWorker[w], float64(now.Sub(last).Nanoseconds())/1e3)
			last = now
			if busy = now.Sub(start); busy >= took {
				return ops, busy
			}
		}
	}
	took *= 3                              // some of the servers do a thousand things a second
	measure(databaseCallers, took/3, loop) // connections, statements, keys
	got = measure(databaseCallers, took, loop)
	for w := range byWorker {
		waits = append(waits, byWorker[w]...)
		if wrong[w] > 0 {
			err = errors.New("wrong answers")
		}
	}
	slices.Sort(waits)
	return got, waits, err
}

// percentile is of a sorted slice.
func percentile(sorted []float64, p float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(p*float64(len(sorted))))]
}

// overAdmit lets 64 goroutines ask for more than there is, all for the same budget.
func (r *databaseRun) overAdmit(o options, addr string) error {
	limit := rule{Limit: 500, Window: time.Hour}
	asked := 1280
	if o.quick {
		limit.Limit, asked = 20, 64
	}
	for _, d := range r.database.Deciders {
		if d.Name == r.database.Least {
			continue
		}
		t, closer, err := d.New(limit, addr)
		if err != nil {
			return err
		}
		allowed := make([]int, databaseCallers)
		var wg sync.WaitGroup
		for w := range databaseCallers {
			wg.Go(func() {
				for range asked / databaseCallers {
					if t("somebody") {
						allowed[w]++
					}
				}
			})
		}
		wg.Wait()
		closer()
		a := admission{Name: d.Name, Limit: limit.Limit, Asked: asked}
		for _, n := range allowed {
			a.Allowed += n
		}
		r.admitted = append(r.admitted, a)
		o.log("%s: %s admitted %d of a limit of %d", r.database.Name, d.Name, a.Allowed, a.Limit)
	}
	return nil
}
