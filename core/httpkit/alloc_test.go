//go:build !race

package httpkit_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
)

// middlewareAllocs are those of an admitted request from this peer.
func middlewareAllocs(t *testing.T, c config, remote string, header ...string) float64 {
	t.Helper()
	h := wrap(t, halt.New(admitting(), nil), c, nil)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = remote
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := discarder{http.Header{}}
	return testing.AllocsPerRun(1000, func() {
		clear(w.header)
		h.ServeHTTP(w, r)
	})
}

func TestAllocsOfTheMiddleware(t *testing.T) {
	api := perHour("api", 100)
	const v4, v6 = "192.0.2.1:1234", "[2001:db8:1:2:3:4:5:6]:1234"
	for _, test := range []struct {
		name   string
		c      config
		remote string
		header []string
		most   float64
	}{
		// The key, RateLimit's value, and one for both fields' slices.
		{"by IP", config{Rules: []rule{{Policy: api, Key: framework.ByIP()}}}, v4, nil, 3},
		{"by IP, IPv6", config{Rules: []rule{{Policy: api, Key: framework.ByIP()}}}, v6, nil, 3},
		{"by IP behind proxies", config{Rules: []rule{{Policy: api, Key: framework.ByIP(proxies...)}}}, "10.1.1.1:80", []string{"X-Forwarded-For", "1.1.1.1, 203.0.113.9, 10.2.2.2"}, 3},
		{"by API key", config{Rules: []rule{{Policy: api, Key: framework.ByAPIKey("X-API-Key")}}}, v4, []string{"X-API-Key", "k-123"}, 3},
		{"by IP and route", config{Rules: []rule{{Policy: api, Key: framework.ByIP().And(framework.ByRoute())}}}, v4, nil, 3},
		{"without headers", config{Headers: 2, Rules: []rule{{Policy: api, Key: framework.ByIP()}}}, v4, nil, 1},
		// Beside the two keys and the slices both fields' values, which are built.
		{"two rules", config{Rules: []rule{{Policy: api, Key: framework.ByIP()}, {Policy: perHour("b", 9), Key: framework.ByHeader("X-Tenant")}}}, v4, []string{"X-Tenant", "acme"}, 5},
		{"exempt", config{Exempt: framework.Paths("/"), Rules: []rule{{Policy: api, Key: framework.ByIP()}}}, v4, nil, 0},
		// Beside the three: the observer, and it with the interfaces of the server's.
		{"settled", config{Rules: []rule{{Policy: api, Key: framework.ByIP(), Settle: guard.ChargeOn[*http.Request](200)}}}, v4, nil, 5},
	} {
		if got := middlewareAllocs(t, test.c, test.remote, test.header...); got > test.most {
			t.Errorf("%s: %v allocations, want at most %v", test.name, got, test.most)
		}
	}
}
