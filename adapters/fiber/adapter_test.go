package haltfiber_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	haltfiber "github.com/halt-dev/halt/adapters/fiber"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/httpkit"
	"github.com/halt-dev/halt/core/httpkit/adaptertest"
)

func TestAdapter(t *testing.T) { adaptertest.Run(t, harness()) }

type onDenied = func(*fiber.Ctx, haltfiber.Denial) error

func harness() adaptertest.Harness[*fiber.Ctx, fiber.Handler, onDenied] {
	return adaptertest.Harness[*fiber.Ctx, fiber.Handler, onDenied]{
		Limit: haltfiber.Limit,
		Middleware: func(l *halt.Limiter, c httpkit.Config[*fiber.Ctx, onDenied]) fiber.Handler {
			return haltfiber.Middleware(l, haltfiber.Config(c))
		},
		By:       haltfiber.By,
		ByIP:     haltfiber.ByIP,
		ByAPIKey: haltfiber.ByAPIKey,
		ByHeader: haltfiber.ByHeader,
		ByRoute:  haltfiber.ByRoute,
		Everyone: haltfiber.Everyone,
		ChargeOn: haltfiber.ChargeOn,
		Paths:    haltfiber.Paths,
		Verdict:  haltfiber.Verdict,
		Header:   func(c *fiber.Ctx, name string) string { return c.Get(name) },
		Body:     func(c *fiber.Ctx) io.Reader { return bytes.NewReader(c.Body()) },
		Serve:    serve,
		Deadline: func(d time.Duration) fiber.Handler {
			return func(c *fiber.Ctx) error {
				ctx, cancel := context.WithTimeout(c.UserContext(), d)
				defer cancel()
				c.SetUserContext(ctx)
				return c.Next()
			}
		},
		OnDenied: func(f func(*fiber.Ctx, haltfiber.Denial) adaptertest.Reply) onDenied {
			return func(c *fiber.Ctx, d haltfiber.Denial) error { return answer(c, f(c, d)) }
		},
	}
}

func serve(tb testing.TB, s adaptertest.Site[*fiber.Ctx, fiber.Handler]) string {
	tb.Helper()
	app := newApp(fiber.Config{})
	app.Use(recovers)
	for _, m := range s.Middlewares {
		app.Use(m)
	}
	for _, r := range s.Routes {
		handlers := slices.Concat(r.Middlewares, []fiber.Handler{func(c *fiber.Ctx) error { return answer(c, r.Handle(c)) }})
		app.Add(r.Method, adaptertest.Colon(r.Path), handlers...)
	}
	app.Use(func(c *fiber.Ctx) error { return answer(c, s.NotFound(c)) })
	return listen(tb, app)
}

// newApp returns an app whose error handler answers as the suite has it.
func newApp(c fiber.Config) *fiber.App {
	c.DisableStartupMessage = true
	c.BodyLimit = 16 << 20
	c.ErrorHandler = func(c *fiber.Ctx, err error) error {
		status := fiber.StatusInternalServerError
		if fe := (*fiber.Error)(nil); errors.As(err, &fe) {
			status = fe.Code
		}
		p := adaptertest.ErrorReply(status)
		p.Error = false
		return answer(c, p)
	}
	app := fiber.New(c)
	app.Server().MaxIdleWorkerDuration = 10 * time.Millisecond // how long a goroutine stays behind
	return app
}

// listen serves the app on a free port until the test's end, and returns its base URL.
func listen(tb testing.TB, app *fiber.App) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	serveOn(tb, app, l)
	return "http://" + l.Addr().String()
}

func serveOn(tb testing.TB, app *fiber.App, l net.Listener) {
	tb.Helper()
	done := make(chan error, 1)
	go func() { done <- app.Listener(l) }()
	tb.Cleanup(func() {
		if err := app.ShutdownWithTimeout(10 * time.Second); err != nil {
			tb.Errorf("shutting down: %v", err)
		}
		if err := <-done; err != nil {
			tb.Errorf("serving: %v", err)
		}
	})
}

// recovers makes an error of a panic, as fiber's recover does.
func recovers(c *fiber.Ctx) (err error) {
	defer func() {
		if recover() != nil {
			err = fiber.ErrInternalServerError
		}
	}()
	return c.Next()
}

func answer(c *fiber.Ctx, p adaptertest.Reply) error {
	if p.Error {
		return fiber.NewError(p.Status)
	}
	for _, f := range p.Fields {
		c.Set(f[0], f[1])
	}
	if p.Status != 0 {
		c.Status(p.Status)
	}
	switch {
	case p.Stream != nil:
		c.Context().SetBodyStreamWriter(func(w *bufio.Writer) {
			p.Stream(w, func() { _ = w.Flush() }) // the client may be gone
		})
	case p.Body != "":
		return c.SendString(p.Body)
	}
	return nil
}
