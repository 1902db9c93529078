package haltecho

import (
	"context"
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
	"github.com/halt-dev/halt/core/httpkit"
)

// Limit returns a middleware of one policy and one key. It panics as [Middleware] does.
func Limit(l *halt.Limiter, p halt.Policy, key Key) echo.MiddlewareFunc {
	return Middleware(l, Config{Rules: []Rule{{Policy: p, Key: key}}})
}

// Middleware returns a middleware that applies the rules of c to each request. It panics if c can't be used, with an
// error that matches guard.ErrInvalidConfig and names every fault.
//
// An error that the handler returns settles as the status that echo's DefaultHTTPErrorHandler makes of it, unless an answer
// was written before; what an HTTPErrorHandler of your own makes of it is not known yet. A handler that panics settles as a
// 500, and the panic goes on. A leaky bucket's delay is spent before the handler runs; it ends when the client hangs up,
// which net/http notices only once the request's body has been read, or at a deadline such as ContextTimeout's. The
// middleware then returns an *echo.HTTPError, 499 or 503, that wraps the context's.
func Middleware(l *halt.Limiter, c Config) echo.MiddlewareFunc {
	kit := httpkit.MustNew(l, framework, httpkit.Config[echo.Context, func(echo.Context, Denial) error](c))
	denied, attach := c.OnDenied, c.Attach
	if denied == nil {
		denied = writeProblem
	}
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			r := c.Request()
			p := kit.Enter(r.Context(), c, c.Response().Header())
			if p == nil {
				return next(c)
			}
			outcome := Outcome{Status: http.StatusInternalServerError} // what a panic settles as
			defer func() { p.Leave(outcome) }()
			if !p.Admitted() {
				d, _ := p.Denied()
				return denied(c, d)
			}
			if err := p.Wait(); err != nil {
				outcome = Outcome{Status: guard.StatusClientClosed, Err: err}
				return aborted(err)
			}
			if attach {
				c.SetRequest(r.WithContext(p.Context()))
			}
			err := next(c)
			outcome = Outcome{Status: status(c, err), Err: err}
			return err
		}
	}
}

// aborted returns the error of a request whose context ended during its delay.
func aborted(cause error) error {
	code := guard.StatusClientClosed // nobody reads it, but loggers see it
	if errors.Is(cause, context.DeadlineExceeded) {
		code = http.StatusServiceUnavailable
	}
	return echo.NewHTTPError(code).SetInternal(cause)
}

// status returns the status of the answer that is written, or that err will be rendered as.
func status(c echo.Context, err error) int {
	if err == nil || c.Response().Committed {
		return c.Response().Status
	}
	// As echo's own handler does: it looks through no wrapping, but at the error inside.
	he, ok := err.(*echo.HTTPError) //nolint:errorlint // see above
	if !ok {
		return http.StatusInternalServerError
	}
	if inner, ok := he.Internal.(*echo.HTTPError); ok { //nolint:errorlint // see above
		he = inner
	}
	return he.Code
}

func writeProblem(c echo.Context, d Denial) error {
	return c.Blob(d.Status(), httpkit.ProblemType, httpkit.Problem(d))
}

// Verdict returns what the middlewares with Attach that the request has passed so far decided.
func Verdict(c echo.Context) guard.Verdict { return guard.VerdictOf(c.Request().Context()) }
