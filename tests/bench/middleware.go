package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"time"
)

// A handler is a contender for the cost of a middleware, or its framework alone.
type handler struct {
	Name   string
	Module string
	How    string
	// New makes a server that answers 204 and nothing else, behind the contender, which keeps the rule for each client address.
	New func(r rule) http.Handler
}

// A framework is a group of handlers that are measured against its bare one, the first.
type framework struct {
	Name     string
	Handlers []handler
}

func (f framework) serial() string   { return f.Name }
func (f framework) parallel() string { return f.Name + ", parallel" }

// A sink is a response writer that keeps the headers and the status and drops the rest.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(status int)      { s.status = status }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }

// clients is how many addresses the requests of a measurement come from, and how many requests pass between two looks at
// the clock.
const clients = 64

func request(client int) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/items", nil)
	r.RemoteAddr = "192.0.2." + strconv.Itoa(client+1) + ":40000"
	return r
}

// serve measures one handler. Each request of a round has a response of its own; their headers are emptied between the
// rounds, while the clock stands still: a handler pays for the headers that it sets, as it does in a server, and not for
// our tidying up after them.
func serve(h handler, parallel bool, took time.Duration) (sample, error) {
	server := h.New(ruleClients)
	workers := 1
	if parallel {
		workers = runtime.GOMAXPROCS(0)
	}
	type bench struct {
		sinks    [clients]sink
		requests [clients]*http.Request
	}
	benches := make([]bench, workers)
	for w := range benches {
		for i := range clients {
			benches[w].sinks[i].header = make(http.Header, 8)
			benches[w].requests[i] = request((i + w*clients/workers) % clients)
			server.ServeHTTP(&benches[w].sinks[i], benches[w].requests[i])
		}
	}
	got := measure(workers, took, func(w int, took time.Duration) (ops int64, busy time.Duration) {
		b := &benches[w]
		for busy < took {
			for i := range b.sinks {
				clear(b.sinks[i].header)
				b.sinks[i].status = 0
			}
			start := time.Now()
			for i := range b.sinks {
				server.ServeHTTP(&b.sinks[i], b.requests[i])
			}
			busy += time.Since(start)
			ops += clients
		}
		return ops, busy
	})
	for w := range benches {
		for i := range benches[w].sinks {
			s := &benches[w].sinks[i]
			if s.status != http.StatusNoContent || (h.Name != bareName) != (len(s.header) >= 2) {
				return got, fmt.Errorf("%s: answered %d with the headers %v", h.Name, s.status, s.header)
			}
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
