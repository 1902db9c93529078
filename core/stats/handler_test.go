package stats

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/halthttp"
)

// get answers a request with the handler.
func get(c *Collector, method, target, accept string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	w := httptest.NewRecorder()
	c.Handler().ServeHTTP(w, r)
	return w
}

func TestPreferred(t *testing.T) {
	for accept, want := range map[string]string{
		"":                                       htmlType,
		"*/*":                                    htmlType,
		"text/html":                              htmlType,
		"image/png":                              htmlType,
		"application/json":                       jsonType,
		"Application/JSON; charset=utf-8":        jsonType,
		"application/*":                          jsonType,
		"text/event-stream":                      streamType,
		"application/json, */*":                  jsonType,
		"application/json, text/plain, */*":      jsonType, // what HTTP clients in JavaScript send
		"*/*, application/json;q=0.9":            htmlType,
		"application/*, */*":                     jsonType,
		"application/json, text/html":            htmlType,
		"application/json, */*;q=0.9":            jsonType,
		"text/html;q=0.5, application/json":      jsonType,
		"text/html;q=0.5,application/json;q=0.4": htmlType,
		"text/html;q=0, text/*":                  streamType,
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": htmlType,
		"application/json;q=0":        htmlType,
		"application/json;q=nonsense": htmlType,
		"application/json;q=7":        htmlType,
		",;,=;q":                      htmlType,
	} {
		if got := preferred([]string{accept}); got != want {
			t.Errorf("%q prefers %s, not %s", accept, got, want)
		}
	}
	if got := preferred([]string{"image/png", "application/json"}); got != jsonType {
		t.Errorf("two lines prefer %s", got)
	}
}

func FuzzPreferred(f *testing.F) {
	f.Add("text/html;q=0.5, application/json")
	f.Fuzz(func(t *testing.T, accept string) {
		switch got := preferred([]string{accept}); got {
		case htmlType, jsonType, streamType:
		default:
			t.Errorf("%q prefers %q", accept, got)
		}
	})
}

func TestHandlerAnswers(t *testing.T) {
	c := New(nil)
	allow(t, limiter(c), perHour(2), "k", 3)
	for _, test := range []struct {
		method, target, accept string
		status                 int
		contentType            string
	}{
		{"GET", "/halt", "text/html", 200, htmlType},
		{"GET", "/any/prefix/", "", 200, htmlType},
		{"GET", "/?token=x", "text/html", 200, htmlType},
		{"GET", "/?token=x", "application/json", 200, jsonType},
		{"GET", "/?style.css", "text/css,*/*;q=0.1", 200, "text/css; charset=utf-8"},
		{"GET", "/?live.js", "*/*", 200, "text/javascript; charset=utf-8"},
		{"GET", "/?favicon.svg", "image/*", 200, "image/svg+xml"},
		{"HEAD", "/", "text/html", 200, htmlType},
		{"HEAD", "/", "application/json", 200, jsonType},
		{"HEAD", "/", "text/event-stream", 200, streamType},
		{"POST", "/", "", 405, "text/plain; charset=utf-8"},
		{"DELETE", "/?style.css", "", 405, "text/plain; charset=utf-8"},
	} {
		w := get(c, test.method, test.target, test.accept)
		h := w.Header()
		if w.Code != test.status || h.Get("Content-Type") != test.contentType {
			t.Errorf("%s %s of %q: %d, %s", test.method, test.target, test.accept, w.Code, h.Get("Content-Type"))
		}
		if csp := h.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("policy %q", csp)
		}
		if h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%v", h)
		}
		if (w.Body.Len() == 0) != (test.method == "HEAD") {
			t.Errorf("%s %s has a body of %d", test.method, test.target, w.Body.Len())
		}
		if w.Code == 405 && h.Get("Allow") != "GET, HEAD" {
			t.Errorf("Allow is %q", h.Get("Allow"))
		}
	}

	var s Snapshot
	if err := json.Unmarshal(get(c, "GET", "/", "application/json").Body.Bytes(), &s); err != nil {
		t.Fatal(err)
	}
	if s.Total != (Counts{Allowed: 2, Refused: 1}) || len(s.Policies) != 1 || s.Policies[0].Policy != "api" {
		t.Errorf("%+v", s)
	}
	empty := get(New(nil), "GET", "/", "application/json").Body.String()
	if strings.Contains(empty, "null") {
		t.Errorf("JavaScript can't walk over null: %s", empty)
	}
}

// TestPageIsSelfContained: no address of the page leads elsewhere, each of its files is there, and nothing in it needs more
// than its policy allows.
func TestPageIsSelfContained(t *testing.T) {
	html := get(New(nil), "GET", "/", "").Body.String()
	links := regexp.MustCompile(`(?:href|src)="([^"]*)"`).FindAllStringSubmatch(html, -1)
	if len(links) < len(files) {
		t.Errorf("%d links, %d files", len(links), len(files))
	}
	for _, l := range links {
		if strings.HasPrefix(l[1], "#") {
			continue
		}
		if _, ok := files[strings.TrimPrefix(l[1], "?")]; !ok || l[1][0] != '?' {
			t.Errorf("%s is none of the page's files", l[1])
		}
	}
	if regexp.MustCompile(`(?i)<script>|<style| style=| on[a-z]+=`).MatchString(html) {
		t.Error("something inline")
	}
	for query := range files {
		body := get(New(nil), "GET", "/?"+query, "").Body.String()
		if strings.Contains(strings.ReplaceAll(body, "http://www.w3.org/2000/svg", ""), "http") || len(body) < 50 {
			t.Errorf("%s: %.80s", query, body)
		}
	}
}

// news reads the next snapshot of a stream.
func news(t *testing.T, r *bufio.Reader) (s Snapshot) {
	t.Helper()
	event := ""
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch field {
		case "event":
			event = value
		case "data":
			if err := json.Unmarshal([]byte(value), &s); err != nil {
				t.Fatal(err)
			}
		case "":
			if event != "snapshot" {
				t.Fatalf("event %q", event)
			}
			return s
		}
	}
}

// stream is a response that a test reads while it is written.
type stream struct {
	*io.PipeWriter
	header http.Header
}

func (s *stream) Header() http.Header { return s.header }
func (s *stream) WriteHeader(int)     {}
func (s *stream) Flush()              {}

// TestStream follows a stream to the end of its context.
func TestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(nil)
		l := limiter(c)
		r, w := io.Pipe()
		ctx, leave := context.WithCancel(t.Context())
		request := httptest.NewRequestWithContext(ctx, "GET", "/halt/", nil)
		request.Header.Set("Accept", "text/event-stream")
		out := &stream{w, http.Header{}}
		ended := make(chan struct{})
		go func() {
			c.Handler().ServeHTTP(out, request)
			close(ended)
		}()
		in := bufio.NewReader(r)
		if s := news(t, in); s.Total != (Counts{}) || out.header.Get("Content-Type") != streamType {
			t.Errorf("%+v as %v", s.Total, out.header)
		}
		for i := range int64(5) {
			start := time.Now()
			allow(t, l, perHour(100), "k", 1)
			if s := news(t, in); s.Total.Allowed != i+1 || time.Since(start) != time.Second {
				t.Errorf("after %v: %+v", time.Since(start), s.Total)
			}
		}
		leave()
		<-ended
	})
}

// deaf is a response whose client takes a connection and never reads from it.
type deaf struct {
	net.Conn
	stream
}

func (d *deaf) Write(b []byte) (int, error) { return d.Conn.Write(b) }
func (d *deaf) Close() error                { return d.Conn.Close() }

// TestSlowClient: one that does not read holds up neither decisions nor other clients, and is left after a while.
func TestSlowClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(nil)
		l, h := limiter(c), c.Handler()
		serve := func(w http.ResponseWriter) (ended chan struct{}) {
			r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
			r.Header.Set("Accept", "text/event-stream")
			ended = make(chan struct{})
			go func() {
				h.ServeHTTP(w, r)
				close(ended)
			}()
			return ended
		}
		here, there := net.Pipe()
		defer there.Close()
		start := time.Now()
		left := serve(&deaf{here, stream{header: http.Header{}}})
		synctest.Wait() // it is in its first Write

		pr, pw := io.Pipe()
		other := serve(&stream{pw, http.Header{}})
		in := bufio.NewReader(pr)
		news(t, in)
		for i := range int64(5) {
			allow(t, l, perHour(100), "k", 1)
			if s := news(t, in); s.Total.Allowed != i+1 || time.Since(start) != time.Duration(i+1)*time.Second {
				t.Errorf("after %v: %+v", time.Since(start), s.Total)
			}
		}
		_ = pr.Close()
		<-left
		if d := time.Since(start); d != writeTimeout {
			t.Errorf("a client that does not read was left after %v", d)
		}
		<-other
	})
}

// TestManyClients: all get the news through a real server and a wrapped writer, share the work of it, and leave nothing.
func TestManyClients(t *testing.T) {
	c := New(nil)
	l := limiter(c)
	guarded := halthttp.Middleware(l, halthttp.Config{Rules: []halthttp.Rule{{
		Policy: halt.Policy{Name: "guard", Limit: 1000, Window: time.Hour, Algorithm: halt.SlidingWindow}, Key: halthttp.Everyone(), Settle: halthttp.ChargeOn(500), // so the writer is wrapped
	}}})(c.Handler())
	server := httptest.NewUnstartedServer(guarded)
	server.Config.WriteTimeout = 500 * time.Millisecond // a stream outlives it
	server.Start()
	const clients = 50
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	var bodies []io.ReadCloser
	for range clients {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", "text/event-stream")
		resp, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, resp.Body)
	}
	allow(t, l, halt.Policy{Name: "a", Limit: 7, Window: time.Hour}, "k", 8)
	for _, b := range bodies {
		in := bufio.NewReader(b)
		for s := news(t, in); len(s.Policies) == 0 || s.Policies[0].Allowed != 7; {
			s = news(t, in)
		}
	}
	leave()
	for _, b := range bodies {
		_ = b.Close()
	}
	server.Close() // waits for all handlers: none of them is left
	if s := c.Snapshot(); s.Total.Allowed != clients+7 {
		t.Errorf("%+v", s.Total)
	}
}
