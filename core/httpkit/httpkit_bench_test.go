package httpkit_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
)

// discarder is a ResponseWriter that costs nothing. Its header map is used again, as a server's is not: what is measured is
// the middleware.
type discarder struct{ header http.Header }

func (d discarder) Header() http.Header       { return d.header }
func (discarder) Write(b []byte) (int, error) { return len(b), nil }
func (discarder) WriteHeader(int)             {}

// BenchmarkMiddleware is an admitted request with a store that does nothing; of "refused" a refused one.
func BenchmarkMiddleware(b *testing.B) {
	api := perHour("api", 100)
	for _, bench := range []struct {
		name   string
		c      config
		remote string
		store  decided
	}{
		{"ip", config{Rules: []rule{{Policy: api, Key: framework.ByIP()}}}, "192.0.2.1:1234", admitting()},
		{"ipv6", config{Rules: []rule{{Policy: api, Key: framework.ByIP()}}}, "[2001:db8::1]:1234", admitting()},
		{"proxied", config{Rules: []rule{{Policy: api, Key: framework.ByIP(proxies...)}}}, "10.1.1.1:1234", admitting()},
		{"noheaders", config{Headers: 2, Rules: []rule{{Policy: api, Key: framework.ByIP()}}}, "192.0.2.1:1234", admitting()},
		{"legacy", config{Headers: 1, Rules: []rule{{Policy: api, Key: framework.ByIP()}}}, "192.0.2.1:1234", admitting()},
		{"two", config{Rules: []rule{{Policy: api, Key: framework.ByIP()}, {Policy: perHour("b", 9), Key: everyone()}}}, "192.0.2.1:1234", admitting()},
		{"settled", config{Rules: []rule{{Policy: api, Key: framework.ByIP(), Settle: guard.ChargeOn[*http.Request](200)}}}, "192.0.2.1:1234", admitting()},
		{"refused", config{Rules: []rule{{Policy: api, Key: framework.ByIP()}}}, "192.0.2.1:1234", func(*halt.Charge) (halt.Decision, error) {
			return halt.Decision{RetryAfter: 1}, nil
		}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			h := wrap(b, halt.New(bench.store, nil), bench.c, nil)
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr = bench.remote
			r.Header.Set("X-Forwarded-For", "1.1.1.1, 203.0.113.9")
			w := discarder{http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				h.ServeHTTP(w, r)
			}
		})
	}
}
