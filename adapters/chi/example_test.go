package haltchi_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	haltchi "github.com/halt-dev/halt/adapters/chi"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

// Two requests an hour for each client address.
func ExampleLimit() {
	limiter := halt.New(memory.New(nil), nil)
	perHour := halt.Policy{Name: "api", Algorithm: halt.FixedWindow, Limit: 2, Window: time.Hour}

	r := chi.NewRouter()
	r.Use(haltchi.Limit(limiter, perHour, haltchi.ByIP()))
	r.Get("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) })

	for range 3 {
		w := httptest.NewRecorder()
		r.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		fmt.Println(w.Code, w.Header().Get("RateLimit-Policy"), w.Body)
	}
	// Output:
	// 200 "api";q=2;w=3600 hello
	// 200 "api";q=2;w=3600 hello
	// 429 "api";q=2;w=3600 {"type":"https://iana.org/assignments/http-problem-types#quota-exceeded","title":"Too Many Requests","status":429,"violated-policies":["api"]}
}

// A limit on all requests of a client, whose address chi has found, and on one route a limit on failed logins alone, which
// blocks for a while.
func ExampleMiddleware() {
	limiter := halt.New(memory.New(nil), nil)
	r := chi.NewRouter()
	r.Use(middleware.ClientIPFromXFF("192.0.2.0/24")) // the proxies that this service stands behind
	r.Use(haltchi.Middleware(limiter, haltchi.Config{
		Rules:  []haltchi.Rule{{Policy: halt.Policy{Name: "api", Limit: 100, Window: time.Minute}, Key: haltchi.ByClientIP()}},
		Exempt: haltchi.Paths("/healthz"),
	}))
	failures := haltchi.Middleware(limiter, haltchi.Config{
		Rules: []haltchi.Rule{{
			Policy: halt.Policy{Name: "login", Algorithm: halt.SlidingWindow, Limit: 2, Window: time.Minute, Block: 5 * time.Minute},
			Key:    haltchi.ByClientIP().And(haltchi.By("account", func(r *http.Request) string { return r.FormValue("account") })),
			Settle: haltchi.ChargeOn(http.StatusUnauthorized),
		}},
		OnDenied: func(w http.ResponseWriter, _ *http.Request, d haltchi.Denial) {
			http.Error(w, d.Reason.String(), d.Status())
		},
	})
	r.With(failures).Post("/login", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "wrong password", http.StatusUnauthorized)
	})

	for range 3 {
		req := httptest.NewRequest(http.MethodPost, "/login?account=ann", nil)
		req.Header.Set("X-Forwarded-For", "203.0.113.7")
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		fmt.Print(w.Code, " ", w.Header().Get("Retry-After"), " ", w.Body)
	}
	// Output:
	// 401  wrong password
	// 401  wrong password
	// 429 300 quota exceeded
}
