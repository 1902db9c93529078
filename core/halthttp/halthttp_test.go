package halthttp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
	"github.com/halt-dev/halt/core/halthttp"
	"github.com/halt-dev/halt/core/memory"
)

// hourly is a quota of a fixed window of 1000 hours, so that no window ends during a test.
func hourly(name string, limit int64) halt.Policy {
	return halt.Policy{Name: name, Algorithm: halt.FixedWindow, Limit: limit, Window: 1000 * time.Hour}
}

func newLimiter() *halt.Limiter { return halt.New(memory.New(nil), nil) }

func get(h http.Handler, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

func ok(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }

// settled makes a middleware of one rule that reports how requests end.
func settled(outcomes chan<- halthttp.Outcome) func(http.Handler) http.Handler {
	return halthttp.Middleware(newLimiter(), halthttp.Config{Rules: []halthttp.Rule{{
		Policy: hourly("settled", 100),
		Key:    halthttp.Everyone(),
		Settle: func(_ *http.Request, o halthttp.Outcome) int64 {
			outcomes <- o
			return 0
		},
	}}})
}

// listen starts a server and returns its URL and a client of it.
func listen(t *testing.T, h http.Handler, http2 bool) (string, *http.Client) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = http2
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // some handlers misbehave
	if http2 {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s.URL, s.Client()
}

func fetch(t *testing.T, c *http.Client, url string) *http.Response {
	t.Helper()
	res, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

func TestByRouteInsideAndAroundServeMux(t *testing.T) {
	limit := halthttp.Limit(newLimiter(), hourly("route", 1), halthttp.ByRoute())

	inside := http.NewServeMux()
	inside.Handle("GET /a/{id}", limit(http.HandlerFunc(ok)))
	inside.Handle("GET /b", limit(http.HandlerFunc(ok)))
	for _, c := range []struct {
		path string
		want int
	}{{"/a/1", 200}, {"/a/2", 429}, {"/b", 200}, {"/b", 429}} {
		if got := get(inside, c.path).Code; got != c.want {
			t.Errorf("inside the mux: GET %s is answered %d, not %d", c.path, got, c.want)
		}
	}

	mux := http.NewServeMux()
	mux.HandleFunc("/a/{id}", ok)
	mux.HandleFunc("/b", ok)
	around := halthttp.Limit(newLimiter(), hourly("route", 1), halthttp.ByRoute())(mux)
	if got := get(around, "/a/1").Code; got != 200 {
		t.Errorf("around the mux: the first GET is answered %d", got)
	}
	if got := get(around, "/b").Code; got != 429 {
		t.Errorf("around the mux, where no pattern is known yet, another path has a budget of its own: %d", got)
	}
	w := httptest.NewRecorder()
	around.ServeHTTP(w, httptest.NewRequest(http.MethodPut, "/b", nil))
	if w.Code != 200 {
		t.Errorf("around the mux, another method shares the budget: %d", w.Code)
	}
}

// interfaces tells which optional interfaces a ResponseWriter has.
func interfaces(w http.ResponseWriter) string {
	_, flusher := w.(http.Flusher)
	_, hijacker := w.(http.Hijacker)
	_, readerFrom := w.(io.ReaderFrom)
	_, closeNotifier := w.(http.CloseNotifier) //nolint:staticcheck // deprecated, and frameworks still assert it
	return fmt.Sprintf("Flusher %t, Hijacker %t, ReaderFrom %t, CloseNotifier %t", flusher, hijacker, readerFrom, closeNotifier)
}

// On each route the handler must meet the interfaces that the server's own ResponseWriter has: of HTTP/1 one that can
// hijack, of HTTP/2 one that can't.
func TestResponseWriterIsTheServersOwn(t *testing.T) {
	outcomes := make(chan halthttp.Outcome, 1)
	for _, http2 := range []bool{false, true} {
		var bare, unsettled, observed string
		var bareType, unsettledType string
		mux := http.NewServeMux()
		mux.HandleFunc("/bare", func(w http.ResponseWriter, _ *http.Request) {
			bare, bareType = interfaces(w), fmt.Sprintf("%T", w)
		})
		mux.Handle("/unsettled", halthttp.Limit(newLimiter(), hourly("api", 9), halthttp.ByIP())(
			http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				unsettled, unsettledType = interfaces(w), fmt.Sprintf("%T", w)
			})))
		mux.Handle("/settled", settled(outcomes)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { observed = interfaces(w) })))
		url, client := listen(t, mux, http2)
		for _, path := range []string{"/bare", "/unsettled", "/settled"} {
			if res := fetch(t, client, url+path); res.StatusCode != 200 || (res.ProtoMajor == 2) != http2 {
				t.Fatalf("%s: %s by %s", path, res.Status, res.Proto)
			}
		}
		<-outcomes
		if unsettled != bare || unsettledType != bareType {
			t.Errorf("HTTP/2 %t: without a Settle the handler gets a %s (%s), not the server's %s (%s)", http2, unsettledType, unsettled, bareType, bare)
		}
		if observed != bare {
			t.Errorf("HTTP/2 %t: with a Settle the handler gets %s, and the server's has %s", http2, observed, bare)
		}
	}
}

func TestHTTP2(t *testing.T) {
	limit := halthttp.Limit(newLimiter(), hourly("api", 1), halthttp.ByIP())
	url, client := listen(t, limit(http.HandlerFunc(ok)), true)
	if res := fetch(t, client, url); res.StatusCode != 200 || res.ProtoMajor != 2 || res.Header.Get("RateLimit-Policy") != `"api";q=1;w=3600000` {
		t.Errorf("the first is answered %s by %s with %v", res.Status, res.Proto, res.Header)
	}
	res := fetch(t, client, url)
	if res.StatusCode != 429 || res.Header.Get("Content-Type") != "application/problem+json" || res.Header.Get("Retry-After") == "" {
		t.Errorf("the second is answered %s with %v", res.Status, res.Header)
	}
}

func TestResponseController(t *testing.T) {
	outcomes := make(chan halthttp.Outcome, 1)
	errs := make(chan error, 1)
	url, client := listen(t, settled(outcomes)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		rc := http.NewResponseController(w)
		later := time.Now().Add(time.Hour)
		err := errors.Join(rc.SetReadDeadline(later), rc.SetWriteDeadline(later), rc.EnableFullDuplex())
		w.WriteHeader(http.StatusAccepted)
		errs <- errors.Join(err, rc.Flush())
	})), false)
	if res := fetch(t, client, url); res.StatusCode != http.StatusAccepted {
		t.Errorf("answered %s", res.Status)
	}
	if err := <-errs; err != nil {
		t.Error(err)
	}
	if o := <-outcomes; o.Status != http.StatusAccepted {
		t.Errorf("settled as %d", o.Status)
	}
}

func TestOutcomeStatus(t *testing.T) {
	for _, c := range []struct {
		name   string
		handle http.HandlerFunc
		want   int
	}{
		{"nothing written", func(http.ResponseWriter, *http.Request) {}, 200},
		{"a body without a status", ok, 200},
		{"an informational status first", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusUnauthorized)
		}, 401},
		{"a second status", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			w.WriteHeader(http.StatusOK)
		}, 403},
		{"a hijacked connection", func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(err)
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			_ = conn.Close()
		}, 101},
		{"a panic", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 500},
	} {
		t.Run(c.name, func(t *testing.T) {
			outcomes := make(chan halthttp.Outcome, 1)
			url, client := listen(t, settled(outcomes)(c.handle), false)
			res, err := client.Get(url)
			if err == nil {
				_ = res.Body.Close()
			} else if c.want != 500 { // a panic goes on, and net/http aborts the connection
				t.Fatal(err)
			}
			if o := <-outcomes; o.Status != c.want || o.Reserved != 1 {
				t.Errorf("settled as %+v, not as a %d", o, c.want)
			}
		})
	}
}

// The peer on a Unix socket has no address: there must be no budget that all such peers share.
func TestUnixSocketHasNoAddress(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(halthttp.Limit(newLimiter(), hourly("api", 9), halthttp.ByIP())(http.HandlerFunc(ok)))
	_ = s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	if res := fetch(t, &http.Client{Transport: transport}, "http://halt.test/"); res.StatusCode != 400 {
		t.Errorf("answered %s, not 400", res.Status)
	}
}

// Middleware panics with an error, so that a program may recover it.
func TestInvalidConfig(t *testing.T) {
	defer func() {
		if err, _ := recover().(error); !errors.Is(err, guard.ErrInvalidConfig) {
			t.Errorf("panicked with %v", err)
		}
	}()
	halthttp.Middleware(newLimiter(), halthttp.Config{})
	t.Error("no panic")
}

// An exemption is of what the mux routes by: an encoded slash is part of a segment.
func TestPathsAsTheMuxRoutes(t *testing.T) {
	limiter := halt.New(memory.New(nil), nil)
	perHour := halt.Policy{Name: "api", Limit: 1, Window: time.Hour}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /static/", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /{tenant}", func(http.ResponseWriter, *http.Request) {})
	h := halthttp.Middleware(limiter, halthttp.Config{
		Rules:  []halthttp.Rule{{Policy: perHour, Key: halthttp.ByIP()}},
		Exempt: halthttp.Paths("/static/*"),
	})(mux)
	for _, want := range []struct {
		target string
		status int
	}{{"/static/a", 200}, {"/static/b", 200}, {"/static%2Fx", 200}, {"/static%2Fx", 429}, {"/static/c", 200}} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", want.target, nil))
		if w.Code != want.status {
			t.Errorf("%s answered %d, want %d", want.target, w.Code, want.status)
		}
	}
}

func TestByHeaderHost(t *testing.T) {
	limiter := halt.New(memory.New(nil), nil)
	perHour := halt.Policy{Name: "api", Limit: 1, Window: time.Hour}
	h := halthttp.Limit(limiter, perHour, halthttp.ByHeader("host"))(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for i, want := range []int{200, 429, 200} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = []string{"a.example", "a.example", "b.example"}[i]
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != want {
			t.Errorf("%s answered %d, want %d", r.Host, w.Code, want)
		}
	}
}
