package load

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"runtime/pprof"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/gofiber/fiber/v2"
	"github.com/labstack/echo/v4"
	vegeta "github.com/tsenart/vegeta/v12/lib"

	haltchi "github.com/halt-dev/halt/adapters/chi"
	haltecho "github.com/halt-dev/halt/adapters/echo"
	haltfiber "github.com/halt-dev/halt/adapters/fiber"
	haltgin "github.com/halt-dev/halt/adapters/gin"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/halthttp"
	"github.com/halt-dev/halt/core/memory"
)

// delaying is a policy of which most admitted requests wait: longer than their clients do.
var delaying = halt.Policy{Name: "delaying", Limit: 20, Window: time.Second, Algorithm: halt.LeakyBucket, Burst: 10}

// A small server of one framework: a route with the policy, per address.
var small = []struct {
	name string
	// serve serves on the listener until stop, which closes the connections too.
	serve func(l *halt.Limiter, on net.Listener) (stop func(context.Context) error)
}{
	{"net/http", func(l *halt.Limiter, on net.Listener) func(context.Context) error {
		ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
		return serveHTTP(halthttp.Limit(l, delaying, halthttp.ByIP())(ok), on)
	}},
	{"gin", func(l *halt.Limiter, on net.Listener) func(context.Context) error {
		gin.SetMode(gin.ReleaseMode)
		g := gin.New()
		g.GET("/", haltgin.Limit(l, delaying, haltgin.ByIP()), func(*gin.Context) {})
		return serveHTTP(g, on)
	}},
	{"echo", func(l *halt.Limiter, on net.Listener) func(context.Context) error {
		e := echo.New()
		e.GET("/", func(echo.Context) error { return nil }, haltecho.Limit(l, delaying, haltecho.ByIP()))
		return serveHTTP(e, on)
	}},
	{"fiber", func(l *halt.Limiter, on net.Listener) func(context.Context) error {
		app := fiber.New(fiber.Config{DisableStartupMessage: true})
		app.Get("/", haltfiber.Limit(l, delaying, haltfiber.ByIP()), func(*fiber.Ctx) error { return nil })
		done := make(chan struct{})
		go func() { defer close(done); _ = app.Listener(on) }()
		return func(ctx context.Context) error {
			err := app.ShutdownWithContext(ctx)
			<-done
			return err
		}
	}},
	{"chi", func(l *halt.Limiter, on net.Listener) func(context.Context) error {
		r := chi.NewRouter()
		r.With(haltchi.Limit(l, delaying, haltchi.ByIP())).Get("/", func(http.ResponseWriter, *http.Request) {})
		return serveHTTP(r, on)
	}},
}

func serveHTTP(h http.Handler, on net.Listener) func(context.Context) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(on) }()
	return func(ctx context.Context) error {
		err := s.Shutdown(ctx)
		<-done
		return err
	}
}

// After load that ended with clients hanging up during their delay nothing runs in Halt any more, and after the server's
// end there are no more goroutines than before it began.
func TestNoGoroutineStays(t *testing.T) {
	for _, s := range small {
		t.Run(s.name, func(t *testing.T) {
			before := len(goroutines())
			on, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			stop := s.serve(halt.New(memory.New(nil), nil), on)
			c := newClient()
			c.Timeout = 100 * time.Millisecond // the delays are up to half a second
			attacker := vegeta.NewAttacker(vegeta.Client(&c.Client), vegeta.Workers(8))
			target := vegeta.NewStaticTargeter(vegeta.Target{Method: http.MethodGet, URL: "http://" + on.Addr().String() + "/"})
			var admitted, refused, left int
			for r := range attacker.Attack(target, vegeta.Rate{Freq: 200, Per: time.Second}, 500*time.Millisecond, "") {
				switch r.Code {
				case http.StatusOK:
					admitted++
				case http.StatusTooManyRequests:
					refused++
				case 0:
					left++
				default:
					t.Errorf("answered %d", r.Code)
				}
			}
			if admitted == 0 || refused == 0 || left == 0 {
				t.Errorf("admitted %d, refused %d, left %d: want some of each", admitted, refused, left)
			}
			awaited(t, "a goroutine is still in Halt", func() bool {
				return !slices.ContainsFunc(goroutines(), func(g string) bool { return strings.Contains(g, "halt/core") })
			})

			c.closeUnused()
			ctx, cancel := context.WithTimeout(t.Context(), graceful)
			defer cancel()
			if err := stop(ctx); err != nil {
				t.Errorf("the server did not shut down: %v", err)
			}
			c.CloseIdleConnections()
			awaited(t, "there are more goroutines than before", func() bool { return len(goroutines()) <= before })
		})
	}
}

// awaited waits until it is so, for a few seconds.
func awaited(t *testing.T, fault string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(5 * time.Second); !so(); <-tick.C {
		if time.Now().After(deadline) {
			t.Errorf("%s:\n%s", fault, strings.Join(goroutines(), "\n\n"))
			return
		}
	}
}

// goroutines are the stacks of all but the test's own, and but two that fasthttp leaves to themselves: one ends by itself,
// ten seconds after its server, the other is one per process.
func goroutines() []string {
	var b bytes.Buffer
	_ = pprof.Lookup("goroutine").WriteTo(&b, 2)
	return slices.DeleteFunc(strings.Split(b.String(), "\n\n"), func(g string) bool {
		return strings.Contains(g, "TestNoGoroutineStays") || strings.Contains(g, "fasthttp.(*workerPool).Start.func") ||
			strings.Contains(g, "fasthttp.updateServerDate.func")
	})
}
