package main

import (
	"context"
	"fmt"
	"io"
	"net/http"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
	"github.com/halt-dev/halt/core/stats"
)

const dashboardPath = "/halt/"

// newLimiter returns the limiter that all servers share, and what counts its decisions.
func newLimiter() (*halt.Limiter, *stats.Collector) {
	c := stats.New(&stats.Options{ShowKeys: true}) // the demo's users are made up
	return halt.New(memory.New(nil), &halt.Options{Observers: []halt.Observer{c}}), c
}

// withDashboard adds the dashboard to a server. A service of your own mounts it behind its own access control. Streams of
// it end with ctx, so that the server can shut down.
func withDashboard(ctx context.Context, h http.Handler, c *stats.Collector) http.Handler {
	dashboard := c.Handler()
	mux := http.NewServeMux()
	mux.HandleFunc(dashboardPath, func(w http.ResponseWriter, r *http.Request) {
		live, end := context.WithCancel(r.Context())
		defer end()
		defer context.AfterFunc(ctx, end)()
		dashboard.ServeHTTP(w, r.WithContext(live))
	})
	mux.Handle("/", h)
	return mux
}

// printDashboard prints where the dashboard is.
func printDashboard(out io.Writer, servers []server) {
	for _, s := range servers {
		if s.name == dashboardServer {
			fmt.Fprintf(out, "See what happens: %s%s\n\n", s.url, dashboardPath)
		}
	}
}

const dashboardServer = "net/http"
