package haltecho_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	haltecho "github.com/halt-dev/halt/adapters/echo"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
	"github.com/halt-dev/halt/core/httpkit"
	"github.com/halt-dev/halt/core/memory"
	"github.com/halt-dev/halt/core/storetest"
)

// This file is about what is echo's own. What all adapters have to do is adaptertest's to check.

var now = time.Date(2026, time.May, 4, 12, 0, 0, 0, time.UTC)

func perHour(name string, limit int64) halt.Policy {
	return halt.Policy{Name: name, Algorithm: halt.FixedWindow, Limit: limit, Window: time.Hour}
}

// watch is an observer that remembers the keys and routes it saw.
type watch struct {
	mu           sync.Mutex
	keys, routes []string
}

func (*watch) Start(ctx context.Context, _ *halt.Event) context.Context { return ctx }

func (w *watch) End(_ context.Context, e *halt.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range e.Charges {
		if c.Mode == halt.Take {
			w.keys, w.routes = append(w.keys, c.Key), append(w.routes, e.Route)
		}
	}
}

func newLimiter(os ...halt.Observer) *halt.Limiter {
	return halt.New(storetest.NewModel(storetest.NewClock(now).Now), &halt.Options{Observers: os})
}

func ok(c echo.Context) error { return c.String(http.StatusOK, "ok") }

// do sends a request through e without a network. fields are "Name: value".
func do(e *echo.Echo, method, target string, fields ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w
}

func expect(t *testing.T, w *httptest.ResponseRecorder, status int) {
	t.Helper()
	if w.Code != status {
		t.Errorf("answered %d %q, not %d", w.Code, w.Body, status)
	}
}

// TestDefaultDenial: echo's own error handler has no part in the default answer, and loggers see it all the same.
func TestDefaultDenial(t *testing.T) {
	e := echo.New()
	var logged []int
	e.Use(middleware.RequestLoggerWithConfig(middleware.RequestLoggerConfig{
		LogStatus: true,
		LogValuesFunc: func(_ echo.Context, v middleware.RequestLoggerValues) error {
			logged = append(logged, v.Status)
			return v.Error
		},
	}))
	e.Use(haltecho.Limit(newLimiter(), perHour("api", 1), haltecho.ByIP()))
	e.GET("/", ok)
	expect(t, do(e, "GET", "/"), 200)
	w := do(e, "GET", "/")
	expect(t, w, 429)
	want := string(httpkit.Problem(haltecho.Denial{Reason: guard.QuotaExceeded, Violated: []string{"api"}}))
	if got := w.Body.String(); got != want || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("answered %q of type %q", got, w.Header().Get("Content-Type"))
	}
	if !slices.Equal(logged, []int{200, 429}) {
		t.Errorf("the logger saw %d", logged)
	}
}

// TestWhyWrittenAtOnce: an *echo.HTTPError that carries the problem would not become the same bytes.
func TestWhyWrittenAtOnce(t *testing.T) {
	e := echo.New()
	problem := httpkit.Problem(haltecho.Denial{Reason: guard.MissingKey})
	e.GET("/", func(c echo.Context) error {
		c.Response().Header().Set("Content-Type", httpkit.ProblemType)
		return echo.NewHTTPError(http.StatusBadRequest, rawJSON(problem))
	})
	w := do(e, "GET", "/")
	expect(t, w, 400)
	if got := w.Body.String(); got != string(problem)+"\n" {
		t.Errorf("echo renders an HTTPError as %q: look whether the default answer can be one", got)
	}
}

type rawJSON []byte

func (j rawJSON) MarshalJSON() ([]byte, error) { return j, nil }

// TestOnDeniedReturnsHTTPError: the error handler answers, middlewares before see the error, and the header fields stay.
func TestOnDeniedReturnsHTTPError(t *testing.T) {
	cause := errors.New("a cause for the logs")
	for _, tt := range []struct {
		name string
		err  func(haltecho.Denial) error
		body string
	}{
		{"of a text", func(d haltecho.Denial) error { return echo.NewHTTPError(d.Status(), "slow down") }, `{"message":"slow down"}` + "\n"},
		{"with a cause", func(d haltecho.Denial) error { return echo.NewHTTPError(d.Status()).WithInternal(cause) }, `{"message":"Too Many Requests"}` + "\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := echo.New()
			var seen error
			e.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
				return func(c echo.Context) error {
					seen = next(c)
					return seen
				}
			})
			e.Use(haltecho.Middleware(newLimiter(), haltecho.Config{
				Rules:    []haltecho.Rule{{Policy: perHour("api", 1), Key: haltecho.ByIP()}},
				OnDenied: func(_ echo.Context, d haltecho.Denial) error { return tt.err(d) },
			}))
			e.GET("/", ok)
			expect(t, do(e, "GET", "/"), 200)
			w := do(e, "GET", "/")
			expect(t, w, 429)
			if w.Body.String() != tt.body || w.Header().Get("Retry-After") != "3600" || w.Header().Get("RateLimit") != `"api";r=0;t=3600` {
				t.Errorf("answered %q with %v", w.Body, w.Header())
			}
			if he := (*echo.HTTPError)(nil); !errors.As(seen, &he) || he.Code != 429 {
				t.Errorf("a middleware before saw the error %v", seen)
			}
		})
	}
}

// TestSettlesReturnedErrors: echo renders what handlers return only after all middlewares, so its Response says 200 then.
func TestSettlesReturnedErrors(t *testing.T) {
	plain := errors.New("database is down")
	for _, tt := range []struct {
		name    string
		handler echo.HandlerFunc
		status  int
		err     error
	}{
		{"an answer", func(c echo.Context) error { return c.String(201, "made") }, 201, nil},
		{"nothing", func(echo.Context) error { return nil }, 200, nil},
		{"an HTTPError", func(echo.Context) error { return echo.ErrUnauthorized }, 401, echo.ErrUnauthorized},
		{"a wrapped HTTPError", func(echo.Context) error { return fmt.Errorf("login: %w", echo.ErrUnauthorized) }, 500, echo.ErrUnauthorized},
		{"an HTTPError around another", func(echo.Context) error { return echo.NewHTTPError(500).SetInternal(echo.ErrUnauthorized) }, 401, echo.ErrUnauthorized},
		{"any error", func(echo.Context) error { return plain }, 500, plain},
		{"an answer and an error", func(c echo.Context) error { _ = c.String(202, "accepted"); return plain }, 202, plain},
		{"an error that was rendered", func(c echo.Context) error { c.Error(echo.ErrForbidden); return nil }, 403, nil},
		{"a panic", func(echo.Context) error { panic("!") }, 500, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := echo.New()
			e.Logger.SetOutput(io.Discard)
			e.Use(recovers)
			var settled []haltecho.Outcome
			e.Use(haltecho.Middleware(newLimiter(), haltecho.Config{Rules: []haltecho.Rule{{
				Policy: perHour("api", 9), Key: haltecho.ByIP(),
				Settle: func(_ echo.Context, o haltecho.Outcome) int64 {
					settled = append(settled, o)
					return o.Reserved
				},
			}}}))
			e.GET("/", tt.handler)
			if got := do(e, "GET", "/").Code; got != tt.status {
				t.Errorf("the client gets %d", got)
			}
			if len(settled) != 1 || settled[0].Status != tt.status || !errors.Is(settled[0].Err, tt.err) || settled[0].Reserved != 1 {
				t.Errorf("settled as %+v", settled)
			}
		})
	}
}

// TestExemptIsASkipper: what is written for echo's own middlewares fits, and the other way round.
func TestExemptIsASkipper(t *testing.T) {
	var skipper middleware.Skipper = func(c echo.Context) bool { return c.QueryParam("who") == "monitor" }
	e := echo.New()
	e.Use(haltecho.Middleware(newLimiter(), haltecho.Config{
		Rules:  []haltecho.Rule{{Policy: perHour("api", 1), Key: haltecho.ByIP()}},
		Exempt: skipper,
	}))
	e.GET("/", ok)
	expect(t, do(e, "GET", "/"), 200)
	expect(t, do(e, "GET", "/"), 429)
	w := do(e, "GET", "/?who=monitor")
	expect(t, w, 200)
	if w.Header().Get("RateLimit") != "" {
		t.Errorf("an exempt request was told %v", w.Header())
	}
	skipper = haltecho.Paths("/healthz")
	if !skipper(e.NewContext(httptest.NewRequest("GET", "/healthz", nil), nil)) {
		t.Error("Paths as a Skipper doesn't skip")
	}
}

// TestPathsAreThoseOfTheRouter: an encoded path that the router takes for another route is not exempt.
func TestPathsAreThoseOfTheRouter(t *testing.T) {
	e := echo.New()
	e.Use(haltecho.Middleware(newLimiter(), haltecho.Config{
		Rules:  []haltecho.Rule{{Policy: perHour("api", 1), Key: haltecho.ByIP()}},
		Exempt: haltecho.Paths("/static/*", "/healthz"),
	}))
	e.GET("/static/*", ok)
	e.GET("/:tenant/:id", func(c echo.Context) error { return c.String(200, "tenant") })
	expect(t, do(e, "GET", "/static/logo.svg"), 200)
	if w := do(e, "GET", "/%73tatic/logo.svg"); w.Body.String() != "tenant" || w.Header().Get("RateLimit") == "" {
		t.Errorf("answered %q with %v: echo doesn't route this path to /static/*", w.Body, w.Header())
	}
	expect(t, do(e, "GET", "/%73tatic/logo.svg"), 429)
	expect(t, do(e, "GET", "/%68ealthz"), 429)
	expect(t, do(e, "GET", "/static/../tenant"), 429)
	expect(t, do(e, "GET", "/static/logo.svg"), 200)
}

func TestByRealIP(t *testing.T) {
	private := netip.MustParsePrefix("192.0.2.0/24") // of httptest's peer, 192.0.2.1
	_, network, err := net.ParseCIDR(private.String())
	if err != nil {
		t.Fatal(err)
	}
	const missing = "no key"
	for _, tt := range []struct {
		name      string
		extractor echo.IPExtractor
		fields    []string
		key       string
	}{
		{"no extractor: the peer, if no header says otherwise", nil, nil, "ip:192.0.2.1"},
		{"no extractor: whatever a client says", nil, []string{"X-Forwarded-For: 203.0.113.7, 10.0.0.1"}, "ip:203.0.113.7"},
		{"no extractor: or says here", nil, []string{"X-Real-IP: 2001:db8::1"}, "ip:2001:db8::/64"},
		{"no extractor: no address", nil, []string{"X-Real-IP: <script>"}, missing},
		{"direct", echo.ExtractIPDirect(), []string{"X-Forwarded-For: 203.0.113.7"}, "ip:192.0.2.1"},
		{"X-Forwarded-For of a peer that isn't trusted", echo.ExtractIPFromXFFHeader(), []string{"X-Forwarded-For: 203.0.113.7"}, "ip:192.0.2.1"},
		{"X-Forwarded-For of a trusted peer", echo.ExtractIPFromXFFHeader(echo.TrustIPRange(network)), []string{"X-Forwarded-For: 198.51.100.1, 203.0.113.7"}, "ip:203.0.113.7"},
		{"X-Real-IP of a trusted peer", echo.ExtractIPFromRealIPHeader(echo.TrustIPRange(network)), []string{"X-Real-IP: ::ffff:203.0.113.7"}, "ip:203.0.113.7"},
		{"an extractor that finds none", func(*http.Request) string { return "" }, nil, missing},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := echo.New()
			e.IPExtractor = tt.extractor
			w := &watch{}
			e.Use(haltecho.Limit(newLimiter(w), perHour("api", 9), haltecho.ByRealIP()))
			e.GET("/", ok)
			rec := do(e, "GET", "/", tt.fields...)
			if tt.key == missing {
				expect(t, rec, 400)
			} else if expect(t, rec, 200); !slices.Equal(w.keys, []string{tt.key}) {
				t.Errorf("keys %q, not %q", w.keys, tt.key)
			}
		})
	}
}

// TestUnixSocket: its peers have no address, and don't share a budget.
func TestUnixSocket(t *testing.T) {
	e := echo.New()
	l := newLimiter()
	e.GET("/ip", ok, haltecho.Limit(l, perHour("ip", 9), haltecho.ByIP(netip.MustParsePrefix("127.0.0.0/8"))))
	e.GET("/realip", ok, haltecho.Limit(l, perHour("realip", 9), haltecho.ByRealIP()))
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Skipf("no Unix socket can be had in this folder: %v", err)
	}
	s := httptest.NewUnstartedServer(e)
	s.Listener = listener
	s.Start()
	defer s.Close()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	defer transport.CloseIdleConnections()
	for _, path := range []string{"/ip", "/realip"} {
		res, err := (&http.Client{Transport: transport}).Get("http://unix" + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != 400 {
			t.Errorf("%s answered %d", path, res.StatusCode)
		}
	}
}

// TestRoutes: which pattern ByRoute and observers get, by where the middleware is mounted.
func TestRoutes(t *testing.T) {
	w := &watch{}
	mw := haltecho.Limit(newLimiter(w), perHour("api", 99), haltecho.ByRoute())
	e := echo.New()
	e.Use(mw)
	e.GET("/items/:id", ok)
	g := e.Group("/api")
	g.GET("/orders/:id", ok)
	guarded := e.Group("/guarded", func(next echo.HandlerFunc) echo.HandlerFunc { return next })
	guarded.GET("/x", ok)

	inner := echo.New()
	inner.GET("/items/:id", ok, mw)
	inner.Group("/api", mw).GET("/orders/:id", ok)

	pre := echo.New()
	pre.Pre(mw)
	pre.GET("/items/:id", ok)

	for _, tt := range []struct {
		name           string
		e              *echo.Echo
		method, target string
		route, key     string
	}{
		{"Use", e, "GET", "/items/7", "/items/:id", "route:GET /items/:id"},
		{"Use, of a group", e, "GET", "/api/orders/7", "/api/orders/:id", "route:GET /api/orders/:id"},
		{"Use, no route", e, "GET", "/nowhere", "", "route:GET *"},
		{"Use, no route in a group with middlewares", e, "GET", "/guarded/nowhere", "/guarded/*", "route:GET /guarded/*"},
		{"Use, no such method", e, "DELETE", "/items/7", "/items/:id", "route:DELETE /items/:id"},
		{"on a route", inner, "GET", "/items/7", "/items/:id", "route:GET /items/:id"},
		{"on a group", inner, "GET", "/api/orders/7", "/api/orders/:id", "route:GET /api/orders/:id"},
		{"Pre", pre, "GET", "/items/7", "", "route:GET *"},
	} {
		w.keys, w.routes = nil, nil
		do(tt.e, tt.method, tt.target)
		if !slices.Equal(w.routes, []string{tt.route}) || !slices.Equal(w.keys, []string{tt.key}) {
			t.Errorf("%s: routes %q and keys %q, not %q and %q", tt.name, w.routes, w.keys, tt.route, tt.key)
		}
	}
}

// TestDeadlineDuringDelay: the handler doesn't run, and the error is one that echo's ContextTimeout knows.
func TestDeadlineDuringDelay(t *testing.T) {
	queue := halt.Policy{Name: "queue", Algorithm: halt.LeakyBucket, Limit: 1, Window: time.Minute}
	for _, tt := range []struct {
		name   string
		within func(context.Context) (context.Context, context.CancelFunc)
		after  time.Duration
		status int
	}{
		{"in time", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Hour)
		}, time.Minute, 200},
		{"deadline", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Second)
		}, time.Second, 503},
		{"canceled", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(time.Second, cancel)
			return ctx, cancel
		}, time.Second, 499},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := echo.New()
				ran := 0
				var outcome haltecho.Outcome
				e.Use(haltecho.Middleware(halt.New(memory.New(nil), nil), haltecho.Config{Rules: []haltecho.Rule{
					{Policy: queue, Key: haltecho.Everyone()},
					{Policy: perHour("settled", 9), Key: haltecho.Everyone(), Settle: func(_ echo.Context, o haltecho.Outcome) int64 {
						outcome = o
						return 0
					}},
				}}))
				e.GET("/", func(c echo.Context) error { ran++; return ok(c) })
				expect(t, do(e, "GET", "/"), 200)
				ctx, cancel := tt.within(t.Context())
				defer cancel()
				w, sent := httptest.NewRecorder(), time.Now()
				e.ServeHTTP(w, httptest.NewRequest("GET", "/", nil).WithContext(ctx))
				expect(t, w, tt.status)
				if took := time.Since(sent); took != tt.after {
					t.Errorf("it took %v, not %v", took, tt.after)
				}
				if tt.status == 200 {
					return
				}
				if ran != 1 || outcome.Status != guard.StatusClientClosed || !errors.Is(outcome.Err, ctx.Err()) {
					t.Errorf("the handler ran %d times, and the request settled as %+v", ran, outcome)
				}
			})
		})
	}
}

// TestContextTimeout: echo's own timeout bounds the delay too.
func TestContextTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := echo.New()
		e.Use(middleware.ContextTimeout(time.Second))
		queue := halt.Policy{Name: "queue", Algorithm: halt.LeakyBucket, Limit: 1, Window: time.Minute}
		e.Use(haltecho.Limit(halt.New(memory.New(nil), nil), queue, haltecho.Everyone()))
		e.GET("/", ok)
		expect(t, do(e, "GET", "/"), 200)
		w := do(e, "GET", "/")
		expect(t, w, 503)
		if got := w.Body.String(); got != `{"message":"Service Unavailable"}`+"\n" {
			t.Errorf("answered %q", got)
		}
	})
}

// TestGroups: middlewares of the app, a group and a route are one chain, with one list of each field.
func TestGroups(t *testing.T) {
	e := echo.New()
	l := newLimiter()
	e.Use(haltecho.Limit(l, perHour("app", 9), haltecho.ByIP()))
	g := e.Group("/api", haltecho.Middleware(l, haltecho.Config{
		Rules:  []haltecho.Rule{{Policy: perHour("group", 3), Key: haltecho.ByIP()}},
		Attach: true,
	}))
	g.GET("/search", func(c echo.Context) error {
		d, _ := haltecho.Verdict(c).Of("group")
		return c.String(200, fmt.Sprint(d.Remaining, " of the group's"))
	}, haltecho.Limit(l, perHour("search", 1), haltecho.ByIP()))
	g.GET("/free", ok)

	w := do(e, "GET", "/api/search")
	expect(t, w, 200)
	if got, want := w.Header()["Ratelimit"], []string{`"app";r=8;t=3600, "group";r=2;t=3600, "search";r=0;t=3600`}; !slices.Equal(got, want) {
		t.Errorf("RateLimit is %q, not %q", got, want)
	}
	if w.Body.String() != "2 of the group's" {
		t.Errorf("the handler knew %q", w.Body)
	}
	expect(t, do(e, "GET", "/api/search"), 429)
	expect(t, do(e, "GET", "/api/free"), 200)
	expect(t, do(e, "GET", "/api/free"), 429)
}
