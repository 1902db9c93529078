package main

import (
	"context"
	"fmt"
	"io"
	"net/http"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/stats"
)

const dashboardPath = "/halt/"

// newLimiter returns the limiter that all servers share, and what counts its decisions beside the observer.
func newLimiter(store halt.Store, observer halt.Observer) (*halt.Limiter, *stats.Collector) {
	c := stats.New(&stats.Options{ShowKeys: true}) // the demo's users are made up
	return halt.New(store, &halt.Options{Observers: []halt.Observer{c, observer}}), c
}

// withDashboard adds the dashboard and the metrics to a server. A service of your own mounts it behind its own access control. Streams of
// it end with ctx, so that the server can shut down.
func withDashboard(ctx context.Context, h http.Handler, c *stats.Collector, metrics http.Handler) http.Handler {
	dashboard := c.Handler()
	mux := http.NewServeMux()
	mux.HandleFunc(dashboardPath, func(w http.ResponseWriter, r *http.Request) {
		live, end := context.WithCancel(r.Context())
		defer end()
		defer context.AfterFunc(ctx, end)()
		dashboard.ServeHTTP(w, r.WithContext(live))
	})
	mux.Handle("GET "+metricsPath, metrics)
	mux.Handle("/", h)
	return mux
}

// printDashboard prints where the dashboard is.
func printDashboard(out io.Writer, servers []server) {
	for _, s := range servers {
		if s.name == dashboardServer {
			fmt.Fprintf(out, "See what happens: %s%s, and for Prometheus %s%s\n\n", s.url, dashboardPath, s.url, metricsPath)
		}
	}
}

const dashboardServer = "net/http"
