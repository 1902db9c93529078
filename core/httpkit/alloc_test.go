//go:build !race

package httpkit_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
)

// middlewareAllocs are those of an admitted request from this peer, rounded down: the memory for keys and fields is
// allocated for several requests at once.
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
		{"by IP", config{Rules: []rule{{Policy: api, Key: framework.ByIP()}}}, v4, nil, 0},
		{"by IP, IPv6", config{Rules: []rule{{Policy: api, Key: framework.ByIP()}}}, v6, nil, 0},
		{"by IP behind proxies", config{Rules: []rule{{Policy: api, Key: framework.ByIP(proxies...)}}}, "10.1.1.1:80", []string{"X-Forwarded-For", "1.1.1.1, 203.0.113.9, 10.2.2.2"}, 0},
		{"by API key", config{Rules: []rule{{Policy: api, Key: framework.ByAPIKey("X-API-Key")}}}, v4, []string{"X-API-Key", "k-123"}, 1},
		{"by IP and route", config{Rules: []rule{{Policy: api, Key: framework.ByIP().And(framework.ByRoute())}}}, v4, nil, 0},
		{"without headers", config{Headers: 2, Rules: []rule{{Policy: api, Key: framework.ByIP()}}}, v4, nil, 0},
		// The value of RateLimit-Policy, which is built.
		{"two rules", config{Rules: []rule{{Policy: api, Key: framework.ByIP()}, {Policy: perHour("b", 9), Key: framework.ByHeader("X-Tenant")}}}, v4, []string{"X-Tenant", "acme"}, 1},
		{"exempt", config{Exempt: framework.Paths("/"), Rules: []rule{{Policy: api, Key: framework.ByIP()}}}, v4, nil, 0},
		// The observer, which is all that the server's writer here can be.
		{"settled", config{Rules: []rule{{Policy: api, Key: framework.ByIP(), Settle: guard.ChargeOn[*http.Request](200)}}}, v4, nil, 1},
	} {
		if got := middlewareAllocs(t, test.c, test.remote, test.header...); got > test.most {
			t.Errorf("%s: %v allocations, want at most %v", test.name, got, test.most)
		}
	}
}
