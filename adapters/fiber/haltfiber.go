package haltfiber

import (
	"errors"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
	"github.com/halt-dev/halt/core/httpkit"
)

// Limit returns a middleware of one policy and one key. It panics as [Middleware] does.
func Limit(l *halt.Limiter, p halt.Policy, key Key) fiber.Handler {
	return Middleware(l, Config{Rules: []Rule{{Policy: p, Key: key}}})
}

// Middleware returns a middleware that applies the rules of c to each request. It panics if c can't be used, with an
// error that matches guard.ErrInvalidConfig and names every fault.
//
// An error that the handler returns settles as the code of the *fiber.Error that it is or wraps, else as a 500; what an
// ErrorHandler makes of it is not known yet. A handler that panics settles as a 500, and the panic goes on. A leaky
// bucket's delay is spent before the handler runs; it ends with the UserContext, never by a client that hangs up (see the
// package's comment). The middleware then returns an error that is a *fiber.Error, 503, and the context's.
func Middleware(l *halt.Limiter, c Config) fiber.Handler {
	kit := httpkit.MustNew(l, framework, httpkit.Config[*fiber.Ctx, func(*fiber.Ctx, Denial) error](c))
	denied, attach := c.OnDenied, c.Attach
	if denied == nil {
		denied = writeProblem
	}
	return func(c *fiber.Ctx) error {
		p := kit.Enter(c.UserContext(), c, (*header)(c))
		if p == nil {
			return c.Next()
		}
		outcome := Outcome{Status: fiber.StatusInternalServerError} // what a panic settles as
		defer func() { p.Leave(outcome) }()
		if !p.Admitted() {
			d, _ := p.Denied()
			return denied(c, d)
		}
		if err := p.Wait(); err != nil {
			outcome = Outcome{Status: guard.StatusClientClosed, Err: err}
			return aborted{err}
		}
		if attach {
			c.SetUserContext(p.Context())
		}
		err := c.Next()
		outcome = Outcome{Status: status(c, err), Err: err}
		return err
	}
}

// aborted is the error of a request whose context ended during its delay. Its text, which fiber shows to the client, does
// not tell why.
type aborted struct{ cause error }

func (aborted) Error() string { return fiber.ErrServiceUnavailable.Message }

func (a aborted) Unwrap() []error { return []error{fiber.ErrServiceUnavailable, a.cause} }

// status returns the status of the answer, or that err will be rendered as.
func status(c *fiber.Ctx, err error) int {
	if err == nil {
		return c.Response().StatusCode()
	}
	if fe := (*fiber.Error)(nil); errors.As(err, &fe) {
		return fe.Code
	}
	return fiber.StatusInternalServerError
}

func writeProblem(c *fiber.Ctx, d Denial) error {
	c.Status(d.Status())
	c.Set(fiber.HeaderContentType, httpkit.ProblemType)
	return c.Send(httpkit.Problem(d))
}

// Verdict returns what the middlewares with Attach that the request has passed so far decided.
func Verdict(c *fiber.Ctx) guard.Verdict { return guard.VerdictOf(c.UserContext()) }

// header is a context as the header of its response. As a pointer it fits in an interface without an allocation.
type header fiber.Ctx

// Get returns a string of the response's own memory. It looks among what is set before it asks fasthttp, which would bring
// the key into the canonical form that it has; most often nothing is.
func (h *header) Get(key string) string {
	set := &(*fiber.Ctx)(h).Response().Header
	for _, k := range set.PeekKeys() {
		if string(k) == key {
			return utils.UnsafeString(set.Peek(key))
		}
	}
	return ""
}

// Set spares what fiber's Set does to bring a key into the canonical form, which httpkit gives it in.
func (h *header) Set(key, value string) {
	(*fiber.Ctx)(h).Response().Header.SetCanonical(utils.UnsafeBytes(key), utils.UnsafeBytes(value))
}
