package main

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

// TestMetrics: what is decided can be scraped, under the names that the dashboards know.
func TestMetrics(t *testing.T) {
	observer, handler, err := newMetrics()
	if err != nil {
		t.Fatal(err)
	}
	limiter := halt.New(memory.New(nil), &halt.Options{Observers: []halt.Observer{observer}})
	for range 3 {
		if _, err := limiter.Allow(t.Context(), halt.Policy{Name: "api", Limit: 2, Window: time.Hour}, "ann"); err != nil {
			t.Fatal(err)
		}
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest("GET", metricsPath, nil))
	page := w.Body.String()
	for _, want := range []string{
		`halt_outcome="allowed"`, `halt_outcome="refused"`, "halt_decisions_total", "halt_cost_total", "halt_store_duration_seconds_bucket",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if strings.Contains(page, "ann") {
		t.Error("the page tells a key")
	}
}
