package httpkit_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
)

// server is a ResponseWriter with every optional method, which it records.
type server struct {
	header http.Header
	did    []string
	conn   net.Conn
	failed error // what Hijack and FlushError return
}

func (s *server) note(f string, args ...any) { s.did = append(s.did, fmt.Sprintf(f, args...)) }

func (s *server) Header() http.Header { return s.header }
func (s *server) WriteHeader(status int) {
	if status < 100 {
		panic("invalid status")
	}
	s.note("status %d", status)
}
func (s *server) Write(b []byte) (int, error)       { s.note("write %s", b); return len(b), nil }
func (s *server) WriteString(v string) (int, error) { s.note("string %s", v); return len(v), nil }
func (s *server) Flush()                            { s.note("flush") }
func (s *server) CloseNotify() <-chan bool          { s.note("notify"); return nil }
func (s *server) SetWriteDeadline(time.Time) error  { s.note("deadline"); return nil }

func (s *server) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	s.note("hijack")
	return s.conn, nil, s.failed
}

func (s *server) ReadFrom(r io.Reader) (int64, error) {
	b, err := io.ReadAll(r)
	s.note("read %s", b)
	return int64(len(b)), err
}

// only is a server that shows its plain methods.
type only struct{ s *server }

func (o only) Header() http.Header         { return o.s.Header() }
func (o only) WriteHeader(status int)      { o.s.WriteHeader(status) }
func (o only) Write(b []byte) (int, error) { return o.s.Write(b) }
func (o only) Unwrap() http.ResponseWriter { return deadliner(o) }

// deadliner is what ResponseController has to reach.
type deadliner struct{ s *server }

func (d deadliner) Header() http.Header                { return d.s.Header() }
func (d deadliner) WriteHeader(status int)             { d.s.WriteHeader(status) }
func (d deadliner) Write(b []byte) (int, error)        { return d.s.Write(b) }
func (d deadliner) SetWriteDeadline(t time.Time) error { return d.s.SetWriteDeadline(t) }

type (
	fl = http.Flusher
	hj = http.Hijacker
	rf = io.ReaderFrom
	cn = http.CloseNotifier //nolint:staticcheck // deprecated, and frameworks still assert it
)

// combination returns a writer on s with those of Flusher, Hijacker, ReaderFrom and CloseNotifier that b has a bit for.
func combination(b int, s *server) http.ResponseWriter {
	o := only{s}
	return []http.ResponseWriter{
		o,
		struct {
			only
			fl
		}{o, s},
		struct {
			only
			hj
		}{o, s},
		struct {
			only
			fl
			hj
		}{o, s, s},
		struct {
			only
			rf
		}{o, s},
		struct {
			only
			fl
			rf
		}{o, s, s},
		struct {
			only
			hj
			rf
		}{o, s, s},
		struct {
			only
			fl
			hj
			rf
		}{o, s, s, s},
		struct {
			only
			cn
		}{o, s},
		struct {
			only
			fl
			cn
		}{o, s, s},
		struct {
			only
			hj
			cn
		}{o, s, s},
		struct {
			only
			fl
			hj
			cn
		}{o, s, s, s},
		struct {
			only
			rf
			cn
		}{o, s, s},
		struct {
			only
			fl
			rf
			cn
		}{o, s, s, s},
		struct {
			only
			hj
			rf
			cn
		}{o, s, s, s},
		struct {
			only
			fl
			hj
			rf
			cn
		}{o, s, s, s, s},
	}[b]
}

// observe serves a request whose rule settles, and returns the outcome that it settled with.
func observe(t *testing.T, w http.ResponseWriter, handle http.HandlerFunc) (o guard.Outcome) {
	t.Helper()
	asked := 0
	h := wrap(t, halt.New(admitting(), nil), config{Rules: []rule{{Policy: perHour("api", 9), Key: everyone(), Settle: func(_ *http.Request, got guard.Outcome) int64 {
		o = got
		asked++
		return got.Reserved
	}}}}, handle)
	defer func() {
		if asked != 1 {
			t.Errorf("Settle was asked %d times", asked)
		}
	}()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	return o
}

func TestOptionalInterfacesAreThoseOfTheServer(t *testing.T) {
	for b := range 16 {
		t.Run(fmt.Sprintf("%04b", b), func(t *testing.T) {
			s := &server{header: http.Header{}}
			under := combination(b, s)
			observe(t, under, func(w http.ResponseWriter, _ *http.Request) {
				_, isF := w.(http.Flusher)
				_, isH := w.(http.Hijacker)
				_, isR := w.(io.ReaderFrom)
				_, isC := w.(cn)
				_, uF := under.(http.Flusher)
				_, uH := under.(http.Hijacker)
				_, uR := under.(io.ReaderFrom)
				_, uC := under.(cn)
				if isF != uF || isH != uH || isR != uR || isC != uC || uF != (b&1 != 0) || uH != (b&2 != 0) || uR != (b&4 != 0) || uC != (b&8 != 0) {
					t.Errorf("Flusher %v of %v, Hijacker %v of %v, ReaderFrom %v of %v, CloseNotifier %v of %v", isF, uF, isH, uH, isR, uR, isC, uC)
				}
				var want []string
				try := func(ok bool, what string, f func()) {
					if ok {
						f()
						want = append(want, what)
					}
				}
				try(isF, "flush", func() { w.(http.Flusher).Flush() })
				try(isR, "read body", func() { _, _ = w.(io.ReaderFrom).ReadFrom(strings.NewReader("body")) })
				try(isC, "notify", func() { w.(cn).CloseNotify() })
				try(isH, "hijack", func() { _, _, _ = w.(http.Hijacker).Hijack() })
				try(true, "write x", func() { _, _ = w.Write([]byte("x")) })
				try(true, "write y", func() { _, _ = io.WriteString(w, "y") })
				rc := http.NewResponseController(w)
				try(true, "deadline", func() {
					if err := rc.SetWriteDeadline(time.Time{}); err != nil {
						t.Errorf("ResponseController: %v", err)
					}
				})
				try(isF, "flush", func() {
					if err := rc.Flush(); err != nil {
						t.Errorf("ResponseController.Flush: %v", err)
					}
				})
				if err := rc.Flush(); !isF && !errors.Is(err, http.ErrNotSupported) {
					t.Errorf("ResponseController.Flush: %v", err)
				} else if isF {
					want = append(want, "flush")
				}
				if got := strings.Join(s.did, ", "); got != strings.Join(want, ", ") {
					t.Errorf("the server saw %s, want %s", got, want)
				}
			})
		})
	}
}

// flushFails is a writer whose FlushError says more than Flush can.
type flushFails struct{ *server }

func (f flushFails) FlushError() error { return f.failed }

func TestFlushErrorReachesTheController(t *testing.T) {
	gone := errors.New("client gone")
	observe(t, flushFails{&server{header: http.Header{}, failed: gone}}, func(w http.ResponseWriter, _ *http.Request) {
		if err := http.NewResponseController(w).Flush(); !errors.Is(err, gone) {
			t.Errorf("Flush returned %v, want %v", err, gone)
		}
	})
}

// readOnly hides a Reader's WriteTo, so that io.Copy takes ReadFrom.
func readOnly(s string) io.Reader { return struct{ io.Reader }{strings.NewReader(s)} }

func TestObservedStatus(t *testing.T) {
	for _, test := range []struct {
		name   string
		handle func(w http.ResponseWriter, s *server)
		want   int
	}{
		{"nothing written", func(http.ResponseWriter, *server) {}, 200},
		{"a header only", func(w http.ResponseWriter, _ *server) { w.Header().Set("X", "y") }, 200},
		{"written", func(w http.ResponseWriter, _ *server) { _, _ = w.Write(nil) }, 200},
		{"a status", func(w http.ResponseWriter, _ *server) { w.WriteHeader(401) }, 401},
		{"a status and a body", func(w http.ResponseWriter, _ *server) { w.WriteHeader(401); _, _ = w.Write([]byte("x")) }, 401},
		{"two: the first counts", func(w http.ResponseWriter, _ *server) { w.WriteHeader(401); w.WriteHeader(200) }, 401},
		{"a body, then a status: too late", func(w http.ResponseWriter, _ *server) { _, _ = w.Write([]byte("x")); w.WriteHeader(401) }, 200},
		{"a string, then a status", func(w http.ResponseWriter, _ *server) { _, _ = io.WriteString(w, "x"); w.WriteHeader(401) }, 200},
		{"flushed, then a status", func(w http.ResponseWriter, _ *server) { w.(http.Flusher).Flush(); w.WriteHeader(401) }, 200},
		{"flushed by the controller", func(w http.ResponseWriter, _ *server) {
			_ = http.NewResponseController(w).Flush()
			w.WriteHeader(401)
		}, 200},
		{"read from, then a status", func(w http.ResponseWriter, _ *server) { _, _ = io.Copy(w, readOnly("body")); w.WriteHeader(401) }, 200},
		{"a status, then read from", func(w http.ResponseWriter, _ *server) { w.WriteHeader(401); _, _ = io.Copy(w, readOnly("body")) }, 401},
		{"nothing to read, then a status", func(w http.ResponseWriter, _ *server) { _, _ = io.Copy(w, readOnly("")); w.WriteHeader(401) }, 401},
		{"informational, then a status", func(w http.ResponseWriter, _ *server) { w.WriteHeader(103); w.WriteHeader(100); w.WriteHeader(404) }, 404},
		{"informational alone", func(w http.ResponseWriter, _ *server) { w.WriteHeader(103) }, 200},
		{"switched", func(w http.ResponseWriter, _ *server) { w.WriteHeader(101) }, 101},
		{"hijacked", func(w http.ResponseWriter, _ *server) { _, _, _ = w.(http.Hijacker).Hijack() }, 101},
		{"hijacked by the controller", func(w http.ResponseWriter, _ *server) { _, _, _ = http.NewResponseController(w).Hijack() }, 101},
		{"hijacked after a status", func(w http.ResponseWriter, _ *server) { w.WriteHeader(401); _, _, _ = w.(http.Hijacker).Hijack() }, 401},
		{"hijacking fails", func(w http.ResponseWriter, s *server) {
			s.failed = http.ErrHijacked
			_, _, _ = w.(http.Hijacker).Hijack()
			w.WriteHeader(502)
		}, 502},
	} {
		s := &server{header: http.Header{}}
		got := observe(t, s, func(w http.ResponseWriter, _ *http.Request) { test.handle(w, s) })
		if got.Status != test.want || got.Err != nil || got.Reserved != 1 {
			t.Errorf("%s: settled with %+v, want status %d", test.name, got, test.want)
		}
	}
}

// What net/http's own server really sends is what is observed.
func TestObservedStatusIsWhatTheClientGot(t *testing.T) {
	for name, handle := range map[string]http.HandlerFunc{
		"none":        func(http.ResponseWriter, *http.Request) {},
		"late":        func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("x")); w.WriteHeader(401) },
		"empty write": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(nil); w.WriteHeader(401) },
		"empty copy": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.Copy(w, readOnly(""))
			w.WriteHeader(401)
		},
		"copy": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.Copy(w, readOnly("x"))
			w.WriteHeader(401)
		},
		"flush":       func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush(); w.WriteHeader(401) },
		"early hints": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(103); w.WriteHeader(401) },
		"twice":       func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204); w.WriteHeader(401) },
	} {
		t.Run(name, func(t *testing.T) {
			settled := make(chan int, 1)
			h := wrap(t, halt.New(admitting(), nil), config{Rules: []rule{{Policy: perHour("api", 9), Key: everyone(), Settle: func(_ *http.Request, o guard.Outcome) int64 {
				settled <- o.Status
				return 0
			}}}}, handle)
			s := httptest.NewUnstartedServer(h)
			s.Config.ErrorLog = discard
			s.Start()
			defer s.Close()
			resp, err := s.Client().Get(s.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if got := <-settled; got != resp.StatusCode {
				t.Errorf("settled with %d, the client got %d", got, resp.StatusCode)
			}
		})
	}
}
