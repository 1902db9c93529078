package stats

import (
	"embed"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// streamEvery is how often a stream tells the news.
	streamEvery = time.Second
	// fresh is how old an answer may be that several clients share.
	fresh = streamEvery / 2
	// writeTimeout is how long a client of a stream may take for one piece of news.
	writeTimeout = 10 * time.Second
)

//go:embed page
var page embed.FS

// files are what the page consists of beside index.html, by the query that asks for them: relative addresses that are nothing but a query
// stay right wherever the handler is mounted, with or without a slash at the end.
var files = map[string]struct{ name, contentType string }{
	"style.css":   {"page/style.css", "text/css; charset=utf-8"},
	"words.js":    {"page/words.js", "text/javascript; charset=utf-8"},
	"live.js":     {"page/live.js", "text/javascript; charset=utf-8"},
	"chart.js":    {"page/chart.js", "text/javascript; charset=utf-8"},
	"tables.js":   {"page/tables.js", "text/javascript; charset=utf-8"},
	"favicon.svg": {"page/favicon.svg", "image/svg+xml"},
}

// contentPolicy is the page's Content-Security-Policy: nothing but its own files, and in nobody's frame.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Handler returns the dashboard: one page that shows the Collector's Snapshot, live. The same address answers with JSON, a
// [Snapshot], or with a stream of it as server-sent events, one a second, if the Accept header prefers application/json or
// text/event-stream to text/html, or names it and the page only as "*/*". It can be mounted at any path, under any prefix, with or without a slash at the end, and
// answers GET and HEAD.
//
// It has no access control of its own: mount it behind that of your other internal pages. It tells policies, routes, rates
// and, with Options.ShowKeys, keys.
//
// A stream ends with its request; [http.Server.Shutdown] waits for it like for any other, so end the request's context
// first, with [http.Server.RegisterOnShutdown] or BaseContext. It outlives the server's WriteTimeout as long as the client
// keeps reading.
func (c *Collector) Handler() http.Handler { return &handler{collector: c} }

// handler serves a Collector.
type handler struct {
	collector *Collector

	mu   sync.Mutex
	at   time.Time
	json []byte // the Snapshot of then; never changed
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Security-Policy", contentPolicy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	file, ok := files[r.URL.RawQuery]
	contentType := file.contentType
	if !ok { // whatever a query may be for, this is the page
		file.name = "page/index.html"
		header.Set("Vary", "Accept")
		contentType = preferred(r.Header.Values("Accept"))
	}
	header.Set("Content-Type", contentType)
	switch contentType {
	case jsonType:
		h.write(w, r, h.snapshot(0))
	case streamType:
		header.Set("X-Accel-Buffering", "no") // nginx would hold the news back
		h.stream(w, r)
	default:
		b, err := page.ReadFile(file.name)
		if err != nil {
			http.Error(w, "not found", http.StatusNotFound) // embedded without it
			return
		}
		h.write(w, r, b)
	}
}

func (h *handler) write(w http.ResponseWriter, r *http.Request, b []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(b) // the client may be gone
	}
}

// snapshot returns the Collector's as JSON. It may be so old: clients that ask at the same time share one.
func (h *handler) snapshot(old time.Duration) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.json == nil || time.Since(h.at) >= old {
		b, err := json.Marshal(h.collector.Snapshot())
		if err != nil {
			return nil // not with these types
		}
		h.json, h.at = b, time.Now()
	}
	return h.json
}

// stream tells the news until the client leaves.
func (h *handler) stream(w http.ResponseWriter, r *http.Request) {
	out := http.NewResponseController(w)
	if r.Method == http.MethodHead {
		return
	}
	ticker := time.NewTicker(streamEvery)
	defer ticker.Stop()
	for prefix := "retry: 2000\n"; ; prefix = "" {
		// Not every writer has deadlines; then the server's hold.
		_ = out.SetWriteDeadline(time.Now().Add(writeTimeout))
		b := h.snapshot(fresh)
		news := make([]byte, 0, len(b)+64)
		news = append(news, prefix...)
		news = append(news, "event: snapshot\ndata: "...)
		news = append(news, b...) // JSON of one line
		news = append(news, "\n\n"...)
		if _, err := w.Write(news); err != nil {
			return
		}
		if err := out.Flush(); err != nil {
			return
		}
		select {
		case <-ticker.C:
		case <-r.Context().Done():
			return
		}
	}
}

const (
	htmlType   = "text/html; charset=utf-8"
	jsonType   = "application/json"
	streamType = "text/event-stream"
)

// preferred returns the type that an Accept header likes best. Of types that it likes as much, what it names comes before
// what it only covers by a wildcard, and then the page before the others.
func preferred(accept []string) string {
	best, most, named := htmlType, 0.0, 0
	for _, t := range []struct{ is, group, contentType string }{
		{"text/html", "text/*", htmlType},
		{"application/json", "application/*", jsonType},
		{"text/event-stream", "text/*", streamType},
	} {
		// The most specific range that matches has the say.
		q, specific := 0.0, 0
		for _, line := range accept {
			for item := range strings.SplitSeq(line, ",") {
				media, parameters, _ := strings.Cut(item, ";")
				s := 0
				switch strings.ToLower(strings.TrimSpace(media)) {
				case t.is:
					s = 3
				case t.group:
					s = 2
				case "*/*":
					s = 1
				}
				if s > specific {
					specific, q = s, quality(parameters)
				}
			}
		}
		if q > most || q == most && q > 0 && specific > named {
			best, most, named = t.contentType, q, specific
		}
	}
	return best
}

// quality returns the q of a media range's parameters: 1 if it has none, 0 if it is none.
func quality(parameters string) float64 {
	for p := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if !strings.EqualFold(name, "q") {
			continue
		}
		q, err := strconv.ParseFloat(value, 64)
		if err != nil || !(0 <= q && q <= 1) {
			return 0
		}
		return q
	}
	return 1
}
