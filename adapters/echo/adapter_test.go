package haltecho_test

import (
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	haltecho "github.com/halt-dev/halt/adapters/echo"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/httpkit"
	"github.com/halt-dev/halt/core/httpkit/adaptertest"
)

func TestAdapter(t *testing.T) { adaptertest.Run(t, harness()) }

type onDenied = func(echo.Context, haltecho.Denial) error

func harness() adaptertest.Harness[echo.Context, echo.MiddlewareFunc, onDenied] {
	return adaptertest.Harness[echo.Context, echo.MiddlewareFunc, onDenied]{
		Limit: haltecho.Limit,
		Middleware: func(l *halt.Limiter, c httpkit.Config[echo.Context, onDenied]) echo.MiddlewareFunc {
			return haltecho.Middleware(l, haltecho.Config(c))
		},
		By:          haltecho.By,
		ByIP:        haltecho.ByIP,
		ByAPIKey:    haltecho.ByAPIKey,
		ByHeader:    haltecho.ByHeader,
		ByRoute:     haltecho.ByRoute,
		Everyone:    haltecho.Everyone,
		ChargeOn:    haltecho.ChargeOn,
		Paths:       haltecho.Paths,
		Verdict:     haltecho.Verdict,
		Header:      func(c echo.Context, name string) string { return c.Request().Header.Get(name) },
		Body:        func(c echo.Context) io.Reader { return c.Request().Body },
		Serve:       serve,
		Hijack:      true,
		Disconnects: true,
		Deadline:    middleware.ContextTimeout,
		OnDenied: func(f func(echo.Context, haltecho.Denial) adaptertest.Reply) onDenied {
			return func(c echo.Context, d haltecho.Denial) error { return answer(c, f(c, d)) }
		},
	}
}

func serve(tb testing.TB, s adaptertest.Site[echo.Context, echo.MiddlewareFunc]) string {
	tb.Helper()
	e := newEcho()
	e.Use(recovers)
	e.Use(s.Middlewares...)
	for _, r := range s.Routes {
		e.Add(r.Method, adaptertest.Colon(r.Path), func(c echo.Context) error { return answer(c, r.Handle(c)) }, r.Middlewares...)
	}
	e.RouteNotFound("/*", func(c echo.Context) error { return answer(c, s.NotFound(c)) })
	return adaptertest.Listen(tb, e)
}

// newEcho returns an echo whose error handler answers as the suite has it.
func newEcho() *echo.Echo {
	e := echo.New()
	e.Logger.SetOutput(io.Discard)
	e.HTTPErrorHandler = func(err error, c echo.Context) {
		if c.Response().Committed {
			return
		}
		status := http.StatusInternalServerError
		if he := (*echo.HTTPError)(nil); errors.As(err, &he) {
			status = he.Code
		}
		adaptertest.ErrorReply(status).ServeHTTP(c.Response(), c.Request())
	}
	return e
}

// recovers makes an error of a panic, as echo's Recover does.
func recovers(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			if recover() != nil {
				err = echo.ErrInternalServerError
			}
		}()
		return next(c)
	}
}

func answer(c echo.Context, p adaptertest.Reply) error {
	if p.Error {
		return echo.NewHTTPError(p.Status)
	}
	p.ServeHTTP(c.Response(), c.Request())
	return nil
}
