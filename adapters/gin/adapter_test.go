package haltgin_test

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	haltgin "github.com/halt-dev/halt/adapters/gin"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/httpkit"
	"github.com/halt-dev/halt/core/httpkit/adaptertest"
)

func init() { gin.SetMode(gin.TestMode) }

func TestAdapter(t *testing.T) { adaptertest.Run(t, harness()) }

type denied = func(*gin.Context, haltgin.Denial)

// harness describes haltgin to the suite.
func harness() adaptertest.Harness[*gin.Context, gin.HandlerFunc, denied] {
	return adaptertest.Harness[*gin.Context, gin.HandlerFunc, denied]{
		Limit: haltgin.Limit,
		Middleware: func(l *halt.Limiter, c httpkit.Config[*gin.Context, denied]) gin.HandlerFunc {
			return haltgin.Middleware(l, haltgin.Config(c))
		},
		By:       haltgin.By,
		ByIP:     haltgin.ByIP,
		ByAPIKey: haltgin.ByAPIKey,
		ByHeader: haltgin.ByHeader,
		ByRoute:  haltgin.ByRoute,
		Everyone: haltgin.Everyone,
		ChargeOn: haltgin.ChargeOn,
		Paths:    haltgin.Paths,
		Verdict:  haltgin.Verdict,

		Header: (*gin.Context).GetHeader,
		Body:   func(c *gin.Context) io.Reader { return c.Request.Body },
		OnDenied: func(f func(*gin.Context, haltgin.Denial) adaptertest.Reply) denied {
			return func(c *gin.Context, d haltgin.Denial) { f(c, d).ServeHTTP(c.Writer, c.Request) }
		},
		Deadline: func(d time.Duration) gin.HandlerFunc {
			return func(c *gin.Context) {
				ctx, cancel := context.WithTimeout(c.Request.Context(), d)
				defer cancel()
				c.Request = c.Request.WithContext(ctx)
				c.Next()
			}
		},
		Serve:       serve,
		Hijack:      true,
		Disconnects: true,
	}
}

func serve(tb testing.TB, s adaptertest.Site[*gin.Context, gin.HandlerFunc]) string {
	tb.Helper()
	r := gin.New()
	r.Use(gin.CustomRecoveryWithWriter(io.Discard, func(c *gin.Context, _ any) {
		c.Abort()
		adaptertest.ErrorReply(http.StatusInternalServerError).ServeHTTP(c.Writer, c.Request)
	}))
	r.Use(s.Middlewares...)
	for _, route := range s.Routes {
		r.Handle(route.Method, adaptertest.Colon(route.Path), append(route.Middlewares, handler(route.Handle))...)
	}
	r.NoRoute(handler(s.NotFound))
	return adaptertest.Listen(tb, r)
}

func handler(f func(*gin.Context) adaptertest.Reply) gin.HandlerFunc {
	return func(c *gin.Context) { f(c).ServeHTTP(c.Writer, c.Request) }
}
