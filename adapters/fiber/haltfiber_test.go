package haltfiber_test

import (
	"bufio"
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

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/timeout"

	haltfiber "github.com/halt-dev/halt/adapters/fiber"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
	"github.com/halt-dev/halt/core/httpkit"
	"github.com/halt-dev/halt/core/memory"
	"github.com/halt-dev/halt/core/storetest"
)

// This file is about what is fiber's own. What all adapters have to do is adaptertest's to check.

var now = time.Date(2026, time.May, 4, 12, 0, 0, 0, time.UTC)

func perHour(name string, limit int64) halt.Policy {
	return halt.Policy{Name: name, Algorithm: halt.FixedWindow, Limit: limit, Window: time.Hour}
}

// spy is a store and an observer that keeps the strings which it gets, as any store and observer may, with copies made
// at once.
type spy struct {
	halt.Store
	mu           sync.Mutex
	keys, routes []kept
}

// kept is a string as it came, and a copy.
type kept struct{ it, copied string }

func keep(s string) kept { return kept{s, strings.Clone(s)} }

func newSpy() *spy { return &spy{Store: storetest.NewModel(storetest.NewClock(now).Now)} }

func (s *spy) Take(ctx context.Context, cs []halt.Charge, ds []halt.Decision) error {
	s.mu.Lock()
	for _, c := range cs {
		if c.Mode == halt.Take {
			s.keys = append(s.keys, keep(c.Key))
		}
	}
	s.mu.Unlock()
	return s.Store.Take(ctx, cs, ds)
}

func (*spy) Start(ctx context.Context, _ *halt.Event) context.Context { return ctx }

func (s *spy) End(_ context.Context, e *halt.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.routes = append(s.routes, keep(e.Route))
}

// took returns the keys and routes since it was asked last.
func (s *spy) took() (keys, routes []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.keys {
		keys = append(keys, k.it)
	}
	for _, r := range s.routes {
		routes = append(routes, r.it)
	}
	s.keys, s.routes = nil, nil
	return keys, routes
}

func (s *spy) limiter() *halt.Limiter {
	return halt.New(s, &halt.Options{Observers: []halt.Observer{s}})
}

func newLimiter() *halt.Limiter { return newSpy().limiter() }

func ok(c *fiber.Ctx) error { return c.SendString("ok") }

type answered struct {
	status int
	header http.Header
	body   string
}

// do sends a request through the app without a network. fields are "Name: value".
func do(t *testing.T, app *fiber.App, method, target string, fields ...string) answered {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		r.Header.Add(name, value)
	}
	res, err := app.Test(r, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answered{res.StatusCode, res.Header, string(body)}
}

func (a answered) expect(t *testing.T, status int) {
	t.Helper()
	if a.status != status {
		t.Errorf("answered %d %q, not %d", a.status, a.body, status)
	}
}

// TestNothingAliasesBuffers sends hundreds of requests, one after the other on one connection, whose parts fiber keeps in
// the same buffers, and then looks whether anything that was kept has changed. That the buffers are overwritten is shown
// by the strings that the test itself keeps.
func TestNothingAliasesBuffers(t *testing.T) {
	s := newSpy()
	sources := map[string]func(*fiber.Ctx) string{
		"header": func(c *fiber.Ctx) string { return c.Get("X-User") },
		"param":  func(c *fiber.Ctx) string { return c.Params("id") },
		"path":   func(c *fiber.Ctx) string { return c.Path() },
		"url":    func(c *fiber.Ctx) string { return c.OriginalURL() },
		"query":  func(c *fiber.Ctx) string { return c.Query("q") },
		"cookie": func(c *fiber.Ctx) string { return c.Cookies("session") },
		"body":   func(c *fiber.Ctx) string { return string(c.Body()) },
		"host":   func(c *fiber.Ctx) string { return c.Hostname() },
		"ip":     func(c *fiber.Ctx) string { return c.IP() },
		"method": func(c *fiber.Ctx) string { return c.Method() },
		"route":  func(c *fiber.Ctx) string { return c.Route().Path },
	}
	var raw []kept // what the test's own functions saw
	var rules []haltfiber.Rule
	add := func(name string, key haltfiber.Key) {
		rules = append(rules, haltfiber.Rule{Policy: perHour(name, 1_000_000), Key: key})
	}
	for name, f := range sources {
		add(name, haltfiber.By(name, func(c *fiber.Ctx) string {
			v := f(c)
			raw = append(raw, keep(v))
			return v
		}))
	}
	add("by-header", haltfiber.ByHeader("X-User"))
	add("by-apikey", haltfiber.ByAPIKey("X-User"))
	add("by-ip", haltfiber.ByIP(netip.MustParsePrefix("127.0.0.0/8")))
	add("by-clientip", haltfiber.ByClientIP())
	add("by-route", haltfiber.ByRoute())
	add("and", haltfiber.ByHeader("X-User").And(haltfiber.ByRoute()))
	add("or", haltfiber.ByHeader("X-Absent").Or(haltfiber.ByHeader("X-User")))

	var verdicts []guard.Verdict
	app := newApp(fiber.Config{ProxyHeader: "X-Forwarded-For"})
	app.Post("/items/:id", haltfiber.Middleware(s.limiter(), haltfiber.Config{Rules: rules, Attach: true}), func(c *fiber.Ctx) error {
		verdicts = append(verdicts, haltfiber.Verdict(c))
		return ok(c)
	})
	url := listen(t, app)

	const requests = 300
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}
	defer client.CloseIdleConnections()
	for i := range requests {
		body := strings.NewReader(fmt.Sprintf("body-of-%03d", i))
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, fmt.Sprintf("%s/items/item-%03d?q=query-%03d", url, i, i), body)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = fmt.Sprintf("host-%03d.test", i)
		r.Header.Set("X-User", fmt.Sprintf("user-%03d", i))
		r.Header.Set("X-Forwarded-For", fmt.Sprintf("203.0.113.%d", i%200))
		r.AddCookie(&http.Cookie{Name: "session", Value: fmt.Sprintf("session-%03d", i)})
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != 200 {
			t.Fatalf("request %d was answered %d", i, res.StatusCode)
		}
	}

	overwritten := 0
	for _, k := range raw {
		if k.it != k.copied {
			overwritten++
		}
	}
	if overwritten < requests {
		t.Errorf("only %d of %d strings of fiber's were overwritten: this test shows nothing", overwritten, len(raw))
	}
	if n := len(s.keys); n != requests*len(rules) {
		t.Errorf("the store got %d keys of %d requests with %d rules", n, requests, len(rules))
	}
	for _, k := range append(s.keys, s.routes...) {
		if k.it != k.copied {
			t.Fatalf("what was kept as %q now reads %q", k.copied, k.it)
		}
	}
	seen := 0
	for i, v := range verdicts {
		for _, c := range v.Charges {
			if c.Policy.Name == "by-header" && c.Key == fmt.Sprintf("header:X-User=user-%03d", i) {
				seen++
			}
		}
	}
	if seen != requests {
		t.Errorf("%d of %d verdicts that were kept still have their key", seen, requests)
	}
}

// TestSettlesReturnedErrors: fiber renders what handlers return only after all middlewares, so its response says 200 then.
func TestSettlesReturnedErrors(t *testing.T) {
	plain := errors.New("database is down")
	for _, tt := range []struct {
		name    string
		handler fiber.Handler
		status  int
		err     error
	}{
		{"an answer", func(c *fiber.Ctx) error { return c.Status(201).SendString("made") }, 201, nil},
		{"nothing", func(*fiber.Ctx) error { return nil }, 200, nil},
		{"an Error", func(*fiber.Ctx) error { return fiber.ErrUnauthorized }, 401, fiber.ErrUnauthorized},
		{"a wrapped Error", func(*fiber.Ctx) error { return fmt.Errorf("login: %w", fiber.ErrUnauthorized) }, 401, fiber.ErrUnauthorized},
		{"any error", func(*fiber.Ctx) error { return plain }, 500, plain},
		{"an error after a status", func(c *fiber.Ctx) error { c.Status(202); return plain }, 500, plain},
		{"an error that was rendered", func(c *fiber.Ctx) error { return c.App().ErrorHandler(c, fiber.ErrForbidden) }, 403, nil},
		{"a panic", func(*fiber.Ctx) error { panic("!") }, 500, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			app := fiber.New()
			app.Use(recovers)
			var settled []haltfiber.Outcome
			app.Use(haltfiber.Middleware(newLimiter(), haltfiber.Config{Rules: []haltfiber.Rule{{
				Policy: perHour("api", 9), Key: haltfiber.ByIP(),
				Settle: func(_ *fiber.Ctx, o haltfiber.Outcome) int64 {
					settled = append(settled, o)
					return o.Reserved
				},
			}}}))
			app.Get("/", tt.handler)
			do(t, app, "GET", "/").expect(t, tt.status)
			if len(settled) != 1 || settled[0].Status != tt.status || !errors.Is(settled[0].Err, tt.err) || settled[0].Reserved != 1 {
				t.Errorf("settled as %+v", settled)
			}
		})
	}
}

// TestNoRouteSettles: what matches no route is an error of fiber's too.
func TestNoRouteSettles(t *testing.T) {
	app := fiber.New()
	var settled []int
	app.Use(haltfiber.Middleware(newLimiter(), haltfiber.Config{Rules: []haltfiber.Rule{{
		Policy: perHour("api", 9), Key: haltfiber.ByIP(),
		Settle: func(_ *fiber.Ctx, o haltfiber.Outcome) int64 { settled = append(settled, o.Status); return 0 },
	}}}))
	app.Get("/", ok)
	do(t, app, "GET", "/nowhere").expect(t, 404)
	do(t, app, "DELETE", "/").expect(t, 405)
	if !slices.Equal(settled, []int{404, 405}) {
		t.Errorf("settled as %d", settled)
	}
}

// TestOnDeniedReturnsError: the error handler answers, that of a mounted app too, and the header fields stay.
func TestOnDeniedReturnsError(t *testing.T) {
	mw := func(l *halt.Limiter, name string) fiber.Handler {
		return haltfiber.Middleware(l, haltfiber.Config{
			Rules: []haltfiber.Rule{{Policy: perHour(name, 1), Key: haltfiber.ByIP()}},
			OnDenied: func(_ *fiber.Ctx, d haltfiber.Denial) error {
				return fmt.Errorf("wrapped: %w", fiber.NewError(d.Status(), "slow down"))
			},
		})
	}
	l := newLimiter()
	app := fiber.New()
	mounted := fiber.New(fiber.Config{ErrorHandler: func(c *fiber.Ctx, _ error) error {
		return c.Status(fiber.StatusTeapot).SendString("of the mounted app")
	}})
	mounted.Get("/", mw(l, "mounted"), ok)
	app.Get("/", mw(l, "app"), ok)
	app.Mount("/mounted", mounted)

	do(t, app, "GET", "/").expect(t, 200)
	a := do(t, app, "GET", "/")
	a.expect(t, 429)
	if a.body != "wrapped: slow down" || a.header.Get("Retry-After") != "3600" || a.header.Get("RateLimit") != `"app";r=0;t=3600` {
		t.Errorf("answered %q with %v", a.body, a.header)
	}
	do(t, app, "GET", "/mounted").expect(t, 200)
	a = do(t, app, "GET", "/mounted")
	a.expect(t, 418)
	if a.body != "of the mounted app" || a.header.Get("Retry-After") != "3600" {
		t.Errorf("answered %q with %v", a.body, a.header)
	}
}

// TestDefaultDenial: fiber's error handler, which makes text of everything, has no part in the default answer.
func TestDefaultDenial(t *testing.T) {
	app := fiber.New(fiber.Config{ErrorHandler: func(*fiber.Ctx, error) error { panic("not asked") }})
	app.Use(haltfiber.Limit(newLimiter(), perHour("api", 1), haltfiber.ByIP()))
	app.Get("/", ok)
	do(t, app, "GET", "/").expect(t, 200)
	a := do(t, app, "GET", "/")
	a.expect(t, 429)
	want := string(httpkit.Problem(haltfiber.Denial{Reason: guard.QuotaExceeded, Violated: []string{"api"}}))
	if a.body != want || a.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("answered %q of type %q", a.body, a.header.Get("Content-Type"))
	}
}

func TestByClientIP(t *testing.T) {
	const missing = "no key"
	peer := "0.0.0.0" // app.Test's
	trusted := fiber.Config{ProxyHeader: "X-Forwarded-For", EnableTrustedProxyCheck: true, TrustedProxies: []string{peer}}
	untrusted := fiber.Config{ProxyHeader: "X-Forwarded-For", EnableTrustedProxyCheck: true, TrustedProxies: []string{"10.0.0.0/8"}}
	validating := fiber.Config{ProxyHeader: "X-Forwarded-For", EnableIPValidation: true}
	for _, tt := range []struct {
		name   string
		config fiber.Config
		fields []string
		key    string
	}{
		{"the peer", fiber.Config{}, []string{"X-Forwarded-For: 203.0.113.7"}, "ip:" + peer},
		{"a header of any peer", fiber.Config{ProxyHeader: "X-Real-Ip"}, []string{"X-Real-Ip: 203.0.113.7"}, "ip:203.0.113.7"},
		{"IPv6 by its /64", fiber.Config{ProxyHeader: "X-Real-Ip"}, []string{"X-Real-Ip: 2001:db8:1:2:3:4:5:6"}, "ip:2001:db8:1:2::/64"},
		{"the header is absent", fiber.Config{ProxyHeader: "X-Real-Ip"}, nil, missing},
		{"no address in the header", fiber.Config{ProxyHeader: "X-Real-Ip"}, []string{"X-Real-Ip: <script>"}, missing},
		{"several addresses", fiber.Config{ProxyHeader: "X-Forwarded-For"}, []string{"X-Forwarded-For: 198.51.100.1, 203.0.113.7"}, missing},
		{"the left-most valid address", validating, []string{"X-Forwarded-For: unknown, 198.51.100.1, 203.0.113.7"}, "ip:198.51.100.1"},
		{"a header of a trusted peer", trusted, []string{"X-Forwarded-For: 203.0.113.7"}, "ip:203.0.113.7"},
		{"a header of a peer that isn't", untrusted, []string{"X-Forwarded-For: 203.0.113.7"}, "ip:" + peer},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSpy()
			app := fiber.New(tt.config)
			app.Use(haltfiber.Limit(s.limiter(), perHour("api", 9), haltfiber.ByClientIP()))
			app.Get("/", ok)
			a := do(t, app, "GET", "/", tt.fields...)
			if tt.key == missing {
				a.expect(t, 400)
				return
			}
			a.expect(t, 200)
			if keys, _ := s.took(); !slices.Equal(keys, []string{tt.key}) {
				t.Errorf("keys %q, not %q", keys, tt.key)
			}
		})
	}
}

// TestUnixSocket: its peers have no address. fiber says 0.0.0.0 of all of them, which would be one budget.
func TestUnixSocket(t *testing.T) {
	l := newLimiter()
	app := newApp(fiber.Config{})
	app.Get("/ip", haltfiber.Limit(l, perHour("ip", 9), haltfiber.ByIP()), ok)
	app.Get("/proxied", haltfiber.Limit(l, perHour("proxied", 9), haltfiber.ByIP(netip.MustParsePrefix("0.0.0.0/1"))), ok)
	app.Get("/clientip", haltfiber.Limit(l, perHour("clientip", 9), haltfiber.ByClientIP()), ok)
	var address string
	app.Get("/address", func(c *fiber.Ctx) error { address = strings.Clone(c.IP()); return ok(c) })
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Skipf("no Unix socket can be had in this folder: %v", err)
	}
	serveOn(t, app, listener)
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	defer client.CloseIdleConnections()
	for path, want := range map[string]int{"/ip": 400, "/proxied": 400, "/clientip": 400, "/address": 200} {
		res, err := client.Get("http://unix" + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s answered %d", path, res.StatusCode)
		}
	}
	if address != "0.0.0.0" {
		t.Errorf("fiber's address of a Unix socket's peer is %q by now", address)
	}
}

// TestIPv6Peer: a peer counts by its /64 over a real connection too.
func TestIPv6Peer(t *testing.T) {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skipf("this machine has no IPv6: %v", err)
	}
	s := newSpy()
	app := newApp(fiber.Config{Network: fiber.NetworkTCP6})
	app.Use(haltfiber.Limit(s.limiter(), perHour("api", 9), haltfiber.ByIP()))
	app.Use(haltfiber.Limit(s.limiter(), perHour("proxied", 9), haltfiber.ByIP(netip.MustParsePrefix("10.0.0.0/8"))))
	app.Use(haltfiber.Limit(s.limiter(), perHour("clientip", 9), haltfiber.ByClientIP()))
	app.Get("/", ok)
	serveOn(t, app, l)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	res, err := client.Get("http://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if keys, _ := s.took(); !slices.Equal(keys, slices.Repeat([]string{"ip:::/64"}, 3)) {
		t.Errorf("keys %q", keys)
	}
}

// TestFieldsAsTheyAreSpelled: with DisableHeaderNormalizing all spellings of a name are one field, or a client could hide
// what a proxy has written behind a line of its own.
func TestFieldsAsTheyAreSpelled(t *testing.T) {
	for _, disabled := range []bool{false, true} {
		s := newSpy()
		app := newApp(fiber.Config{DisableHeaderNormalizing: disabled})
		app.Use(haltfiber.Limit(s.limiter(), perHour("api", 9), haltfiber.ByIP(netip.MustParsePrefix("127.0.0.0/8"))))
		app.Get("/", ok)
		conn, err := net.Dial("tcp", strings.TrimPrefix(listen(t, app), "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 198.51.100.1\r\nx-forwarded-FOR: 203.0.113.7\r\nConnection: close\r\n\r\n")
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		_ = conn.Close()
		if got := res.Header["Ratelimit"]; !slices.Equal(got, []string{`"api";r=8;t=3600`}) {
			t.Errorf("disabled %t: RateLimit is %q", disabled, got)
		}
		if keys, _ := s.took(); !slices.Equal(keys, []string{"ip:203.0.113.7"}) {
			t.Errorf("disabled %t: keys %q", disabled, keys)
		}
	}
}

// TestRoutes: which pattern ByRoute and observers get, by where the middleware is mounted.
func TestRoutes(t *testing.T) {
	s := newSpy()
	mw := haltfiber.Limit(s.limiter(), perHour("api", 99), haltfiber.ByRoute())
	app := fiber.New()
	app.Get("/items/:id", mw, ok)
	app.Post("/items/:id", mw, ok)
	app.Get("/files/*", mw, ok)
	group := app.Group("/group", mw)
	group.Get("/x/:id", ok)
	inGroup := app.Group("/in")
	inGroup.Get("/x/:id", mw, ok)
	sub := fiber.New()
	sub.Use("/all", mw)
	sub.Get("/all/:id", ok)
	sub.Get("/one/:id", mw, ok)
	app.Mount("/mounted", sub)

	around := fiber.New()
	around.Use(mw)
	around.Get("/items/:id", ok)

	for _, tt := range []struct {
		name           string
		app            *fiber.App
		method, target string
		route, key     string
	}{
		{"on a route", app, "GET", "/items/7", "/items/:id", "route:GET /items/:id"},
		{"on a route, another method", app, "POST", "/items/7", "/items/:id", "route:POST /items/:id"},
		{"on a route with a wildcard", app, "GET", "/files/a/b", "/files/*", "route:GET /files/*"},
		{"on a route of a group", app, "GET", "/in/x/7", "/in/x/:id", "route:GET /in/x/:id"},
		{"on a group: its prefix", app, "GET", "/group/x/7", "/group", "route:GET /group"},
		{"on a group, no route", app, "GET", "/group/nowhere", "/group", "route:GET /group"},
		{"on a route of a mounted app", app, "GET", "/mounted/one/7", "/mounted/one/:id", "route:GET /mounted/one/:id"},
		{"Use of a mounted app: its prefix", app, "GET", "/mounted/all/7", "/mounted/all", "route:GET /mounted/all"},
		{"Use: the prefix of everything", around, "GET", "/items/7", "/", "route:GET /"},
		{"Use, no route", around, "GET", "/nowhere", "/", "route:GET /"},
	} {
		s.took()
		do(t, tt.app, tt.method, tt.target)
		if keys, routes := s.took(); !slices.Equal(routes, []string{tt.route}) || !slices.Equal(keys, []string{tt.key}) {
			t.Errorf("%s: routes %q and keys %q, not %q and %q", tt.name, routes, keys, tt.route, tt.key)
		}
	}
}

// TestPathsAreThoseOfTheRouter: a path that the router takes for another route is not exempt.
func TestPathsAreThoseOfTheRouter(t *testing.T) {
	for _, unescape := range []bool{false, true} {
		app := fiber.New(fiber.Config{UnescapePath: unescape})
		app.Use(haltfiber.Middleware(newLimiter(), haltfiber.Config{
			Rules:  []haltfiber.Rule{{Policy: perHour("api", 1), Key: haltfiber.ByIP()}},
			Exempt: haltfiber.Paths("/static/*", "/healthz"),
		}))
		app.Get("/static/*", ok)
		app.Get("/:tenant/:id", func(c *fiber.Ctx) error { return c.SendString("tenant") })
		do(t, app, "GET", "/static/logo.svg").expect(t, 200)
		first := do(t, app, "GET", "/%73tatic/logo.svg")
		second := do(t, app, "GET", "/%73tatic/logo.svg")
		first.expect(t, 200)
		if unescape {
			second.expect(t, 200)
			if second.body != "ok" || second.header.Get("RateLimit") != "" {
				t.Errorf("answered %q with %v: fiber does route this path to /static/*", second.body, second.header)
			}
			continue
		}
		second.expect(t, 429)
		if first.body != "tenant" {
			t.Errorf("answered %q: fiber doesn't route this path to /static/*", first.body)
		}
		do(t, app, "GET", "/HEALTHZ").expect(t, 429)
		do(t, app, "GET", "/static/../tenant").expect(t, 429)
	}
}

// TestUserContextDuringDelay: it is what ends a delay, and no text of it reaches the client.
func TestUserContextDuringDelay(t *testing.T) {
	do(t, fiber.New(), "GET", "/") // starts what fasthttp keeps running, outside of the bubbles
	queue := halt.Policy{Name: "queue", Algorithm: halt.LeakyBucket, Limit: 1, Window: time.Hour}
	within := func(derive func(context.Context) (context.Context, context.CancelFunc)) fiber.Handler {
		return func(c *fiber.Ctx) error {
			ctx, cancel := derive(c.UserContext())
			defer cancel()
			c.SetUserContext(ctx)
			return c.Next()
		}
	}
	timesOut := func(after time.Duration) fiber.Handler {
		return within(func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, after)
		})
	}
	cancels := func(after time.Duration) fiber.Handler {
		return within(func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(after, cancel)
			return ctx, cancel
		})
	}
	for _, tt := range []struct {
		name     string
		handlers func(limit fiber.Handler) []fiber.Handler
		took     time.Duration
		cause    error
		status   int
		body     string
	}{
		{"in time", func(limit fiber.Handler) []fiber.Handler {
			return []fiber.Handler{timesOut(2 * time.Hour), limit}
		}, time.Hour, nil, 200, "ok"},
		{"deadline", func(limit fiber.Handler) []fiber.Handler {
			return []fiber.Handler{timesOut(time.Minute), limit}
		}, time.Minute, context.DeadlineExceeded, 503, "Service Unavailable"},
		{"canceled", func(limit fiber.Handler) []fiber.Handler {
			return []fiber.Handler{cancels(time.Minute), limit}
		}, time.Minute, context.Canceled, 503, "Service Unavailable"},
		{"fiber's timeout", func(limit fiber.Handler) []fiber.Handler {
			return []fiber.Handler{timeout.NewWithContext(limit, time.Minute)}
		}, time.Minute, context.DeadlineExceeded, 408, "Request Timeout"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var outcome haltfiber.Outcome
				limit := haltfiber.Middleware(halt.New(memory.New(nil), nil), haltfiber.Config{Rules: []haltfiber.Rule{
					{Policy: queue, Key: haltfiber.Everyone()},
					{Policy: perHour("settled", 9), Key: haltfiber.Everyone(), Settle: func(_ *fiber.Ctx, o haltfiber.Outcome) int64 {
						outcome = o
						return 0
					}},
				}})
				ran := 0
				handler := func(c *fiber.Ctx) error { ran++; return ok(c) }
				app := fiber.New()
				app.Get("/", limit, handler)
				app.Get("/within", append(tt.handlers(limit), handler)...)
				do(t, app, "GET", "/").expect(t, 200)
				sent := time.Now()
				a := do(t, app, "GET", "/within")
				a.expect(t, tt.status)
				if took := time.Since(sent); took != tt.took || a.body != tt.body {
					t.Errorf("answered %q after %v, not %q after %v", a.body, took, tt.body, tt.took)
				}
				if tt.cause == nil {
					return
				}
				if ran != 1 || outcome.Status != guard.StatusClientClosed || !errors.Is(outcome.Err, tt.cause) {
					t.Errorf("the handler ran %d times, and the request settled as %+v", ran, outcome)
				}
			})
		})
	}
}

// TestAttachKeepsUserContext: the verdict comes on top of what the UserContext had.
func TestAttachKeepsUserContext(t *testing.T) {
	type key struct{}
	app := fiber.New()
	app.Use(func(c *fiber.Ctx) error {
		c.SetUserContext(context.WithValue(c.UserContext(), key{}, "kept"))
		return c.Next()
	})
	app.Use(haltfiber.Middleware(newLimiter(), haltfiber.Config{
		Rules:  []haltfiber.Rule{{Policy: perHour("api", 9), Key: haltfiber.ByIP()}},
		Attach: true,
	}))
	app.Get("/", func(c *fiber.Ctx) error {
		d, found := haltfiber.Verdict(c).Of("api")
		return c.SendString(fmt.Sprintf("%v %d %t", c.UserContext().Value(key{}), d.Remaining, found))
	})
	if a := do(t, app, "GET", "/"); a.body != "kept 8 true" {
		t.Errorf("the handler saw %q", a.body)
	}
}

// TestUpgrade: a connection that a handler takes over is as the protocol of its own has it. It outlives the
// handlers, so that its place in flight is free while it lasts.
func TestUpgrade(t *testing.T) {
	s := newSpy()
	settled := make(chan int, 1)
	inside := halt.Policy{Name: "inside", Algorithm: halt.InFlight, Limit: 1, Window: time.Minute}
	app := newApp(fiber.Config{})
	app.Get("/ws", haltfiber.Middleware(s.limiter(), haltfiber.Config{Rules: []haltfiber.Rule{
		{Policy: inside, Key: haltfiber.Everyone()},
		{Policy: perHour("handshakes", 2), Key: haltfiber.ByIP(), Settle: func(_ *fiber.Ctx, o haltfiber.Outcome) int64 {
			settled <- o.Status
			return o.Reserved
		}},
	}}), func(c *fiber.Ctx) error {
		// As the websocket middlewares of fiber do.
		c.Status(fiber.StatusSwitchingProtocols)
		c.Set(fiber.HeaderConnection, "Upgrade")
		c.Set(fiber.HeaderUpgrade, "echo")
		c.Context().Hijack(func(conn net.Conn) { _, _ = io.Copy(conn, conn) })
		return nil
	})
	addr := strings.TrimPrefix(listen(t, app), "http://")
	for n := range 3 {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		r := bufio.NewReader(conn)
		if _, err := io.WriteString(conn, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if n == 2 {
			if res.StatusCode != 429 {
				t.Errorf("the third handshake was answered %d", res.StatusCode)
			}
			break
		}
		if res.StatusCode != 101 || res.Header.Get("RateLimit") == "" {
			t.Errorf("a handshake was answered %d with %v", res.StatusCode, res.Header)
		}
		if status := <-settled; status != 101 {
			t.Errorf("a handshake settled as %d", status)
		}
		const ping = "anything but HTTP\x00"
		pong := make([]byte, len(ping))
		if _, err := io.WriteString(conn, ping); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(r, pong); err != nil || string(pong) != ping {
			t.Errorf("%q came back as %q, %v", ping, pong, err)
		}
	}
}

// TestStreamOutlivesTheHandlers is what the package's comment says of streams and limits in flight.
func TestStreamOutlivesTheHandlers(t *testing.T) {
	s := newSpy()
	l := s.limiter()
	inside := halt.Policy{Name: "inside", Algorithm: halt.InFlight, Limit: 1, Window: time.Minute}
	free := make(chan int64, 1)
	returned := make(chan struct{})
	app := newApp(fiber.Config{})
	app.Use(func(c *fiber.Ctx) error {
		defer close(returned)
		return c.Next()
	})
	app.Get("/events", haltfiber.Limit(l, inside, haltfiber.Everyone()), func(c *fiber.Ctx) error {
		c.Set(fiber.HeaderContentType, "text/event-stream")
		c.Context().SetBodyStreamWriter(func(w *bufio.Writer) {
			<-returned
			d, err := l.Peek(context.Background(), inside, "everyone")
			if err != nil {
				t.Error(err)
			}
			free <- d.Remaining
			_, _ = w.WriteString("data: first\n\n")
		})
		return nil
	})
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	res, err := client.Get(listen(t, app) + "/events")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil || string(body) != "data: first\n\n" || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("streamed %q, %v, with %v", body, err, res.Header)
	}
	if n := <-free; n != 1 {
		t.Errorf("%d places are free while the body streams: the comment can be bettered", n)
	}
}

// TestGroups: middlewares of the app, a group and a route are one chain, with one list of each field.
func TestGroups(t *testing.T) {
	app := fiber.New()
	l := newLimiter()
	app.Use(haltfiber.Limit(l, perHour("app", 9), haltfiber.ByIP()))
	g := app.Group("/api", haltfiber.Middleware(l, haltfiber.Config{
		Rules:  []haltfiber.Rule{{Policy: perHour("group", 3), Key: haltfiber.ByIP()}},
		Attach: true,
	}))
	g.Get("/search", haltfiber.Limit(l, perHour("search", 1), haltfiber.ByIP()), func(c *fiber.Ctx) error {
		d, _ := haltfiber.Verdict(c).Of("group")
		return c.SendString(fmt.Sprint(d.Remaining, " of the group's"))
	})
	g.Get("/free", ok)

	a := do(t, app, "GET", "/api/search")
	a.expect(t, 200)
	if got, want := a.header["Ratelimit"], []string{`"app";r=8;t=3600, "group";r=2;t=3600, "search";r=0;t=3600`}; !slices.Equal(got, want) {
		t.Errorf("RateLimit is %q, not %q", got, want)
	}
	if a.body != "2 of the group's" {
		t.Errorf("the handler knew %q", a.body)
	}
	do(t, app, "GET", "/api/search").expect(t, 429)
	do(t, app, "GET", "/api/free").expect(t, 200)
	do(t, app, "GET", "/api/free").expect(t, 429)
}
