package halthttp_test

import (
	"context"
	"flag"
	"io"
	"net/http"
	"os"
	"slices"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/halthttp"
	"github.com/halt-dev/halt/core/httpkit"
	"github.com/halt-dev/halt/core/httpkit/adaptertest"
)

var update = flag.Bool("halt.update", false, "rewrite the golden transcript of package adaptertest; read what it then says")

type (
	middleware = func(http.Handler) http.Handler
	denied     = func(http.ResponseWriter, *http.Request, halthttp.Denial)
)

// harness describes halthttp to the suite.
func harness() adaptertest.Harness[*http.Request, middleware, denied] {
	return adaptertest.Harness[*http.Request, middleware, denied]{
		Limit: halthttp.Limit,
		Middleware: func(l *halt.Limiter, c httpkit.Config[*http.Request, denied]) middleware {
			return halthttp.Middleware(l, halthttp.Config(c))
		},
		By:       halthttp.By,
		ByIP:     halthttp.ByIP,
		ByAPIKey: halthttp.ByAPIKey,
		ByHeader: halthttp.ByHeader,
		ByRoute:  halthttp.ByRoute,
		Everyone: halthttp.Everyone,
		ChargeOn: halthttp.ChargeOn,
		Paths:    halthttp.Paths,
		Verdict:  halthttp.Verdict,

		Header: func(r *http.Request, name string) string { return r.Header.Get(name) },
		Body:   func(r *http.Request) io.Reader { return r.Body },
		OnDenied: func(f func(*http.Request, halthttp.Denial) adaptertest.Reply) denied {
			return func(w http.ResponseWriter, r *http.Request, d halthttp.Denial) { f(r, d).ServeHTTP(w, r) }
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
		Serve:       serve,
		Hijack:      true,
		Disconnects: true,
	}
}

func serve(tb testing.TB, s adaptertest.Site[*http.Request, middleware]) string {
	tb.Helper()
	mux := http.NewServeMux()
	for _, r := range s.Routes {
		mux.Handle(r.Method+" "+r.Path, chain(handler(r.Handle), r.Middlewares))
	}
	mux.Handle("/", handler(s.NotFound))
	return adaptertest.Listen(tb, recovered(chain(mux, s.Middlewares)))
}

func chain(h http.Handler, ms []middleware) http.Handler {
	for _, m := range slices.Backward(ms) {
		h = m(h)
	}
	return h
}

func handler(f func(*http.Request) adaptertest.Reply) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f(r).ServeHTTP(w, r) })
}

// recovered answers a panic, which net/http alone would answer by closing the connection.
func recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if recover() != nil {
				adaptertest.ErrorReply(http.StatusInternalServerError).ServeHTTP(w, r)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

func TestAdapter(t *testing.T) {
	if *update {
		transcript := adaptertest.Transcript(t, harness())
		if err := os.WriteFile("../httpkit/adaptertest/testdata/trace.golden", []byte(transcript), 0o644); err != nil {
			t.Fatal(err)
		}
		t.Skip("the transcript was rewritten: run the test again without -halt.update")
	}
	adaptertest.Run(t, harness())
}
