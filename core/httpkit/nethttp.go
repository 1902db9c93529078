package httpkit

import (
	"net/http"
	"strings"

	"github.com/halt-dev/halt/core/guard"
)

// NetHTTP returns the Framework of net/http requests, for halthttp and for frameworks that handle them; route finds the
// pattern of a request's route.
func NetHTTP(route func(*http.Request) string) Framework[*http.Request] {
	return Framework[*http.Request]{
		Method: func(r *http.Request) string { return r.Method },
		Path:   RequestPath,
		Route:  route,
		Remote: func(r *http.Request) string { return r.RemoteAddr },
		Header: RequestHeader,
	}
}

// RequestPath is a Framework's Path for what has a net/http request: the path as it was sent where that is not the usual
// spelling, since routers may tell /a%2Fb from /a/b.
func RequestPath(r *http.Request) string {
	if r.URL.RawPath != "" {
		return r.URL.RawPath
	}
	return r.URL.Path
}

// RequestHeader is a Framework's Header for what has a net/http request.
func RequestHeader(r *http.Request, name string) (value string, lines int) {
	if name == "Host" && r.Host != "" {
		return r.Host, 1 // net/http keeps it apart
	}
	switch all := r.Header[name]; len(all) {
	case 0:
		return "", 0
	case 1:
		return all[0], 1
	default:
		return strings.Join(all, ", "), len(all)
	}
}

// Wrap returns the middleware of a kit for net/http handlers. denied answers denied requests, after the header fields
// are set; nil: with a [Problem].
//
// The handler gets the ResponseWriter that the server gave, unless a rule of the kit has a Settle: then one that
// observes the status, and is a Flusher, Hijacker, ReaderFrom and CloseNotifier exactly if the server's is.
func Wrap(k *Kit[*http.Request], denied func(http.ResponseWriter, *http.Request, guard.Denial)) func(http.Handler) http.Handler {
	if denied == nil {
		denied = writeProblem
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p := k.Enter(r.Context(), r, w.Header())
			if p == nil {
				next.ServeHTTP(w, r)
				return
			}
			outcome := guard.Outcome{Status: http.StatusInternalServerError} // what a panic settles as
			defer func() { p.Leave(outcome) }()
			if !p.Admitted() {
				d, _ := p.Denied()
				denied(w, r, d)
				return
			}
			if err := p.Wait(); err != nil {
				outcome = guard.Outcome{Status: guard.StatusClientClosed, Err: err}
				// Somebody reads it only if it was a deadline of the server's own that has passed.
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			if k.attach {
				r = r.WithContext(p.Context())
			}
			if !k.settles {
				next.ServeHTTP(w, r)
				outcome.Status = http.StatusOK // nobody asks
				return
			}
			o := &observer{ResponseWriter: w}
			next.ServeHTTP(o.wrap(), r)
			outcome.Status = o.final()
		})
	}
}

// writeProblem answers a denied request with its status and a [Problem].
func writeProblem(w http.ResponseWriter, _ *http.Request, d guard.Denial) {
	w.Header().Set("Content-Type", ProblemType)
	w.WriteHeader(d.Status())
	_, _ = w.Write(Problem(d)) // the client may be gone
}
