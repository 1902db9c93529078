package haltgin_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	haltgin "github.com/halt-dev/halt/adapters/gin"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
	"github.com/halt-dev/halt/core/memory"
)

// quota is a quota of a fixed window of 1000 hours, so that no window ends during a test.
func quota(name string, limit int64) halt.Policy {
	return halt.Policy{Name: name, Algorithm: halt.FixedWindow, Limit: limit, Window: 1000 * time.Hour}
}

func newLimiter() *halt.Limiter { return halt.New(memory.New(nil), nil) }

// get sends a request as from 192.0.2.1, with header fields in pairs of name and value.
func get(h http.Handler, path string, fields ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for pair := range slices.Chunk(fields, 2) {
		r.Header.Set(pair[0], pair[1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// codes are the statuses of requests of these paths.
func codes(h http.Handler, paths ...string) []int {
	var all []int
	for _, path := range paths {
		all = append(all, get(h, path).Code)
	}
	return all
}

func expect(t *testing.T, what string, got []int, want ...int) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: answered %v, want %v", what, got, want)
	}
}

func ok(c *gin.Context) { c.String(http.StatusOK, "ok") }

// settled makes a middleware of one rule that reports how requests end.
func settled(outcomes chan<- haltgin.Outcome) gin.HandlerFunc {
	return haltgin.Middleware(newLimiter(), haltgin.Config{Rules: []haltgin.Rule{{
		Policy: quota("settled", 100),
		Key:    haltgin.Everyone(),
		Settle: func(_ *gin.Context, o haltgin.Outcome) int64 {
			outcomes <- o
			return 0
		},
	}}})
}

func TestGroupsAndRoutes(t *testing.T) {
	l := newLimiter()
	r := gin.New()
	r.GET("/free", ok)
	api := r.Group("/api", haltgin.Limit(l, quota("api", 3), haltgin.ByIP()))
	api.GET("/cheap", ok)
	api.GET("/dear", haltgin.Limit(l, quota("dear", 1), haltgin.ByIP()), ok)

	expect(t, "outside of the group", codes(r, "/free", "/free", "/free", "/free"), 200, 200, 200, 200)
	if got, want := get(r, "/api/dear").Header().Get("RateLimit-Policy"), `"api";q=3;w=3600000, "dear";q=1;w=3600000`; got != want {
		t.Errorf("a route's own middleware within a group's: RateLimit-Policy is %s, want %s", got, want)
	}
	expect(t, "the route's second", codes(r, "/api/dear"), 429)
	expect(t, "the group's third and fourth", codes(r, "/api/cheap", "/api/cheap"), 200, 429)
}

// A refusal ends the chain: neither later handlers nor later middlewares run, and those before see it.
func TestRefusalAborts(t *testing.T) {
	var later int
	var seen []int
	r := gin.New()
	r.Use(func(c *gin.Context) {
		c.Next()
		if c.IsAborted() {
			seen = append(seen, c.Writer.Status())
		}
	})
	r.GET("/", haltgin.Limit(newLimiter(), quota("api", 1), haltgin.ByIP()), func(c *gin.Context) { later++; c.Next() }, ok)
	expect(t, "limit of 1", codes(r, "/", "/", "/"), 200, 429, 429)
	if later != 1 || !slices.Equal(seen, []int{429, 429}) {
		t.Errorf("a later middleware ran %d times, one before saw aborted requests of the statuses %v", later, seen)
	}
}

func TestByClientIP(t *testing.T) {
	site := func(trusted ...string) *gin.Engine {
		r := gin.New()
		if len(trusted) > 0 {
			if err := r.SetTrustedProxies(trusted); err != nil {
				t.Fatal(err)
			}
		}
		r.GET("/client", haltgin.Limit(newLimiter(), quota("client", 1), haltgin.ByClientIP()), ok)
		r.GET("/peer", haltgin.Limit(newLimiter(), quota("peer", 1), haltgin.ByIP()), ok)
		return r
	}
	xff := func(r *gin.Engine, path string, addrs ...string) []int {
		var all []int
		for _, a := range addrs {
			all = append(all, get(r, path, "X-Forwarded-For", a).Code)
		}
		return all
	}
	expect(t, "gin's default believes anyone, as is documented",
		xff(site(), "/client", "203.0.113.1", "203.0.113.2", "203.0.113.1"), 200, 200, 429)
	expect(t, "ByIP doesn't, whatever gin's default",
		xff(site(), "/peer", "203.0.113.1", "203.0.113.2"), 200, 429)
	expect(t, "with a trusted proxy that isn't the peer",
		xff(site("198.51.100.0/24"), "/client", "203.0.113.1", "203.0.113.2"), 200, 429)
	expect(t, "with the peer as a trusted proxy",
		xff(site("192.0.2.1"), "/client", "203.0.113.1", "203.0.113.2", "198.51.100.7, 203.0.113.1"), 200, 200, 429)
	expect(t, "addresses count as ByIP counts them",
		xff(site(), "/client", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"), 200, 429, 200)
}

// For a peer without an address gin's ClientIP says "<nil>": that must not become a budget that all such peers share.
func TestUnixSocketHasNoAddress(t *testing.T) {
	r := gin.New()
	r.GET("/client", haltgin.Limit(newLimiter(), quota("client", 9), haltgin.ByClientIP()), ok)
	r.GET("/peer", haltgin.Limit(newLimiter(), quota("peer", 9), haltgin.ByIP()), ok)
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: r, ReadHeaderTimeout: time.Minute}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		_ = s.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport}
	for _, p := range []string{"/client", "/peer"} {
		res, err := client.Get("http://halt.test" + p)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusBadRequest {
			t.Errorf("%s is answered %s", p, res.Status)
		}
	}
}

// gin knows the route in every middleware, that of the engine included.
func TestByRoute(t *testing.T) {
	r := gin.New()
	r.Use(haltgin.Limit(newLimiter(), quota("route", 1), haltgin.ByRoute()))
	r.GET("/items/:id", ok)
	r.GET("/other", ok)
	expect(t, "two of one pattern, one of another", codes(r, "/items/1", "/items/2", "/other"), 200, 429, 200)
	expect(t, "what matches no route shares a budget", codes(r, "/no", "/such/route"), 404, 429)
}

// gin answers redirects before any middleware.
func TestRedirectsAreNotCounted(t *testing.T) {
	r := gin.New()
	r.RedirectFixedPath = true
	r.Use(haltgin.Limit(newLimiter(), quota("api", 1), haltgin.ByIP()))
	r.GET("/page", ok)
	expect(t, "redirects", codes(r, "/page/", "/PAGE", "/page/"), 301, 301, 301)
	expect(t, "the page itself", codes(r, "/page", "/page"), 200, 429)
}

func TestOutcomeStatus(t *testing.T) {
	for _, c := range []struct {
		name   string
		handle gin.HandlerFunc
		want   int
	}{
		{"nothing written", func(*gin.Context) {}, 200},
		{"a status that is written at the end", func(c *gin.Context) { c.Status(http.StatusUnauthorized) }, 401},
		{"AbortWithStatus", func(c *gin.Context) { c.AbortWithStatus(http.StatusForbidden) }, 403},
		{"AbortWithError", func(c *gin.Context) { _ = c.AbortWithError(http.StatusTeapot, errors.New("short and stout")) }, 418},
		{"JSON", func(c *gin.Context) { c.JSON(http.StatusCreated, gin.H{}) }, 201},
		{"a panic", func(*gin.Context) { panic("no") }, 500},
	} {
		t.Run(c.name, func(t *testing.T) {
			outcomes := make(chan haltgin.Outcome, 1)
			r := gin.New()
			r.Use(gin.RecoveryWithWriter(io.Discard), settled(outcomes))
			r.GET("/", c.handle)
			if got := get(r, "/").Code; got != c.want {
				t.Errorf("answered %d", got)
			}
			if o := <-outcomes; o.Status != c.want {
				t.Errorf("settled as %d, not %d", o.Status, c.want)
			}
		})
	}
	t.Run("no route", func(t *testing.T) {
		outcomes := make(chan haltgin.Outcome, 1)
		r := gin.New()
		r.Use(settled(outcomes))
		expect(t, "no route", codes(r, "/"), 404)
		if o := <-outcomes; o.Status != 404 {
			t.Errorf("settled as %d", o.Status)
		}
	})
}

// The verdict is in the request's context: a copy of gin's context has it, in a goroutine that outlives the request, and
// gin's context itself with ContextWithFallback.
func TestVerdict(t *testing.T) {
	outlived := make(chan struct{})
	verdicts := make(chan guard.Verdict, 1)
	r := gin.New()
	r.ContextWithFallback = true
	r.Use(haltgin.Middleware(newLimiter(), haltgin.Config{
		Attach: true,
		Rules:  []haltgin.Rule{{Policy: quota("api", 5), Key: haltgin.ByIP()}},
	}))
	r.GET("/", func(c *gin.Context) {
		if d, found := haltgin.Verdict(c).Of("api"); !found || d.Remaining != 4 {
			t.Errorf("the handler reads %+v, %t", d, found)
		}
		if d, found := guard.VerdictOf(c).Of("api"); !found || d.Remaining != 4 {
			t.Errorf("gin's context, as a context, has %+v, %t", d, found)
		}
		cp := c.Copy()
		go func() {
			<-outlived
			verdicts <- haltgin.Verdict(cp)
		}()
	})
	get(r, "/")
	get(r, "/nowhere") // gin's context and the pass are in use again
	close(outlived)
	v := <-verdicts
	if d, found := v.Of("api"); !found || d.Remaining != 4 || v.Charges[0].Key != "ip:192.0.2.1" {
		t.Errorf("a copy reads %+v later", v)
	}
}

// A resolver's context is the request's, with what a middleware has put there, and not gin's, which never ends.
func TestResolveContext(t *testing.T) {
	type userKey struct{}
	r := gin.New()
	r.Use(func(c *gin.Context) {
		c.Request = c.Request.WithContext(context.WithValue(c.Request.Context(), userKey{}, "ann"))
	})
	r.Use(haltgin.Middleware(newLimiter(), haltgin.Config{Rules: []haltgin.Rule{{
		Resolve: func(ctx context.Context, c *gin.Context) (halt.Policy, error) {
			if _, ends := ctx.Deadline(); !ends || ctx.Value(userKey{}) != "ann" {
				t.Errorf("the context ends: %t; its user is %v", ends, ctx.Value(userKey{}))
			}
			return quota("plan", 1), nil
		},
		Key: haltgin.ByIP(),
	}}}))
	r.GET("/", ok)
	expect(t, "limit of 1", codes(r, "/", "/"), 200, 429)
}

// Stream asserts that gin's writer is a CloseNotifier, and panics if something has hidden that of the server's.
func TestStream(t *testing.T) {
	outcomes := make(chan haltgin.Outcome, 1)
	r := gin.New()
	r.GET("/", settled(outcomes), func(c *gin.Context) {
		left := 3
		c.Stream(func(w io.Writer) bool {
			c.SSEvent("tick", left)
			left--
			return left > 0
		})
	})
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	res, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil || string(body) != "event:tick\ndata:3\n\nevent:tick\ndata:2\n\nevent:tick\ndata:1\n\n" {
		t.Errorf("the stream was %q, error: %v", body, err)
	}
	if o := <-outcomes; o.Status != 200 {
		t.Errorf("settled as %d", o.Status)
	}
}

func TestOnDeniedInGinsWays(t *testing.T) {
	answer := map[string]func(*gin.Context, haltgin.Denial){
		"AbortWithStatusJSON": func(c *gin.Context, d haltgin.Denial) {
			c.AbortWithStatusJSON(d.Status(), gin.H{"error": d.Reason.String(), "policy": d.Policy.Name})
		},
		"JSON, without an abort of its own": func(c *gin.Context, d haltgin.Denial) {
			c.JSON(d.Status(), gin.H{"error": d.Reason.String(), "policy": d.Policy.Name})
		},
	}
	for name, onDenied := range answer {
		t.Run(name, func(t *testing.T) {
			r := gin.New()
			r.GET("/", haltgin.Middleware(newLimiter(), haltgin.Config{
				Rules:    []haltgin.Rule{{Policy: quota("api", 1), Key: haltgin.ByIP()}},
				OnDenied: onDenied,
			}), ok)
			expect(t, "limit of 1", codes(r, "/"), 200)
			w := get(r, "/")
			if w.Code != 429 || w.Body.String() != `{"error":"quota exceeded","policy":"api"}` ||
				!strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") || w.Header().Get("Retry-After") == "" {
				t.Errorf("answered %d, %v, %s", w.Code, w.Header(), w.Body)
			}
		})
	}
}
