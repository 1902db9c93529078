package adaptertest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"slices"
	"strconv"
	"strings"
	"time"
)

// client speaks HTTP/1.1 by hand, so that it sees an answer's bytes as they are: names as they are spelled, fields that
// come twice, bodies where none should be. It keeps its connection, and is not safe for concurrent use.
type client struct {
	addr     string
	patience time.Duration
	conn     net.Conn
	r        *bufio.Reader
}

func newClient(url string, patience time.Duration) *client {
	return &client{addr: strings.TrimPrefix(url, "http://"), patience: patience}
}

// another returns a client with a connection of its own.
func (c *client) another() *client { return &client{addr: c.addr, patience: c.patience} }

// answer is a response without what belongs to the transport.
type answer struct {
	status string   // such as "200 OK"
	fields []string // "Name: value", sorted
	body   string
}

func (a *answer) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "< %s\n", a.status)
	for _, f := range a.fields {
		fmt.Fprintf(&b, "< %s\n", f)
	}
	if a.body != "" {
		b.WriteString("<\n")
		for line := range strings.Lines(a.body) {
			b.WriteString("< " + strings.TrimSuffix(line, "\n"))
			if !strings.HasSuffix(line, "\n") {
				b.WriteString(" (no newline)")
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

// unexpected is the error of an answer that is not what it should be, or of none.
func unexpected(what string, a *answer, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s: answered\n%v", what, a)
}

// field returns the value of a field, "" if there is none.
func (a *answer) field(name string) string {
	for _, f := range a.fields {
		if v, ok := strings.CutPrefix(f, name+": "); ok {
			return v
		}
	}
	return ""
}

func (c *client) close() {
	if c.conn != nil {
		_ = c.conn.Close() // it is done with
		c.conn = nil
	}
}

// connect makes sure that there is a connection, with time for one request.
func (c *client) connect() error {
	if c.conn == nil {
		conn, err := net.Dial("tcp", c.addr)
		if err != nil {
			return err
		}
		c.conn, c.r = conn, bufio.NewReader(conn)
	}
	return c.conn.SetDeadline(time.Now().Add(c.patience))
}

// do sends a request and reads its answer. fields are "Name: value".
func (c *client) do(method, path string, fields []string, body string) (*answer, error) {
	if err := c.send(method, path, fields, body); err != nil {
		return nil, err
	}
	return c.read(method)
}

func (c *client) get(path string, fields ...string) (*answer, error) {
	return c.do("GET", path, fields, "")
}

func (c *client) send(method, path string, fields []string, body string) error {
	if err := c.connect(); err != nil {
		return err
	}
	_, err := io.WriteString(c.conn, request(method, path, fields, body))
	return err
}

// request returns the bytes of a request.
func request(method, path string, fields []string, body string) string {
	lines := append([]string{method + " " + path + " HTTP/1.1", "Host: halt.test"}, fields...)
	if body != "" {
		lines = append(lines, "Content-Length: "+strconv.Itoa(len(body)))
	}
	return strings.Join(lines, "\r\n") + "\r\n\r\n" + body
}

// read reads a whole answer.
func (c *client) read(method string) (*answer, error) {
	a, body, err := c.head(method)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(body)
	a.body = string(b)
	return a, err
}

// head reads an answer up to its body, and returns that as a reader.
func (c *client) head(method string) (*answer, io.Reader, error) {
	line, err := c.line()
	if err != nil {
		return nil, nil, fmt.Errorf("reading a status line: %w", err)
	}
	status, ok := strings.CutPrefix(line, "HTTP/1.1 ")
	if !ok || len(status) < 3 {
		return nil, nil, fmt.Errorf("%q is no status line", line)
	}
	a := &answer{status: status}
	length, chunked, last := int64(-1), false, false
	for {
		if line, err = c.line(); err != nil {
			return nil, nil, fmt.Errorf("reading header fields: %w", err)
		}
		if line == "" {
			break
		}
		name, value, _ := strings.Cut(line, ": ")
		switch name {
		case "Date":
		case "Content-Length":
			if length, err = strconv.ParseInt(value, 10, 64); err != nil {
				return nil, nil, err
			}
		case "Transfer-Encoding":
			chunked = true
		case "Connection":
			last = value == "close"
		default:
			a.fields = append(a.fields, line)
		}
	}
	slices.Sort(a.fields)
	switch {
	case method == "HEAD" || status[0] == '1' || status[:3] == "204" || status[:3] == "304":
		return a, strings.NewReader(""), nil
	case chunked:
		return a, &chunks{c: c, r: httputil.NewChunkedReader(c.r)}, nil
	case length < 0 || last:
		return a, &rest{c: c, length: length}, nil
	default:
		return a, &exactly{io.LimitedReader{R: c.r, N: length}}, nil
	}
}

func (c *client) line() (string, error) {
	line, err := c.r.ReadString('\n')
	return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), err
}

// chunks reads a chunked body and the end of its trailer.
type chunks struct {
	c *client
	r io.Reader
}

func (b *chunks) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if errors.Is(err, io.EOF) {
		if _, e := b.c.line(); e != nil {
			err = io.ErrUnexpectedEOF
		}
	}
	return n, err
}

// rest reads a body that ends with its connection, and closes that.
type rest struct {
	c      *client
	length int64 // -1: not told
	read   int64
}

func (b *rest) Read(p []byte) (int, error) {
	n, err := b.c.r.Read(p)
	b.read += int64(n)
	if errors.Is(err, io.EOF) {
		b.c.close()
		if b.length >= 0 && b.read != b.length {
			err = io.ErrUnexpectedEOF
		}
	}
	return n, err
}

// exactly reads a body of known length.
type exactly struct{ io.LimitedReader }

func (b *exactly) Read(p []byte) (int, error) {
	n, err := b.LimitedReader.Read(p)
	if b.N > 0 && errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
