package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"

	"github.com/valyala/fasthttp"
)

// clients is how many addresses the requests of a measurement come from, and how many requests pass between two looks at
// the clock.
const clients = 64

// A server is what a handler made, called in process.
type server interface {
	// round prepares a request of each client, beginning with one of them.
	round(first int) round
	// status is that of the answer to one request of the client.
	status(client int) int
}

// A round is a request of each client. Each has a response of its own, which is emptied between the rounds, while the clock
// stands still: a handler pays for the headers that it sets, as it does in a server, and not for our tidying up after them.
type round interface {
	serve()
	empty()
	// check tells what is wrong with the answers: each is a 204, with rate-limit headers or without any.
	check(headers bool) error
}

// httpServer is a server of net/http's kind.
type httpServer struct{ http.Handler }

// A sink is a response writer that keeps the headers and the status and drops the rest.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(status int)      { s.status = status }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }

type httpRound struct {
	handler  http.Handler
	sinks    [clients]sink
	requests [clients]*http.Request
}

func request(client int) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/items", nil)
	r.RemoteAddr = "192.0.2." + strconv.Itoa(client+1) + ":40000"
	return r
}

func (s httpServer) status(client int) int {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, request(client))
	return w.Code
}

func (s httpServer) round(first int) round {
	r := &httpRound{handler: s.Handler}
	for i := range clients {
		r.sinks[i].header = make(http.Header, 8)
		r.requests[i] = request((first + i) % clients)
	}
	return r
}

func (r *httpRound) serve() {
	for i := range r.sinks {
		r.handler.ServeHTTP(&r.sinks[i], r.requests[i])
	}
}

func (r *httpRound) empty() {
	for i := range r.sinks {
		clear(r.sinks[i].header)
		r.sinks[i].status = 0
	}
}

func (r *httpRound) check(headers bool) error {
	for i := range r.sinks {
		if s := &r.sinks[i]; s.status != http.StatusNoContent || headers != (len(s.header) >= 2) {
			return fmt.Errorf("answered %d with the headers %v", s.status, s.header)
		}
	}
	return nil
}

// fastServer is a server of fasthttp's kind, whose contexts are reused, as its own server does.
type fastServer fasthttp.RequestHandler

type fastRound struct {
	handler  fasthttp.RequestHandler
	contexts [clients]fasthttp.RequestCtx
}

func fastRequest(c *fasthttp.RequestCtx, client int) {
	var r fasthttp.Request
	r.Header.SetMethod(http.MethodGet)
	r.SetRequestURI("/items")
	r.Header.SetHost("example.com")
	c.Init(&r, &net.TCPAddr{IP: net.IPv4(192, 0, 2, byte(client+1)), Port: 40000}, nil)
}

func (s fastServer) status(client int) int {
	var c fasthttp.RequestCtx
	fastRequest(&c, client)
	s(&c)
	return c.Response.StatusCode()
}

func (s fastServer) round(first int) round {
	r := &fastRound{handler: fasthttp.RequestHandler(s)}
	for i := range clients {
		fastRequest(&r.contexts[i], (first+i)%clients)
	}
	return r
}

func (r *fastRound) serve() {
	for i := range r.contexts {
		r.handler(&r.contexts[i])
	}
}

func (r *fastRound) empty() {
	for i := range r.contexts {
		r.contexts[i].Response.Reset()
		r.contexts[i].ResetUserValues()
	}
}

func (r *fastRound) check(headers bool) error {
	for i := range r.contexts {
		response := &r.contexts[i].Response
		n := 0
		response.Header.VisitAll(func(key, _ []byte) {
			if k := string(key); k != fasthttp.HeaderContentType && k != fasthttp.HeaderContentLength && k != fasthttp.HeaderServer {
				n++
			}
		})
		if response.StatusCode() != http.StatusNoContent || headers != (n >= 2) {
			return fmt.Errorf("answered %s", response.Header.String())
		}
	}
	return nil
}
