package halthttp_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/halthttp"
	"github.com/halt-dev/halt/core/memory"
)

// Two requests a minute for each client address.
func ExampleLimit() {
	limiter := halt.New(memory.New(nil), nil)
	perMinute := halt.Policy{Name: "api", Limit: 2, Window: time.Minute}
	limit := halthttp.Limit(limiter, perMinute, halthttp.ByIP())

	mux := http.NewServeMux()
	mux.HandleFunc("GET /hello", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello") })
	handler := limit(mux) // http.ListenAndServe(":8080", handler)

	for range 3 {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest("GET", "/hello", nil))
		fmt.Println(w.Code, w.Header().Get("RateLimit-Policy"))
	}
	// Output:
	// 200 "api";q=2;w=60
	// 200 "api";q=2;w=60
	// 429 "api";q=2;w=60
}

// The plan of each user comes from a database, by way of a cache; and whoever guesses passwords is soon refused.
func ExampleMiddleware() {
	limiter := halt.New(memory.New(nil), nil)
	plans := halt.NewPolicyCache(func(_ context.Context, user string) (halt.Policy, error) {
		limits := map[string]int64{"ann": 100, "bob": 2} // the database
		return halt.Policy{Name: "plan", Limit: limits[user], Window: time.Hour}, nil
	}, nil)
	user := func(r *http.Request) string { return r.Header.Get("X-User") }

	perPlan := halthttp.Middleware(limiter, halthttp.Config{
		Rules: []halthttp.Rule{{
			Resolve: func(ctx context.Context, r *http.Request) (halt.Policy, error) { return plans.Get(ctx, user(r)) },
			Key:     halthttp.By("user", user),
		}},
		Exempt: halthttp.Paths("/healthz"),
	})
	failedLogins := halthttp.Middleware(limiter, halthttp.Config{
		Rules: []halthttp.Rule{{
			Policy: halt.Policy{Name: "login", Algorithm: halt.SlidingWindow, Limit: 3, Window: time.Minute, Block: 5 * time.Minute},
			Key:    halthttp.ByIP().And(halthttp.By("account", user)),
			Settle: halthttp.ChargeOn(http.StatusUnauthorized),
		}},
	})

	mux := http.NewServeMux()
	mux.Handle("GET /data", perPlan(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	mux.Handle("POST /login", failedLogins(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Password") != "secret" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})))

	request := func(method, path, user, password string) int {
		r := httptest.NewRequest(method, path, nil)
		r.Header.Set("X-User", user)
		r.Header.Set("X-Password", password)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		return w.Code
	}
	for range 3 {
		fmt.Println("data for ann and bob:", request("GET", "/data", "ann", ""), request("GET", "/data", "bob", ""))
	}
	for range 3 {
		fmt.Println("a good login and a guess:", request("POST", "/login", "ann", "secret"), request("POST", "/login", "ann", "guess"))
	}
	fmt.Println("a good login after three guesses:", request("POST", "/login", "ann", "secret"))
	// Output:
	// data for ann and bob: 200 200
	// data for ann and bob: 200 200
	// data for ann and bob: 200 429
	// a good login and a guess: 200 401
	// a good login and a guess: 200 401
	// a good login and a guess: 200 401
	// a good login after three guesses: 429
}

//nolint:forbidigo // the bubble's clock
func TestUploadsPerHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limiter := halt.New(memory.New(nil), nil)
		perHour := halt.Policy{Name: "uploads", Limit: 3, Window: time.Hour}
		upload := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) }
		handler := halthttp.Limit(limiter, perHour, halthttp.ByAPIKey("X-API-Key"))(http.HandlerFunc(upload))

		post := func(want int) {
			t.Helper()
			r := httptest.NewRequest("POST", "/uploads", nil)
			r.Header.Set("X-API-Key", "ann's")
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if w.Code != want {
				t.Errorf("answered %d, want %d", w.Code, want)
			}
		}
		for range 3 {
			post(http.StatusCreated)
		}
		post(http.StatusTooManyRequests)

		time.Sleep(time.Hour) // passes at once
		for range 3 {
			post(http.StatusCreated)
		}
		post(http.StatusTooManyRequests)
	})
}
