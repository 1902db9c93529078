package haltgqlgen

import (
	"context"
	"net/http"
	"strings"
)

// Handler wraps gqlgen's server, or whatever handler stands around it, so that rules know the client's address and the
// HTTP request, and refusals have a status and header fields:
//
//	http.Handle("/query", haltgqlgen.Handler(srv))
//
// What can still be told depends on the transport. An operation that is refused over POST, GET, multipart forms or
// multipart/mixed is answered with the Denial's status, 429 mostly, and all header fields. Over server-sent events
// gqlgen sends the header before it executes anything: the status is 200, but the fields are there. Over a websocket
// there is nothing but frames.
//
// The ResponseWriter is passed on as it is.
func Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := &request{Context: r.Context(), w: w, websocket: r.Header.Get("Upgrade") != ""}
		q.events = !q.websocket && r.Method == http.MethodPost && strings.Contains(r.Header.Get("Accept"), eventStream)
		q.r = r.WithContext(q)
		defer q.end()
		next.ServeHTTP(w, q.r)
	})
}

const eventStream = "text/event-stream"

// request is the context of a request that Handler has seen.
type request struct {
	context.Context
	w         http.ResponseWriter
	r         *http.Request
	websocket bool
	events    bool         // it asks for server-sent events
	early     []*Operation // decided before the header is sent, and not executed yet
}

type requestKey struct{}

// Value returns q itself for its key.
func (q *request) Value(key any) any {
	if key == (requestKey{}) {
		return q
	}
	return q.Context.Value(key)
}

func requestOf(ctx context.Context) *request {
	q, _ := ctx.Value(requestKey{}).(*request)
	return q
}

// take returns the operation that an extension has decided early, if there is one.
func (q *request) take(e *extension) *Operation {
	if q == nil {
		return nil
	}
	for i, o := range q.early {
		if o != nil && o.ext == e {
			q.early[i] = nil
			return o
		}
	}
	return nil
}

// end settles operations that were decided early and then refused by somebody else.
func (q *request) end() {
	for _, o := range q.early {
		if o != nil {
			o.settle(Outcome{Status: http.StatusInternalServerError})
		}
	}
}

// refuse writes a refusal's status, if the header isn't on its way.
func (q *request) refuse(status int) {
	if q == nil || q.websocket || strings.HasPrefix(q.w.Header().Get("Content-Type"), eventStream) {
		return
	}
	q.w.WriteHeader(status)
}

// header returns where header fields are written.
func (q *request) header() responseHeader {
	if q == nil || q.websocket {
		return nowhere{}
	}
	return q.w.Header()
}

type responseHeader interface {
	Get(key string) string
	Set(key, value string)
}

// nowhere is the header of a response that has none.
type nowhere struct{}

func (nowhere) Get(string) string  { return "" }
func (nowhere) Set(string, string) {}
