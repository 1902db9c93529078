package main

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A take asks for one request of a key and tells whether it is allowed.
type take func(key string) bool

// A decider is a contender for the cost of a decision.
type decider struct {
	Name   string
	Module string
	How    string // what is called, and how it differs from "limit per window"
	// New makes one that keeps about that rule for each key. With keys, the most that it will see, it may size itself.
	New func(r rule, keys int) (t take, closer func())
}

func (r rule) String() string { return fmt.Sprintf("%d in %.0f h", r.Limit, r.Window.Hours()) }

// The names of rows that are not peers.
const (
	haltName = "**halt**"
	loopName = "(the loop alone)"
	bareName = "(bare)"
	// Middleware that is no contender: see byHand.
	byHandName = "(by hand)"
	floorName  = "(floor)"
)

func peer(name string) bool {
	return !slices.Contains([]string{haltName, loopName, bareName, byHandName, floorName}, name)
}

// A rule is a limit per window and key. One whose requests are to pass has to allow more of a key than come during a
// measurement, and still so little that what one request took is not back before the key's next: or a store may forget
// the key meanwhile, and would be measured at forgetting. No window ends, and no map is thrown away with it, on the way.
type rule struct {
	Limit  int64
	Window time.Duration
}

var (
	ruleHot     = rule{1_000_000_000, time.Hour}   // a request is back after 3.6 µs, the key comes more often
	ruleRefused = rule{1, time.Hour}               // its one request is spent
	ruleMany    = rule{10_000, 24 * time.Hour}     // 8.6 s
	ruleOnce    = rule{100, 24 * time.Hour}        // 14 min: each key comes once
	ruleClients = rule{10_000_000, 24 * time.Hour} // 8.6 ms, with 64 clients in turn
	ruleFive    = rule{5, time.Hour}               // for the tests
)

// A scenario is one way to ask for decisions.
type scenario struct {
	Name     string
	Keys     int
	Parallel bool
	Rule     rule
}

const (
	hot         = "hot key"
	hotParallel = "hot key, parallel"
	many        = "many keys"
	manyPar     = "many keys, parallel"
	refused     = "refused"
	few         = "10k keys"
	million     = "1M keys"
)

func scenarios(s size) []scenario {
	return []scenario{
		{Name: hot, Keys: 1, Rule: ruleHot},
		{Name: hotParallel, Keys: 1, Parallel: true, Rule: ruleHot},
		{Name: refused, Keys: 1, Rule: ruleRefused},
		{Name: many, Keys: s.many, Rule: ruleMany},
		{Name: manyPar, Keys: s.many, Parallel: true, Rule: ruleMany},
		{Name: few, Keys: s.few, Rule: ruleMany},
		{Name: million, Keys: s.million, Rule: ruleMany},
	}
}

// key is the i-th key, such as a user's id.
func key(i int) string { return "user:" + strconv.Itoa(10_000_000+i) }

// walk is n keys in a pseudo-random order. Their bytes lie one after the other in that order: a request's key was just
// read and is in the cache, and what a store keeps of it is not. So no contender is charged for the harness's strings.
func walk(n int) []string {
	order := rand.New(rand.NewPCG(1, 2)).Perm(n)
	var b strings.Builder
	for _, i := range order {
		b.WriteString(key(i))
	}
	all := b.String()
	keys := make([]string, n)
	for i := range keys {
		w := len(all) / n // all keys are of one length
		keys[i] = all[i*w : (i+1)*w]
	}
	return keys
}

// decide measures one contender in one scenario, on a fresh instance that has seen every key once.
func decide(d decider, s scenario, keys []string, took time.Duration) (sample, error) {
	t, closer := d.New(s.Rule, s.Keys)
	defer closer()
	for i := range s.Keys {
		if !t(key(i)) && d.Name != loopName { // a string of its own, as each request has
			return sample{}, fmt.Errorf("%s, %s: refused its first request", d.Name, s.Name)
		}
	}
	workers := 1
	if s.Parallel {
		workers = runtime.GOMAXPROCS(0)
	}
	wrong := make([]int64, workers)
	got := measure(workers, took, func(w int, took time.Duration) (int64, time.Duration) {
		const chunk = 1000 // between two looks at the clock
		var ops, allowed int64
		i := w * len(keys) / workers
		start := time.Now()
		for {
			for range chunk {
				if t(keys[i]) {
					allowed++
				}
				if i++; i == len(keys) {
					i = 0
				}
			}
			ops += chunk
			if d := time.Since(start); d >= took {
				wrong[w] = ops - allowed
				if s.Name == refused {
					wrong[w] = allowed
				}
				return ops, d
			}
		}
	})
	for _, n := range wrong {
		if n > 0 && d.Name != loopName {
			return got, fmt.Errorf("%s, %s: %d wrong answers", d.Name, s.Name, n)
		}
	}
	return got, nil
}

// decideAll measures all contenders in all scenarios, interleaved.
func decideAll(ds []decider, ss []scenario, o options) (results, error) {
	r := results{}
	for pass := range o.passes {
		for _, s := range ss {
			keys := walk(s.Keys)
			for _, i := range rotated(len(ds), pass) {
				got, err := decide(ds[i], s, keys, o.took)
				if err != nil {
					return nil, err
				}
				r.add(s.Name, ds[i].Name, got)
				o.log("pass %d, %s: %s %.1f ns", pass+1, s.Name, ds[i].Name, got.NS)
			}
		}
	}
	return r, nil
}
