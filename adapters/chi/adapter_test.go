package haltchi_test

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"

	haltchi "github.com/halt-dev/halt/adapters/chi"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/httpkit"
	"github.com/halt-dev/halt/core/httpkit/adaptertest"
)

func TestAdapter(t *testing.T) { adaptertest.Run(t, harness()) }

type (
	mw       = func(http.Handler) http.Handler
	onDenied = func(http.ResponseWriter, *http.Request, haltchi.Denial)
)

func harness() adaptertest.Harness[*http.Request, mw, onDenied] {
	return adaptertest.Harness[*http.Request, mw, onDenied]{
		Limit: haltchi.Limit,
		Middleware: func(l *halt.Limiter, c httpkit.Config[*http.Request, onDenied]) mw {
			return haltchi.Middleware(l, haltchi.Config(c))
		},
		By:          haltchi.By,
		ByIP:        haltchi.ByIP,
		ByAPIKey:    haltchi.ByAPIKey,
		ByHeader:    haltchi.ByHeader,
		ByRoute:     haltchi.ByRoute,
		Everyone:    haltchi.Everyone,
		ChargeOn:    haltchi.ChargeOn,
		Paths:       haltchi.Paths,
		Verdict:     haltchi.Verdict,
		Header:      func(r *http.Request, name string) string { return r.Header.Get(name) },
		Body:        func(r *http.Request) io.Reader { return r.Body },
		Serve:       serve,
		Hijack:      true,
		Disconnects: true,
		Deadline: func(d time.Duration) mw {
			return func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					ctx, cancel := context.WithTimeout(r.Context(), d)
					defer cancel()
					next.ServeHTTP(w, r.WithContext(ctx))
				})
			}
		},
		OnDenied: func(f func(*http.Request, haltchi.Denial) adaptertest.Reply) onDenied {
			return func(w http.ResponseWriter, r *http.Request, d haltchi.Denial) { f(r, d).ServeHTTP(w, r) }
		},
	}
}

func serve(tb testing.TB, s adaptertest.Site[*http.Request, mw]) string {
	tb.Helper()
	r := chi.NewRouter()
	r.Use(recovers)
	r.Use(s.Middlewares...)
	for _, route := range s.Routes {
		r.With(route.Middlewares...).Method(route.Method, route.Path, handle(route.Handle))
	}
	r.NotFound(handle(s.NotFound).ServeHTTP)
	return adaptertest.Listen(tb, r)
}

// recovers answers a panic, as chi's Recoverer does.
func recovers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if recover() != nil {
				adaptertest.ErrorReply(http.StatusInternalServerError).ServeHTTP(w, r)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

func handle(f func(*http.Request) adaptertest.Reply) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f(r).ServeHTTP(w, r) })
}
