package haltchi_test

import (
	"context"
	"fmt"
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

	"github.com/go-chi/chi/v5"
	chimiddleware "github.com/go-chi/chi/v5/middleware"

	haltchi "github.com/halt-dev/halt/adapters/chi"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
	"github.com/halt-dev/halt/core/storetest"
)

// This file is about what is chi's own. What all adapters have to do is adaptertest's to check.

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

func ok(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) }

// do sends a request through h without a network. fields are "Name: value".
func do(h http.Handler, method, target string, fields ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func expect(t *testing.T, w *httptest.ResponseRecorder, status int) {
	t.Helper()
	if w.Code != status {
		t.Errorf("answered %d %q, not %d", w.Code, w.Body, status)
	}
}

// site has routes of every shape that chi knows, with mw wherever a middleware can be.
type site struct {
	r       *chi.Mux
	watch   *watch
	pattern string // RoutePattern, as the handler that ran last saw it
}

func newSite(before ...func(http.Handler) http.Handler) *site {
	s := &site{r: chi.NewRouter(), watch: &watch{}}
	// The policies' names tell the routers: top, sub, of a route, and so on.
	l := newLimiter(s.watch)
	mw := func(name string) func(http.Handler) http.Handler {
		return haltchi.Limit(l, perHour(name, 1_000_000), haltchi.ByRoute())
	}
	h := func(_ http.ResponseWriter, r *http.Request) { s.pattern = chi.RouteContext(r.Context()).RoutePattern() }

	s.r.Use(before...)
	s.r.Use(mw("top"))
	s.r.Get("/", h)
	s.r.Get("/items/{id}", h)
	s.r.Post("/items/{id:[0-9]+}", h)
	s.r.With(mw("with")).Get("/with/{id}", h)
	s.r.With(mw("with")).Get("/files/*", h)
	s.r.HandleFunc("/any", h)
	s.r.Get("/slash/", h)
	s.r.Group(func(r chi.Router) {
		r.Use(mw("group"))
		r.Get("/grouped/{id}/of/{other}", h)
		r.Route("/below/{tenant}", func(r chi.Router) {
			r.Use(mw("below"))
			r.Get("/", h)
			r.Get("/orders/{id}", h)
			r.With(mw("deep")).Get("/files/*", h)
			r.Route("/more", func(r chi.Router) {
				r.Use(mw("more"))
				r.With(mw("deepest")).Get("/{id}", h)
			})
		})
	})
	mounted := chi.NewRouter()
	mounted.Use(mw("mounted"))
	mounted.Get("/", h)
	mounted.Get("/x/{id}", h)
	s.r.Mount("/mounted", mounted)
	s.r.Mount("/plain", http.HandlerFunc(h))
	return s
}

// TestRoutes: at any place of a chain the route is what chi's RoutePattern says in the handler.
func TestRoutes(t *testing.T) {
	s := newSite()
	for _, tt := range []struct {
		method, target, want string
		middlewares          int
	}{
		{"GET", "/", "/", 1},
		{"GET", "/items/7", "/items/{id}", 1},
		{"GET", "/items/a%2Fb", "/items/{id}", 1},
		{"POST", "/items/7", "/items/{id:[0-9]+}", 1},
		{"GET", "/with/7", "/with/{id}", 2},
		{"GET", "/files/a/b/c", "/files/*", 2},
		{"DELETE", "/any", "/any", 1},
		{"GET", "/slash/", "/slash", 1},
		{"GET", "/grouped/1/of/2", "/grouped/{id}/of/{other}", 2},
		{"GET", "/below/acme", "/below/{tenant}", 3},
		{"GET", "/below/acme/", "/below/{tenant}", 3},
		{"GET", "/below/acme/orders/7", "/below/{tenant}/orders/{id}", 3},
		{"GET", "/below/acme/files/a/b", "/below/{tenant}/files/*", 4},
		{"GET", "/below/acme/more/7", "/below/{tenant}/more/{id}", 5},
		{"GET", "/mounted", "/mounted", 2},
		{"GET", "/mounted/x/7", "/mounted/x/{id}", 2},
		{"GET", "/plain/some/thing", "/plain/*", 1},
	} {
		s.watch.keys, s.watch.routes, s.pattern = nil, nil, "no handler ran"
		do(s.r, tt.method, tt.target)
		if s.pattern != tt.want {
			t.Errorf("%s %s: chi says %q, not %q", tt.method, tt.target, s.pattern, tt.want)
		}
		if want := slices.Repeat([]string{tt.want}, tt.middlewares); !slices.Equal(s.watch.routes, want) {
			t.Errorf("%s %s: routes %q, not %q", tt.method, tt.target, s.watch.routes, want)
		}
		if want := slices.Repeat([]string{"route:" + tt.method + " " + tt.want}, tt.middlewares); !slices.Equal(s.watch.keys, want) {
			t.Errorf("%s %s: keys %q, not %q", tt.method, tt.target, s.watch.keys, want)
		}
	}
}

// TestNoRoute: what matches none shares one key per method, or per router that is mounted.
func TestNoRoute(t *testing.T) {
	s := newSite()
	for _, tt := range []struct {
		method, target string
		keys           []string
	}{
		{"GET", "/nowhere", []string{"route:GET *"}},
		{"GET", "/nowhere/else", []string{"route:GET *"}},
		{"DELETE", "/items/7", []string{"route:DELETE *"}}, // 405
		{"BREW", "/items/7", []string{"route:* *"}},        // a method that chi doesn't know
		{"GET", "/mounted/nowhere", []string{"route:GET *", "route:GET /mounted/*"}},
	} {
		s.watch.keys = nil
		do(s.r, tt.method, tt.target)
		if !slices.Equal(s.watch.keys, tt.keys) {
			t.Errorf("%s %s: keys %q, not %q", tt.method, tt.target, s.watch.keys, tt.keys)
		}
	}
}

// TestRoutesBehindChisMiddlewares: those that choose another path or method to route by are followed.
func TestRoutesBehindChisMiddlewares(t *testing.T) {
	s := newSite(chimiddleware.CleanPath, chimiddleware.StripSlashes, chimiddleware.GetHead)
	for _, tt := range []struct{ method, target, want string }{
		{"GET", "//items//7", "/items/{id}"},
		{"GET", "/items/7/", "/items/{id}"},
		{"HEAD", "/items/7", "/items/{id}"},
		{"GET", "/with/7/", "/with/{id}"},
	} {
		s.watch.routes, s.pattern = nil, "no handler ran"
		do(s.r, tt.method, tt.target)
		if s.pattern != tt.want || s.watch.routes[0] != tt.want {
			t.Errorf("%s %s: chi says %q, routes %q, not %q", tt.method, tt.target, s.pattern, s.watch.routes, tt.want)
		}
	}
	// In a router that is mounted the path as chosen is not to be had any more: what is known is its prefix.
	s.watch.routes = nil
	do(s.r, "GET", "//below//acme//orders//7")
	if want := []string{"/below/{tenant}/orders/{id}", "/below/{tenant}/*", "/below/{tenant}/*"}; !slices.Equal(s.watch.routes, want) {
		t.Errorf("routes %q, not %q", s.watch.routes, want)
	}
}

// TestRouteWithoutChi: around a chi router there is net/http's pattern, if any.
func TestRouteWithoutChi(t *testing.T) {
	w := &watch{}
	mw := haltchi.Limit(newLimiter(w), perHour("api", 9), haltchi.ByRoute())
	r := chi.NewRouter()
	r.Get("/items/{id}", ok)
	mux := http.NewServeMux()
	mux.Handle("/items/", mw(r))
	do(mux, "GET", "/items/7")
	do(mw(r), "GET", "/items/7")
	if want := []string{"/items/", ""}; !slices.Equal(w.routes, want) {
		t.Errorf("routes %q, not %q", w.routes, want)
	}
}

// TestRouteKeepsRouting: looking a route up leaves no trace in chi's context, nor its pool.
func TestRouteKeepsRouting(t *testing.T) {
	r := chi.NewRouter()
	r.Use(haltchi.Limit(newLimiter(), perHour("api", 1_000_000), haltchi.ByRoute()))
	r.Route("/{a}", func(r chi.Router) {
		r.Get("/{b}", func(w http.ResponseWriter, r *http.Request) {
			_, _ = fmt.Fprint(w, chi.RouteContext(r.Context()).URLParams)
		})
	})
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			for range 20 {
				if got, want := do(r, "GET", fmt.Sprintf("/a%d/b%d", i, i)).Body.String(), fmt.Sprintf("{[a * b] [a%d  b%d]}", i, i); got != want {
					t.Errorf("the parameters are %s, not %s", got, want)
				}
			}
		})
	}
	all.Wait()
}

func TestByClientIP(t *testing.T) {
	const missing = "no key"
	peer := "192.0.2.1" // httptest's
	for _, tt := range []struct {
		name   string
		finder func(http.Handler) http.Handler
		fields []string
		key    string
	}{
		{"no middleware of chi's", nil, []string{"X-Forwarded-For: 203.0.113.7"}, missing},
		{"the peer", chimiddleware.ClientIPFromRemoteAddr, []string{"X-Forwarded-For: 203.0.113.7"}, "ip:" + peer},
		{"X-Forwarded-For of a peer that isn't trusted", chimiddleware.ClientIPFromXFF("10.0.0.0/8"), []string{"X-Forwarded-For: 203.0.113.7"}, "ip:" + peer},
		{"X-Forwarded-For of a trusted peer", chimiddleware.ClientIPFromXFF(peer + "/32"), []string{"X-Forwarded-For: 198.51.100.1, 203.0.113.7"}, "ip:203.0.113.7"},
		{"no X-Forwarded-For of a trusted peer", chimiddleware.ClientIPFromXFF(peer + "/32"), nil, missing},
		{"a garbage hop", chimiddleware.ClientIPFromXFF(peer + "/32"), []string{"X-Forwarded-For: 198.51.100.1, unknown"}, missing},
		{"all hops trusted", chimiddleware.ClientIPFromXFF(peer + "/32"), []string{"X-Forwarded-For: " + peer}, missing},
		{"by count", chimiddleware.ClientIPFromXFFTrustedProxies(2), []string{"X-Forwarded-For: 198.51.100.1, 203.0.113.7", "X-Forwarded-For: 10.0.0.1"}, "ip:203.0.113.7"},
		{"by a count that is too high", chimiddleware.ClientIPFromXFFTrustedProxies(3), []string{"X-Forwarded-For: 10.0.0.1"}, missing},
		{"IPv6 by its /64", chimiddleware.ClientIPFromHeader("X-Real-IP"), []string{"X-Real-IP: 2001:db8:1:2:3:4:5:6"}, "ip:2001:db8:1:2::/64"},
		{"IPv4 in IPv6 form", chimiddleware.ClientIPFromHeader("X-Real-IP"), []string{"X-Real-IP: ::ffff:203.0.113.7"}, "ip:203.0.113.7"},
		{"no address in the header", chimiddleware.ClientIPFromHeader("X-Real-IP"), []string{"X-Real-IP: <script>"}, missing},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := &watch{}
			r := chi.NewRouter()
			if tt.finder != nil {
				r.Use(tt.finder)
			}
			r.Use(haltchi.Limit(newLimiter(w), perHour("api", 9), haltchi.ByClientIP()))
			r.Get("/", ok)
			rec := do(r, "GET", "/", tt.fields...)
			if tt.key == missing {
				expect(t, rec, 400)
			} else if expect(t, rec, 200); !slices.Equal(w.keys, []string{tt.key}) {
				t.Errorf("keys %q, not %q", w.keys, tt.key)
			}
		})
	}
}

// TestLinkLocalClient: ClientIPFromRemoteAddr keeps the zone, which is no part of a key.
func TestLinkLocalClient(t *testing.T) {
	w := &watch{}
	r := chi.NewRouter()
	r.Use(chimiddleware.ClientIPFromRemoteAddr, haltchi.Limit(newLimiter(w), perHour("api", 9), haltchi.ByClientIP()))
	r.Get("/", ok)
	req := httptest.NewRequest("GET", "/", nil)
	req.RemoteAddr = "[fe80::1%eth0]:4711"
	r.ServeHTTP(httptest.NewRecorder(), req)
	if !slices.Equal(w.keys, []string{"ip:fe80::/64"}) {
		t.Errorf("keys %q", w.keys)
	}
}

// TestRealIPPoisonsByIP is what the doc comment of ByIP warns of.
func TestRealIPPoisonsByIP(t *testing.T) {
	w := &watch{}
	r := chi.NewRouter()
	r.Use(chimiddleware.RealIP) //nolint:staticcheck // deprecated, and still in use
	r.Use(haltchi.Limit(newLimiter(w), perHour("api", 9), haltchi.ByIP()))
	r.Get("/", ok)
	do(r, "GET", "/", "X-Real-IP: 203.0.113.7")
	if !slices.Equal(w.keys, []string{"ip:203.0.113.7"}) {
		t.Errorf("keys %q: the warning can be dropped", w.keys)
	}
}

// TestUnixSocket: its peers have no address, and don't share a budget.
func TestUnixSocket(t *testing.T) {
	r := chi.NewRouter()
	r.Use(chimiddleware.ClientIPFromRemoteAddr)
	l := newLimiter()
	r.With(haltchi.Limit(l, perHour("ip", 9), haltchi.ByIP(netip.MustParsePrefix("127.0.0.0/8")))).Get("/ip", ok)
	r.With(haltchi.Limit(l, perHour("clientip", 9), haltchi.ByClientIP())).Get("/clientip", ok)
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Skipf("no Unix socket can be had in this folder: %v", err)
	}
	s := httptest.NewUnstartedServer(r)
	s.Listener = listener
	s.Start()
	defer s.Close()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	defer transport.CloseIdleConnections()
	for _, path := range []string{"/ip", "/clientip"} {
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

// TestPathsAreThoseOfTheRouter: an encoded path that the router takes for another route is not exempt.
func TestPathsAreThoseOfTheRouter(t *testing.T) {
	r := chi.NewRouter()
	r.Use(haltchi.Middleware(newLimiter(), haltchi.Config{
		Rules:  []haltchi.Rule{{Policy: perHour("api", 1), Key: haltchi.ByIP()}},
		Exempt: haltchi.Paths("/static/*", "/healthz"),
	}))
	r.Get("/static/*", ok)
	r.Get("/{tenant}/{id}", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("tenant")) })
	expect(t, do(r, "GET", "/static/logo.svg"), 200)
	if w := do(r, "GET", "/%73tatic/logo.svg"); w.Body.String() != "tenant" || w.Header().Get("RateLimit") == "" {
		t.Errorf("answered %q with %v: chi doesn't route this path to /static/*", w.Body, w.Header())
	}
	expect(t, do(r, "GET", "/%73tatic/logo.svg"), 429)
	expect(t, do(r, "GET", "/%68ealthz"), 429)
	expect(t, do(r, "GET", "/static/../tenant"), 429)
	expect(t, do(r, "GET", "/static/logo.svg"), 200)
}

// TestTimeoutDuringDelay: chi's own timeout bounds the delay too.
func TestTimeoutDuringDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := chi.NewRouter()
		r.Use(chimiddleware.Timeout(time.Second))
		queue := halt.Policy{Name: "queue", Algorithm: halt.LeakyBucket, Limit: 1, Window: time.Minute}
		r.Use(haltchi.Limit(halt.New(memory.New(nil), nil), queue, haltchi.Everyone()))
		ran := 0
		r.Get("/", func(http.ResponseWriter, *http.Request) { ran++ })
		expect(t, do(r, "GET", "/"), 200)
		sent := time.Now()
		expect(t, do(r, "GET", "/"), 503)
		if took := time.Since(sent); took != time.Second || ran != 1 {
			t.Errorf("it took %v, and the handler ran %d times", took, ran)
		}
	})
}

// TestBehindWrappedWriters: on a settled route handlers still find what chi's own wrapper has.
func TestBehindWrappedWriters(t *testing.T) {
	r := chi.NewRouter()
	r.Use(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(chimiddleware.NewWrapResponseWriter(w, r.ProtoMajor), r)
		})
	})
	var status int
	r.Use(haltchi.Middleware(newLimiter(), haltchi.Config{Rules: []haltchi.Rule{{
		Policy: perHour("api", 9), Key: haltchi.ByIP(),
		Settle: func(_ *http.Request, o haltchi.Outcome) int64 { status = o.Status; return 0 },
	}}}))
	r.Get("/", func(w http.ResponseWriter, _ *http.Request) {
		if _, ok := w.(http.Flusher); !ok {
			t.Error("no Flusher any more")
		}
		if _, ok := w.(http.Hijacker); !ok {
			t.Error("no Hijacker any more")
		}
		w.WriteHeader(http.StatusAccepted)
	})
	s := httptest.NewServer(r)
	defer s.Close()
	res, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != 202 || status != 202 {
		t.Errorf("answered %d, and settled as %d", res.StatusCode, status)
	}
}

// TestGroups: middlewares of the router, a group and a route are one chain, with one list of each field.
func TestGroups(t *testing.T) {
	r := chi.NewRouter()
	l := newLimiter()
	r.Use(haltchi.Limit(l, perHour("app", 9), haltchi.ByIP()))
	r.Route("/api", func(r chi.Router) {
		r.Use(haltchi.Middleware(l, haltchi.Config{
			Rules:  []haltchi.Rule{{Policy: perHour("group", 3), Key: haltchi.ByIP()}},
			Attach: true,
		}))
		r.With(haltchi.Limit(l, perHour("search", 1), haltchi.ByIP())).Get("/search", func(w http.ResponseWriter, r *http.Request) {
			d, _ := haltchi.Verdict(r).Of("group")
			_, _ = fmt.Fprint(w, d.Remaining, " of the group's")
		})
		r.Get("/free", ok)
	})

	w := do(r, "GET", "/api/search")
	expect(t, w, 200)
	if got, want := w.Header()["Ratelimit"], []string{`"app";r=8;t=3600, "group";r=2;t=3600, "search";r=0;t=3600`}; !slices.Equal(got, want) {
		t.Errorf("RateLimit is %q, not %q", got, want)
	}
	if w.Body.String() != "2 of the group's" {
		t.Errorf("the handler knew %q", w.Body)
	}
	expect(t, do(r, "GET", "/api/search"), 429)
	expect(t, do(r, "GET", "/api/free"), 200)
	expect(t, do(r, "GET", "/api/free"), 429)
}
