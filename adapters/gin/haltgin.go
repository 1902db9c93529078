package haltgin

import (
	"net/http"

	"github.com/gin-gonic/gin"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
	"github.com/halt-dev/halt/core/httpkit"
)

// Limit returns a middleware of one policy and one key. It panics as [Middleware] does.
func Limit(l *halt.Limiter, p halt.Policy, key Key) gin.HandlerFunc {
	return Middleware(l, Config{Rules: []Rule{{Policy: p, Key: key}}})
}

// Middleware returns a middleware that applies the rules of c to each request. It panics if c can't be used, with an
// error that matches guard.ErrInvalidConfig and names every fault.
//
// A handler that panics settles as a 500, and the panic goes on. A leaky bucket's delay is spent before the handler
// runs; it ends when the client hangs up, which net/http notices only once the request's body has been read.
func Middleware(l *halt.Limiter, c Config) gin.HandlerFunc {
	kit := httpkit.MustNew(l, framework, httpkit.Config[*gin.Context, func(*gin.Context, Denial)](c))
	denied, attach := c.OnDenied, c.Attach
	if denied == nil {
		denied = writeProblem
	}
	return func(c *gin.Context) {
		p := kit.Enter(c.Request.Context(), c, c.Writer.Header())
		if p == nil {
			return
		}
		outcome := Outcome{Status: http.StatusInternalServerError} // what a panic settles as
		defer func() { p.Leave(outcome) }()
		if !p.Admitted() {
			d, _ := p.Denied()
			c.Abort()
			c.Status(d.Status()) // of an OnDenied that writes none
			denied(c, d)
			return
		}
		if err := p.Wait(); err != nil {
			outcome = Outcome{Status: guard.StatusClientClosed, Err: err}
			// Somebody reads it only if it was a deadline of the server's own that has passed.
			c.AbortWithStatus(http.StatusServiceUnavailable)
			return
		}
		if attach {
			c.Request = c.Request.WithContext(p.Context())
		}
		c.Next()
		outcome.Status = c.Writer.Status()
	}
}

func writeProblem(c *gin.Context, d Denial) {
	c.Data(d.Status(), httpkit.ProblemType, httpkit.Problem(d))
}

// Verdict returns what the middlewares with Attach that the request has passed so far decided.
func Verdict(c *gin.Context) guard.Verdict { return guard.VerdictOf(c.Request.Context()) }
