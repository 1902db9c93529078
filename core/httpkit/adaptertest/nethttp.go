package adaptertest

import (
	"bufio"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// ServeHTTP writes the reply, for frameworks of the net/http family.
func (p Reply) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	if p.Hijack != nil {
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		p.Hijack(hijacked{rw.Reader, conn})
		return
	}
	for _, f := range p.Fields {
		w.Header().Set(f[0], f[1])
	}
	if p.Status != 0 {
		w.WriteHeader(p.Status)
	}
	switch {
	case p.Stream != nil:
		p.Stream(w, w.(http.Flusher).Flush)
	case p.Body != "":
		_, _ = io.WriteString(w, p.Body) // the client may be gone
	}
}

// hijacked is a connection whose first bytes may have been read already.
type hijacked struct {
	r *bufio.Reader
	net.Conn
}

func (h hijacked) Read(b []byte) (int, error) { return h.r.Read(b) }

// Listen serves h on a free port and returns the base URL, for frameworks of the net/http family. A clean-up of tb's
// waits until all requests are done, and stops it.
func Listen(tb testing.TB, h http.Handler) string {
	tb.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Start()
	tb.Cleanup(s.Close)
	return s.URL
}
