package adaptertest

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
	"github.com/halt-dev/halt/core/halthttp"
	"github.com/halt-dev/halt/core/httpkit"
)

type (
	req        = *http.Request
	middleware = func(http.Handler) http.Handler
	denied     = func(http.ResponseWriter, *http.Request, guard.Denial)
	harness    = Harness[req, middleware, denied]
	config     = httpkit.Config[req, denied]
)

// sound is a harness of halthttp, which passes.
func sound() harness {
	return harness{
		Limit:      halthttp.Limit,
		Middleware: func(l *halt.Limiter, c config) middleware { return halthttp.Middleware(l, halthttp.Config(c)) },
		By:         halthttp.By,
		ByIP:       halthttp.ByIP,
		ByAPIKey:   halthttp.ByAPIKey,
		ByHeader:   halthttp.ByHeader,
		ByRoute:    halthttp.ByRoute,
		Everyone:   halthttp.Everyone,
		ChargeOn:   halthttp.ChargeOn,
		Paths:      halthttp.Paths,
		Verdict:    halthttp.Verdict,
		Header:     func(r *http.Request, name string) string { return r.Header.Get(name) },
		Body:       func(r *http.Request) io.Reader { return r.Body },
		OnDenied: func(f func(*http.Request, guard.Denial) Reply) denied {
			return func(w http.ResponseWriter, r *http.Request, d guard.Denial) { f(r, d).ServeHTTP(w, r) }
		},
		Serve: func(tb testing.TB, s Site[req, middleware]) string {
			tb.Helper()
			mux := http.NewServeMux()
			handle := func(pattern string, f func(*http.Request) Reply, ms []middleware) {
				mux.Handle(pattern, chained(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f(r).ServeHTTP(w, r) }), ms))
			}
			for _, r := range s.Routes {
				handle(r.Method+" "+r.Path, r.Handle, r.Middlewares)
			}
			handle("/", s.NotFound, nil)
			return Listen(tb, recovering(chained(mux, s.Middlewares)))
		},
		Deadline: func(d time.Duration) middleware {
			return func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					ctx, cancel := context.WithTimeout(r.Context(), d)
					defer cancel()
					next.ServeHTTP(w, r.WithContext(ctx))
				})
			}
		},
		Hijack:      true,
		Disconnects: true,
	}
}

func chained(h http.Handler, ms []middleware) http.Handler {
	for _, m := range slices.Backward(ms) {
		h = m(h)
	}
	return h
}

func recovering(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if recover() != nil {
				ErrorReply(http.StatusInternalServerError).ServeHTTP(w, r)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// around puts a middleware around halthttp's.
func around(f func(w http.ResponseWriter, r *http.Request, next http.Handler)) harness {
	h := sound()
	h.Middleware = func(l *halt.Limiter, c config) middleware {
		limit := halthttp.Middleware(l, halthttp.Config(c))
		return func(next http.Handler) http.Handler {
			next = limit(next)
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f(w, r, next) })
		}
	}
	return h
}

// within puts a middleware between halthttp's and the handler.
func within(f func(w http.ResponseWriter, r *http.Request, next http.Handler)) harness {
	h := sound()
	h.Middleware = func(l *halt.Limiter, c config) middleware {
		limit := halthttp.Middleware(l, halthttp.Config(c))
		return func(next http.Handler) http.Handler {
			return limit(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f(w, r, next) }))
		}
	}
	return h
}

// configured changes the Config on its way to halthttp.
func configured(f func(*config)) harness {
	h := sound()
	h.Middleware = func(l *halt.Limiter, c config) middleware {
		f(&c)
		return halthttp.Middleware(l, halthttp.Config(c))
	}
	return h
}

// changed is a sound harness, changed.
func changed(f func(*harness)) harness {
	h := sound()
	f(&h)
	return h
}

// headerless doesn't let a field out.
type headerless struct {
	http.ResponseWriter
	field string
}

func (w headerless) WriteHeader(status int) {
	w.Header().Del(w.field)
	w.ResponseWriter.WriteHeader(status)
}

// TestBroken feeds the suite adapters that are broken in one way each. It has to reject each, for the right reason.
func TestBroken(t *testing.T) {
	for _, b := range []struct {
		name, check, complaint string
		patience               time.Duration // where the suite waits in vain
		h                      harness
	}{
		{
			name: "a field is missing", check: "Trace", complaint: "< Retry-After: 12",
			h: around(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				next.ServeHTTP(headerless{w, "Retry-After"}, r)
			}),
		},
		{
			name: "a field comes twice", check: "Trace", complaint: "< Ratelimit: \"peer\";r=1;t=60\n< Ratelimit: \"peer\";r=1;t=60\n",
			h: within(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				w.Header()["Ratelimit"] = append(w.Header()["Ratelimit"], w.Header()["Ratelimit"]...)
				next.ServeHTTP(w, r)
			}),
		},
		{
			name: "a field is spelled otherwise", check: "Trace", complaint: `< RateLimit: "peer";r=1;t=60`,
			h: within(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				w.Header()["RateLimit"] = w.Header()["Ratelimit"]
				delete(w.Header(), "Ratelimit")
				next.ServeHTTP(w, r)
			}),
		},
		{
			name: "any peer's X-Forwarded-For is believed", check: "Trace", complaint: "/peer",
			h: changed(func(h *harness) {
				h.ByIP = func(...netip.Prefix) guard.Key[req] { return halthttp.ByIP(netip.MustParsePrefix("0.0.0.0/1")) }
			}),
		},
		{
			name: "all settles as a 200", check: "Trace", complaint: "/login",
			h: configured(settleAs200),
		},
		{
			name: "a streamed answer settles as a 200", check: "Streams", complaint: "status 202 settled as 200",
			h: configured(settleAs200),
		},
		{
			name: "a large answer settles as a 200", check: "LargeBodies", complaint: "status 201 settled as 200",
			h: configured(settleAs200),
		},
		{
			name: "the handler gets no verdict", check: "Trace", complaint: "no verdict",
			h: changed(func(h *harness) { h.Verdict = func(req) guard.Verdict { return guard.Verdict{} } }),
		},
		{
			name: "internals get out", check: "Trace", complaint: "tells internals",
			h: configured(func(c *config) {
				var last string
				c.OnError = func(_ req, err error) { last = err.Error() }
				c.OnDenied = func(w http.ResponseWriter, _ *http.Request, d guard.Denial) { http.Error(w, last, d.Status()) }
			}),
		},
		{
			name: "faults are swallowed", check: "Wiring", complaint: "panicked with <nil>",
			h: changed(func(h *harness) {
				h.Middleware = func(*halt.Limiter, config) middleware { return func(next http.Handler) http.Handler { return next } }
			}),
		},
		{
			name: "keys are the adapter's own", check: "Keys", complaint: `"header:tenant-of-0"`,
			h: changed(func(h *harness) {
				h.ByHeader = func(name string) guard.Key[req] {
					return halthttp.By("header", func(r *http.Request) string { return r.Header.Get(name) })
				}
			}),
		},
		{
			name: "a route aliases a buffer", check: "Keys", complaint: "aliases a buffer",
			h: changed(func(h *harness) {
				buffer := []byte("GET /a")
				f := httpkit.NetHTTP(func(*http.Request) string {
					buffer[len(buffer)-1]++
					return unsafe.String(&buffer[0], len(buffer))
				})
				h.Middleware = func(l *halt.Limiter, c config) middleware { return httpkit.Wrap(httpkit.MustNew(l, f, c), c.OnDenied) }
			}),
		},
		{
			name: "a path is told as the route", check: "Keys", complaint: "no pattern",
			h: changed(func(h *harness) {
				f := httpkit.NetHTTP(func(r *http.Request) string { return r.URL.Path })
				h.Middleware = func(l *halt.Limiter, c config) middleware { return httpkit.Wrap(httpkit.MustNew(l, f, c), c.OnDenied) }
			}),
		},
		{
			name: "a delay doesn't end with its client", check: "LeavesInDelay", complaint: "the place in flight", patience: time.Second,
			h: around(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				next.ServeHTTP(w, r.WithContext(context.WithoutCancel(r.Context())))
			}),
		},
		{
			name: "an answer that nobody gave reads as a good one", check: "DeadlineInDelay", complaint: "after the deadline: answered\n< 200 OK",
			h: around(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				next.ServeHTTP(&silenced{ResponseWriter: w}, r)
			}),
		},
		{
			name: "nothing is ever left", check: "LeavesInHandler", complaint: "saw 0 of 1 charges", patience: time.Second,
			h: changed(func(h *harness) { h.Middleware = neverLeaving }),
		},
		{
			name: "requests are counted twice", check: "Crowd", complaint: "; the limit is 137",
			h: changed(func(h *harness) {
				h.Middleware = func(l *halt.Limiter, c config) middleware {
					m := halthttp.Middleware(l, halthttp.Config(c))
					return func(next http.Handler) http.Handler { return m(m(next)) }
				}
			}),
		},
		{
			name: "answers are held back", check: "Streams", complaint: "the first event did not arrive", patience: time.Second,
			h: around(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				rec := httptest.NewRecorder()
				next.ServeHTTP(rec, r)
				w.WriteHeader(rec.Code)
				_, _ = w.Write(rec.Body.Bytes())
			}),
		},
		{
			name: "large answers are cut off", check: "LargeBodies", complaint: "of a body of 8388608 bytes came 1000000",
			h: around(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				next.ServeHTTP(&cutting{ResponseWriter: w, left: 1_000_000}, r)
			}),
		},
		{
			name: "connections can't be taken over", check: "Upgrade", complaint: "500 Internal Server Error",
			h: around(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				next.ServeHTTP(struct{ http.ResponseWriter }{w}, r)
			}),
		},
		{
			name: "uploads are read to no end", check: "UnreadBody", complaint: "an upload that nobody reads", patience: time.Second,
			h: around(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if r.ContentLength > 100 {
					panic("http: request body too large")
				}
				next.ServeHTTP(w, r)
			}),
		},
	} {
		t.Run(b.name, func(t *testing.T) {
			if b.patience == 0 {
				b.patience = patience
			}
			err := named(t, b.check).run(newWorld(t, b.h, b.patience))
			if err == nil {
				t.Fatalf("%s accepts it", b.check)
			}
			if !strings.Contains(err.Error(), b.complaint) {
				t.Errorf("%s rejects it for another reason than %q:\n%v", b.check, b.complaint, err)
			}
		})
	}
}

func named(t *testing.T, name string) check[req, middleware, denied] {
	t.Helper()
	for _, c := range checks[req, middleware, denied]() {
		if c.name == name {
			return c
		}
	}
	t.Fatalf("no check %s", name)
	return check[req, middleware, denied]{}
}

func settleAs200(c *config) {
	for i := range c.Rules {
		if settle := c.Rules[i].Settle; settle != nil {
			c.Rules[i].Settle = func(r req, o guard.Outcome) int64 {
				o.Status = http.StatusOK
				return settle(r, o)
			}
		}
	}
}

// neverLeaving is an adapter that forgets half of its duty.
func neverLeaving(l *halt.Limiter, c config) middleware {
	kit := httpkit.MustNew(l, httpkit.NetHTTP(func(r *http.Request) string { return r.Pattern }), c)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if d, denied := kit.Enter(r.Context(), r, w.Header()).Denied(); denied {
				w.WriteHeader(d.Status())
				_, _ = w.Write(httpkit.Problem(d))
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// silenced lets out no status but 200.
type silenced struct{ http.ResponseWriter }

func (w *silenced) WriteHeader(int) {}

// cutting drops what is more than it has left.
type cutting struct {
	http.ResponseWriter
	left int
}

func (w *cutting) Flush() {}

func (w *cutting) Write(b []byte) (int, error) {
	n := min(len(b), w.left)
	w.left -= n
	_, err := w.ResponseWriter.Write(b[:n])
	return len(b), err
}

// TestGoroutines: one that stays is reported, with its stack.
func TestGoroutines(t *testing.T) {
	if err := goroutinesEnd(0, time.Millisecond); err == nil || !strings.Contains(err.Error(), "TestGoroutines") {
		t.Errorf("got %v", err)
	}
}
