package adaptertest

import (
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
	"github.com/halt-dev/halt/core/httpkit"
)

// Harness describes an adapter to the suite. R is the framework's request, such as *http.Request or *gin.Context; M its
// middleware; H the type of the adapter's OnDenied. All functions but Deadline are required. Those of the first group are
// the adapter's own, as it exports them.
type Harness[R, M, H any] struct {
	Limit func(*halt.Limiter, halt.Policy, guard.Key[R]) M
	// Middleware converts the Config to the adapter's own and passes it on:
	//
	//	func(l *halt.Limiter, c httpkit.Config[R, H]) M { return haltx.Middleware(l, haltx.Config(c)) }
	Middleware func(*halt.Limiter, httpkit.Config[R, H]) M
	By         func(kind string, f func(R) string) guard.Key[R]
	ByIP       func(trustedProxies ...netip.Prefix) guard.Key[R]
	ByAPIKey   func(header string) guard.Key[R]
	ByHeader   func(name string) guard.Key[R]
	ByRoute    func() guard.Key[R]
	Everyone   func() guard.Key[R]
	ChargeOn   func(status ...int) func(R, guard.Outcome) int64
	Paths      func(paths ...string) func(R) bool
	Verdict    func(R) guard.Verdict

	// Header returns a field of the request, "" if it is absent. It may alias the framework's buffers, and should, if
	// that's how the framework's users would read it: the suite checks that nothing of Halt's does.
	Header func(r R, name string) string
	// Body returns the request's body. Bodies of 8 MB are sent: raise the framework's limit, if it has one.
	Body func(R) io.Reader
	// OnDenied returns an OnDenied that answers a denied request with what f returns.
	OnDenied func(f func(R, guard.Denial) Reply) H

	// Serve mounts the site in the framework and returns its base URL, such as "http://127.0.0.1:4711". It listens on an
	// IPv4 loopback address and a free port, and stops in a clean-up of tb's, leaving no goroutine behind.
	//
	// Around everything comes a recovery that answers ErrorReply(500) to a panic. Nothing else may add header fields.
	Serve func(tb testing.TB, s Site[R, M]) string

	// Deadline returns a middleware that ends the request's context after d, as a server's own timeout does. nil: the
	// framework's requests have no context that a middleware could end.
	Deadline func(d time.Duration) M

	// Hijack: Serve honours Reply.Hijack. False where the framework isn't of the net/http family.
	Hijack bool
	// Disconnects: the context of a request ends when its client hangs up. Where a framework has no such signal, the suite
	// checks that the delay ends and what was in flight is given back; the handler may run.
	Disconnects bool
}

// Site is what a Harness serves: a framework's application with these middlewares and routes.
type Site[R, M any] struct {
	// Middlewares are around every request, that without a route included; the first is the outermost.
	Middlewares []M
	// Routes are all different. One of the method GET must not answer HEAD where there is another of HEAD.
	Routes []Route[R, M]
	// NotFound answers what matches no route.
	NotFound func(R) Reply
}

// Route is one route of a Site.
type Route[R, M any] struct {
	Method string
	// Path has wildcards of one segment as net/http has them, "/items/{id}"; see Colon.
	Path string
	// Middlewares are around this route alone; the first is the outermost.
	Middlewares []M
	// Handle is the handler: it returns what to answer. It may panic, and it may block.
	Handle func(R) Reply
}

// Reply is an answer, as plain data. The zero Reply is that of a handler which writes nothing.
type Reply struct {
	Status int         // 0: left unset
	Fields [][2]string // header fields, in canonical form
	Body   string
	// Error: where handlers return errors, this one returns an error of the framework's with this Status, and the
	// framework's error handler, which is the harness's to set, answers ErrorReply(Status). Elsewhere it is written like any.
	Error bool
	// Stream, if set, writes the body instead. flush sends what was written so far. What it is given is valid until it
	// returns.
	Stream func(w io.Writer, flush func())
	// Hijack, if set, takes over the connection instead of all else, and closes it. Only if Harness.Hijack.
	Hijack func(conn io.ReadWriteCloser)
}

// ErrorReply is how the suite's sites answer errors, panics and unknown paths.
func ErrorReply(status int) Reply {
	return Text(status, http.StatusText(status)+"\n").withError()
}

// Text is a reply of plain text.
func Text(status int, body string) Reply {
	return Reply{Status: status, Fields: [][2]string{{"Content-Type", "text/plain; charset=utf-8"}}, Body: body}
}

func (p Reply) withError() Reply {
	p.Error = true
	return p
}

// Colon returns a Route's path in the form of the frameworks that write wildcards with a colon: "/items/:id".
func Colon(path string) string {
	return strings.NewReplacer("{", ":", "}", "").Replace(path)
}
