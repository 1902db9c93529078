package httpkit_test

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
	"github.com/halt-dev/halt/core/httpkit"
)

func withHeader(name string, lines ...string) *http.Request {
	r := from("192.0.2.1:80")
	for _, line := range lines {
		r.Header.Add(name, line)
	}
	return r
}

func TestByHeader(t *testing.T) {
	key := keyOf(t, framework.ByHeader("x-tenant"))
	for _, test := range []struct {
		lines []string
		want  string
	}{
		{nil, ""},
		{[]string{""}, ""},
		{[]string{" \t "}, ""},
		{[]string{"acme"}, "header:X-Tenant=acme"},
		{[]string{"\t acme \t"}, "header:X-Tenant=acme"},
		{[]string{"acme, b"}, "header:X-Tenant=acme, b"},
		{[]string{"acme", "b"}, ""}, // what verified it may have looked at either
		{[]string{"", "b"}, ""},
		{[]string{"ACME"}, "header:X-Tenant=ACME"},
	} {
		if got := key(withHeader("X-Tenant", test.lines...)); got != test.want {
			t.Errorf("of %q: %q, want %q", test.lines, got, test.want)
		}
	}
	// One value in two fields is two keys.
	if a, b := key(withHeader("X-Tenant", "v")), keyOf(t, framework.ByHeader("X-Team"))(withHeader("X-Team", "v")); a == b {
		t.Errorf("both fields make %q", a)
	}
}

func TestByAPIKey(t *testing.T) {
	key := keyOf(t, framework.ByAPIKey("X-API-Key"))
	hash := func(s string) string { return fmt.Sprintf("apikey:%x", sha256.Sum256([]byte(s)))[:len("apikey:")+32] }
	for _, test := range []struct {
		lines []string
		want  string
	}{
		{nil, ""},
		{[]string{" \t "}, ""},
		{[]string{"k-123"}, hash("k-123")},
		{[]string{"  k-123\t"}, hash("k-123")},
		{[]string{"k-123", "k-456"}, ""}, // else a valid key and made-up ones beside it would be budgets without end
	} {
		got := key(withHeader("X-Api-Key", test.lines...))
		if got != test.want {
			t.Errorf("of %q: %q, want %q", test.lines, got, test.want)
		}
		if strings.Contains(got, "k-123") {
			t.Errorf("the API key itself is stored: %q", got)
		}
	}
}

func TestFieldNames(t *testing.T) {
	for name, valid := range map[string]bool{
		"X-API-Key": true, "x!#$%&'*+-.^_`|~9": true,
		"": false, "X API": false, "X:": false, "X\x00": false, "X\r\nY": false, "Ä": false, "X\x7f": false, "a/b": false, `"a"`: false, "a,b": false, "a=b": false,
	} {
		for what, key := range map[string]guard.Key[*http.Request]{"ByHeader": framework.ByHeader(name), "ByAPIKey": framework.ByAPIKey(name)} {
			_, err := httpkit.New(halt.New(admitting(), nil), framework, config{Rules: []rule{{Policy: perHour("api", 1), Key: key}}})
			if valid != (err == nil) {
				t.Errorf("%s(%q): %v", what, name, err)
			}
		}
	}
}

func TestByRoute(t *testing.T) {
	key := keyOf(t, framework.ByRoute())
	of := func(method, pattern string) string {
		return key(&http.Request{Method: method, Pattern: pattern})
	}
	for _, test := range [][3]string{
		{"GET", "GET /items/{id}", "route:GET GET /items/{id}"},
		{"", "/items", "route:GET /items"},
		{"POST", "/items", "route:POST /items"},
		{"GET", "", "route:GET *"},
		// Methods that a client makes up share one budget.
		{"BREW", "/login", "route:* /login"},
		{"post", "/login", "route:* /login"},
		{"POST ", "/login", "route:* /login"},
	} {
		if got := of(test[0], test[1]); got != test[2] {
			t.Errorf("%s of %q: %q, want %q", test[0], test[1], got, test[2])
		}
	}
	for _, m := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"} {
		if got := of(m, "/"); got != "route:"+m+" /" {
			t.Errorf("%s: %q", m, got)
		}
	}
}

// Behind a ServeMux each pattern has its own budget, however the path is spelt.
func TestByRouteBehindAMux(t *testing.T) {
	w := newWorld(t)
	limit := func(h http.Handler) http.Handler {
		return wrap(t, w.limiter, config{Rules: []rule{{Policy: perHour("api", 2), Key: framework.ByIP().And(framework.ByRoute())}}}, h)
	}
	mux := http.NewServeMux()
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	mux.Handle("/items/{id}", limit(ok))
	mux.Handle("GET /other", limit(ok))
	send := func(method, target string) int {
		rec := httptest.NewRecorder()
		mux.ServeHTTP(rec, httptest.NewRequest(method, target, nil))
		return rec.Code
	}
	for i, want := range []int{200, 200, 429, 429} {
		if got := send("GET", fmt.Sprintf("/items/%d?x=%d", i, i)); got != want {
			t.Errorf("item %d: %d, want %d", i, got, want)
		}
	}
	if got := send("GET", "/other"); got != 200 {
		t.Errorf("the other route: %d", got)
	}
	for i, want := range []int{200, 200, 429} {
		if got := send(fmt.Sprintf("MADEUP%d", i), "/items/1"); got != want {
			t.Errorf("made-up method %d: %d, want %d", i, got, want)
		}
	}
}

func TestPaths(t *testing.T) {
	exempt := framework.Paths("/healthz", "/static/*", "*")
	for target, want := range map[string]bool{
		"/healthz": true, "/healthz?x=/y": true, "/healthz/": false, "/healthzz": false, "/Healthz": false, "//healthz": false, "/": false,
		"/static/": true, "/static/a/b.css": true, "/static": false, "/staticfoo": false,
		"/static/../api": false, "/static/%2e%2e/api": false, "/static/a/..%2fapi": false, "/static/..": false, "/static/%2E./x": false,
		"/static%2Fx": false, "/static/a%2Fb": false, "/static/100%25": false, // a router may read them otherwise
		"/api?/static/": false, "/api/static/x": false,
	} {
		r := httptest.NewRequest(http.MethodGet, target, nil)
		if got := exempt(r); got != want {
			t.Errorf("%s (%s): %v, want %v", target, r.URL.Path, got, want)
		}
	}
	if !exempt(httptest.NewRequest(http.MethodOptions, "*", nil)) {
		t.Error(`"*" is exactly that of OPTIONS *`)
	}
	if !framework.Paths("/*")(httptest.NewRequest(http.MethodGet, "/any/thing", nil)) {
		t.Error("/* is not everything")
	}
	if framework.Paths()(httptest.NewRequest(http.MethodGet, "/", nil)) {
		t.Error("no paths exempt something")
	}
	for _, wrong := range []string{"", "healthz", "/v*", "/*/x", "/a/**"} { // only a "/*" at the end is a pattern
		func() {
			defer func() {
				if v := recover(); v == nil || !strings.Contains(fmt.Sprint(v), strconv.Quote(wrong)) {
					t.Errorf("of the path %q Paths says %v", wrong, v)
				}
			}()
			framework.Paths("/healthz", wrong)
		}()
	}
}
