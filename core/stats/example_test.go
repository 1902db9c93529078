package stats_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
	"github.com/halt-dev/halt/core/stats"
)

func Example() {
	statistics := stats.New(&stats.Options{ShowKeys: true})
	limiter := halt.New(memory.New(nil), &halt.Options{Observers: []halt.Observer{statistics}})

	perHour := halt.Policy{Name: "exports", Plan: "free", Limit: 3, Window: time.Hour}
	for range 5 {
		if _, err := limiter.Allow(context.Background(), perHour, "user:42"); err != nil {
			log.Fatal(err)
		}
	}

	s := statistics.Snapshot()
	fmt.Println(s.Total.Allowed, "allowed,", s.Total.Refused, "refused")
	for _, p := range s.Policies {
		fmt.Printf("%s of plan %s: limit %d, the fullest key at %.0f %%\n", p.Policy, p.Plan, p.Limit, 100*p.Peak)
	}
	for _, k := range s.TopRefused.Keys {
		fmt.Printf("%s was refused %d times\n", k.Key, k.Count)
	}
	// Output:
	// 3 allowed, 2 refused
	// exports of plan free: limit 3, the fullest key at 100 %
	// user:42 was refused 2 times
}

func ExampleCollector_Handler() {
	statistics := stats.New(nil)
	onlyAdmins := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, password, ok := r.BasicAuth(); !ok || password != "correct" { // yours is better
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
	mux := http.NewServeMux()
	mux.Handle("GET /internal/halt", onlyAdmins(statistics.Handler()))

	ask := func(password string) int {
		r := httptest.NewRequest(http.MethodGet, "/internal/halt", nil)
		r.SetBasicAuth("admin", password)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		return w.Code
	}
	fmt.Println(ask("wrong"), ask("correct"))
	// Output: 401 200
}
