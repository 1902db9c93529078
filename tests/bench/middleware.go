package main

import (
	"cmp"
	"fmt"
	"net/http"
	"runtime"
	"time"

	"github.com/valyala/fasthttp"
)

// A handler is a contender for the cost of a middleware, or its framework alone.
type handler struct {
	Name   string
	Module string
	How    string
	// New makes a server that answers 204 and nothing else, behind the contender, which keeps the rule for each client address.
	New func(r rule) http.Handler
	// Fast is New of a framework that stands on fasthttp.
	Fast   func(r rule) fasthttp.RequestHandler
	Silent bool // it sends no headers
}

func (h handler) start(r rule) server {
	if h.Fast != nil {
		return fastServer(h.Fast(r))
	}
	return httpServer{h.New(r)}
}

// A framework is a group of handlers that are measured against its bare one, the first.
type framework struct {
	Name     string
	Handlers []handler
	AtMost   float64 // the target for Halt's overhead, as a part of the best peer's; 0: a half
}

func (f framework) serial() string   { return f.Name }
func (f framework) parallel() string { return f.Name + ", parallel" }
func (f framework) atMost() float64  { return cmp.Or(f.AtMost, 0.5) }

// serve measures one handler.
func serve(h handler, parallel bool, took time.Duration) (sample, error) {
	s := h.start(ruleClients)
	workers := 1
	if parallel {
		workers = runtime.GOMAXPROCS(0)
	}
	rounds := make([]round, workers)
	for w := range rounds {
		rounds[w] = s.round(w * clients / workers)
		rounds[w].serve()
	}
	got := measure(workers, took, func(w int, took time.Duration) (ops int64, busy time.Duration) {
		r := rounds[w]
		for busy < took {
			r.empty()
			start := time.Now()
			r.serve()
			busy += time.Since(start)
			ops += clients
		}
		return ops, busy
	})
	for _, r := range rounds {
		if err := r.check(h.Name != bareName && !h.Silent); err != nil {
			return got, fmt.Errorf("%s: %w", h.Name, err)
		}
	}
	return got, nil
}

// serveAll measures all handlers, interleaved.
func serveAll(fs []framework, o options) (results, error) {
	r := results{}
	for pass := range o.passes {
		for _, f := range fs {
			for _, name := range []string{f.serial(), f.parallel()} {
				for _, i := range rotated(len(f.Handlers), pass) {
					got, err := serve(f.Handlers[i], name == f.parallel(), o.took)
					if err != nil {
						return nil, fmt.Errorf("%s: %w", f.Name, err)
					}
					r.add(name, f.Handlers[i].Name, got)
					o.log("pass %d, %s: %s %.0f ns", pass+1, name, f.Handlers[i].Name, got.NS)
				}
			}
		}
	}
	return r, nil
}

// over is what a handler costs above the bare framework, pass by pass.
func over(r results, scenario, contender string, get func(sample) float64) series {
	return r.of(scenario, contender, get).minus(r.of(scenario, bareName, get))
}
