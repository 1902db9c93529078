package httpkit

import (
	"bufio"
	"io"
	"net"
	"net/http"
)

// observer is a ResponseWriter that remembers the status.
type observer struct {
	http.ResponseWriter
	status int
}

func (o *observer) WriteHeader(status int) {
	// 1xx are not final, but that a switch of protocols ends HTTP.
	if o.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		o.status = status
	}
	o.ResponseWriter.WriteHeader(status)
}

func (o *observer) Write(b []byte) (int, error) {
	o.commit()
	return o.ResponseWriter.Write(b)
}

// WriteString spares io.WriteString a copy where the server's writer does.
func (o *observer) WriteString(s string) (int, error) {
	o.commit()
	return io.WriteString(o.ResponseWriter, s)
}

// commit notes the status that a response has which starts without WriteHeader.
func (o *observer) commit() {
	if o.status == 0 {
		o.status = http.StatusOK
	}
}

// Unwrap is for http.ResponseController.
func (o *observer) Unwrap() http.ResponseWriter { return o.ResponseWriter }

// final returns the status that the client got: 200 if the handler wrote none.
func (o *observer) final() int {
	if o.status == 0 {
		return http.StatusOK
	}
	return o.status
}

// flusher commits the response.
type flusher struct{ o *observer }

func (f flusher) Flush() {
	f.o.commit()
	f.o.ResponseWriter.(http.Flusher).Flush()
}

// FlushError is what http.ResponseController prefers.
func (f flusher) FlushError() error {
	f.o.commit()
	return http.NewResponseController(f.o.ResponseWriter).Flush()
}

// reader commits the response as soon as there is something to read.
type reader struct{ o *observer }

func (r reader) ReadFrom(src io.Reader) (int64, error) {
	n, err := r.o.ResponseWriter.(io.ReaderFrom).ReadFrom(src)
	if n > 0 {
		r.o.commit()
	}
	return n, err
}

// hijacker remembers that the connection has left HTTP.
type hijacker struct{ o *observer }

func (h hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := h.o.ResponseWriter.(http.Hijacker).Hijack()
	if err == nil && h.o.status == 0 {
		h.o.status = http.StatusSwitchingProtocols
	}
	return c, rw, err
}

// wrap returns the observer with exactly those optional interfaces that its ResponseWriter has: handlers and
// frameworks ask for them by type assertion, and each either works or is seen not to.
func (o *observer) wrap() http.ResponseWriter {
	_, isF := o.ResponseWriter.(http.Flusher)
	_, isH := o.ResponseWriter.(http.Hijacker)
	_, isR := o.ResponseWriter.(io.ReaderFrom)
	c, isC := o.ResponseWriter.(http.CloseNotifier) //nolint:staticcheck // deprecated, and frameworks still assert it
	f, h, r := flusher{o}, hijacker{o}, reader{o}

	type closing = http.CloseNotifier //nolint:staticcheck // see above
	switch b := bit(isF, 1) | bit(isH, 2) | bit(isR, 4) | bit(isC, 8); b {
	case 1:
		return struct {
			*observer
			flusher
		}{o, f}
	case 2:
		return struct {
			*observer
			hijacker
		}{o, h}
	case 3:
		return struct {
			*observer
			flusher
			hijacker
		}{o, f, h}
	case 4:
		return struct {
			*observer
			reader
		}{o, r}
	case 5:
		return struct {
			*observer
			flusher
			reader
		}{o, f, r}
	case 6:
		return struct {
			*observer
			hijacker
			reader
		}{o, h, r}
	case 7:
		return struct {
			*observer
			flusher
			hijacker
			reader
		}{o, f, h, r}
	case 8:
		return struct {
			*observer
			closing
		}{o, c}
	case 9:
		return struct {
			*observer
			flusher
			closing
		}{o, f, c}
	case 10:
		return struct {
			*observer
			hijacker
			closing
		}{o, h, c}
	case 11:
		return struct {
			*observer
			flusher
			hijacker
			closing
		}{o, f, h, c}
	case 12:
		return struct {
			*observer
			reader
			closing
		}{o, r, c}
	case 13:
		return struct {
			*observer
			flusher
			reader
			closing
		}{o, f, r, c}
	case 14:
		return struct {
			*observer
			hijacker
			reader
			closing
		}{o, h, r, c}
	case 15:
		return struct {
			*observer
			flusher
			hijacker
			reader
			closing
		}{o, f, h, r, c}
	default:
		return o
	}
}

func bit(set bool, b int) int {
	if set {
		return b
	}
	return 0
}
