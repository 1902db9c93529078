package haltgqlgen_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/handler/extension"
	"github.com/99designs/gqlgen/graphql/handler/lru"
	"github.com/99designs/gqlgen/graphql/handler/transport"
	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/vektah/gqlparser/v2/gqlerror"

	haltgqlgen "github.com/halt-dev/halt/adapters/gqlgen"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

// listen serves the site on the loopback.
func (s *site) listen(t *testing.T) string {
	t.Helper()
	srv := httptest.NewServer(s.handler)
	t.Cleanup(srv.Close)
	return srv.URL
}

// frame is a message of graphql-transport-ws.
type frame struct {
	ID      string          `json:"id,omitempty"`
	Type    string          `json:"type"`
	Payload json.RawMessage `json:"payload,omitempty"`
}

// socket is a client's connection.
type socket struct {
	*websocket.Conn
	ctx context.Context
}

// dial opens a websocket and initialises it.
func dial(t *testing.T, url string) *socket {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	c, _, err := websocket.Dial(ctx, strings.Replace(url, "http", "ws", 1), &websocket.DialOptions{Subprotocols: []string{"graphql-transport-ws"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	s := &socket{c, ctx}
	s.write(t, frame{Type: "connection_init"})
	if f := s.read(t); f.Type != "connection_ack" {
		t.Fatalf("%+v", f)
	}
	return s
}

func (s *socket) write(t *testing.T, f frame) {
	t.Helper()
	if err := wsjson.Write(s.ctx, s.Conn, f); err != nil {
		t.Fatal(err)
	}
}

func (s *socket) read(t *testing.T) (f frame) {
	t.Helper()
	for {
		if err := wsjson.Read(s.ctx, s.Conn, &f); err != nil {
			t.Fatal(err)
		}
		if f.Type != "ping" && f.Type != "pong" {
			return f
		}
	}
}

func (s *socket) subscribe(t *testing.T, id, query string) {
	t.Helper()
	payload, err := json.Marshal(map[string]string{"query": query})
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, frame{ID: id, Type: "subscribe", Payload: payload})
}

// TestWebsocket: each operation of a connection pays, by its peer's address; a refusal is an answer with errors, then the
// end of that operation, and the connection goes on.
func TestWebsocket(t *testing.T) {
	p := policy("api", 2)
	s := newSite(t, haltgqlgen.Config{Rules: []haltgqlgen.Rule{{Policy: p, Key: haltgqlgen.ByIP()}}})
	c := dial(t, s.listen(t))
	for i, want := range []string{`{"data":{"need":1}}`, `{"data":{"ticks":1}}`, "RATE_LIMITED"} {
		query := `{need}`
		if i == 1 {
			query = `subscription {ticks(count: 1)}`
		}
		c.subscribe(t, "x", query)
		if f := c.read(t); f.Type != "next" || !strings.Contains(string(f.Payload), want) {
			t.Errorf("%d: %s %s", i, f.Type, f.Payload)
		}
		if f := c.read(t); f.Type != "complete" {
			t.Errorf("%d: %+v", i, f)
		}
	}
	if n := s.spent(t, p, "ip:127.0.0.1"); n != 2 || s.Total() != 2 {
		t.Errorf("spent %d, %d calls", n, s.Total())
	}
}

// TestWebsocketReadLoop: a delay and a pause hold up nobody else on the connection.
func TestWebsocketReadLoop(t *testing.T) {
	queue := halt.Policy{Name: "queue", Algorithm: halt.LeakyBucket, Limit: 1, Window: time.Hour, Burst: 10}
	s := newSite(t, haltgqlgen.Config{
		Rules:  []haltgqlgen.Rule{{Policy: queue, Key: haltgqlgen.Everyone(), Names: []string{"Slow"}}},
		Events: &haltgqlgen.Events{Policy: policy("events", 1), Key: haltgqlgen.Everyone()},
	})
	c := dial(t, s.listen(t))
	c.subscribe(t, "first", `query Slow {need}`) // spends what can go at once
	if f := c.read(t); f.Type != "next" {
		t.Fatalf("%+v", f)
	}
	c.read(t)
	c.subscribe(t, "delayed", `query Slow {need}`)
	c.subscribe(t, "paused", `subscription {ticks(count: 5)}`)
	if f := c.read(t); f.ID != "paused" || f.Type != "next" {
		t.Fatalf("%+v", f)
	}
	for range 3 {
		c.subscribe(t, "quick", `{need}`)
		for _, want := range []string{"next", "complete"} {
			if f := c.read(t); f.ID != "quick" || f.Type != want {
				t.Fatalf("%+v", f)
			}
		}
	}
	c.write(t, frame{ID: "paused", Type: "complete"})
	c.write(t, frame{ID: "delayed", Type: "complete"})
	for range 2 { // gqlgen answers what is cancelled; the delayed one with an error before
		f := c.read(t)
		if f.Type == "next" && f.ID == "delayed" {
			f = c.read(t)
		}
		if f.Type != "complete" || f.ID == "quick" {
			t.Errorf("%+v %s", f, f.Payload)
		}
	}
	if n := s.Calls("Query.need"); n != 4 {
		t.Errorf("%d calls", n)
	}
}

// TestSSE: the header fields are there before the stream, its status is 200, and the refusal is its only event.
func TestSSE(t *testing.T) {
	p := policy("api", 1)
	s := newSite(t, haltgqlgen.Config{Rules: []haltgqlgen.Rule{{Policy: p, Key: haltgqlgen.ByIP()}}, Attach: true})
	url := s.listen(t)
	for i, want := range []string{`data: {"data":{"ticks":1}}`, "RATE_LIMITED"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(`{"query": "subscription {ticks(count: 1)}"}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept", "text/event-stream")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != 200 || !strings.Contains(string(b), want) || !strings.Contains(string(b), "event: complete") {
			t.Errorf("%d %s %v", resp.StatusCode, b, err)
		}
		if resp.Header.Get("RateLimit") == "" || (resp.Header.Get("Retry-After") != "") != (i == 1) {
			t.Errorf("%v", resp.Header)
		}
	}
	if n := s.spent(t, p, "ip:127.0.0.1"); n != 1 || s.Total() != 1 {
		t.Errorf("spent %d, %d calls", n, s.Total())
	}
}

// TestNoSSE: who asks for events where POST answers gets the status.
func TestNoSSE(t *testing.T) {
	s := bareSite(t, noPrices)
	s.srv = rebuilt(t, s, transport.GET{}, transport.POST{})
	s.handler = haltgqlgen.Handler(s.srv)
	p := policy("api", 1)
	s.limiter = halt.New(memory.New(nil), nil)
	s.srv.Use(haltgqlgen.Operations(s.limiter, withPolicies(t, haltgqlgen.Config{Rules: []haltgqlgen.Rule{{Policy: p, Key: haltgqlgen.ByIP()}}})))
	for _, want := range []int{200, 429} {
		r := request(t, `{need}`, nil)
		r.Header.Set("Accept", "text/event-stream")
		if a := s.send(t, r); a.Status != want || a.Header.Get("RateLimit") == "" {
			t.Errorf("%d %v %s", a.Status, a.Header, a.Body)
		}
	}
	r := get(t, `mutation {login(email: "", password: "")}`)
	r.Header.Set("Accept", "text/event-stream")
	if a := s.send(t, r); a.Status != 406 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}

// TestSSEGone: a client that goes away gives its place in flight back, although gqlgen asks for no further answer.
func TestSSEGone(t *testing.T) {
	p := halt.Policy{Name: "streams", Algorithm: halt.InFlight, Limit: 1, Window: time.Minute}
	settled := make(chan struct{}, 1)
	l := halt.New(memory.New(nil), &halt.Options{Observers: []halt.Observer{observer(func(e *halt.Event) {
		if e.Charges[0].Mode == halt.Credit {
			settled <- struct{}{}
		}
	})}})
	s := newSiteOn(t, l, haltgqlgen.Config{Rules: []haltgqlgen.Rule{{Policy: p, Key: haltgqlgen.Everyone()}}})
	s.Events = make(chan int)
	url := s.listen(t)
	ctx, gone := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(`{"query": "subscription {news}"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	s.Events <- 1
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "data:") {
			break
		}
	}
	if n := s.spent(t, p, everyone); n != 1 {
		t.Errorf("%d inside", n)
	}
	gone()
	<-settled
	if n := s.spent(t, p, everyone); n != 0 {
		t.Errorf("%d inside", n)
	}
}

// TestRefusedByAnother: an operation that is decided early, for the sake of an event stream's header, and then refused by
// another extension, gives back what it holds.
func TestRefusedByAnother(t *testing.T) {
	p := halt.Policy{Name: "streams", Algorithm: halt.InFlight, Limit: 1, Window: time.Minute}
	s := newSite(t, haltgqlgen.Config{Rules: []haltgqlgen.Rule{{Policy: p, Key: haltgqlgen.Everyone()}}})
	s.srv.Use(mutator{})
	for range 2 {
		r := request(t, `subscription {news}`, nil)
		r.Header.Set("Accept", "text/event-stream")
		if a := s.send(t, r); !strings.Contains(a.Body, "not today") || s.Total() != 0 {
			t.Errorf("%s", a.Body)
		}
		if n := s.spent(t, p, everyone); n != 0 {
			t.Errorf("%d inside", n)
		}
	}
}

type mutator struct{}

func (mutator) ExtensionName() string                   { return "Mutator" }
func (mutator) Validate(graphql.ExecutableSchema) error { return nil }
func (mutator) MutateOperationContext(context.Context, *graphql.OperationContext) *gqlerror.Error {
	return gqlerror.Errorf("not today")
}

// TestMultipartMixed: deferred answers are one operation, and its refusal has a status.
func TestMultipartMixed(t *testing.T) {
	p := policy("api", 1)
	s := newSite(t, haltgqlgen.Config{Rules: []haltgqlgen.Rule{{Policy: p, Key: haltgqlgen.Everyone()}}})
	for _, want := range []int{200, 429} {
		r := request(t, `{user(id: 1) {id ... @defer {posts {id}}}}`, nil)
		r.Header.Set("Accept", "multipart/mixed")
		if a := s.send(t, r); a.Status != want || strings.Contains(a.Body, "RATE_LIMITED") != (want == 429) {
			t.Errorf("%d %s", a.Status, a.Body)
		}
	}
}

// TestNothingIsPaid: what gqlgen refuses by itself is not charged, and reaches no resolver.
func TestNothingIsPaid(t *testing.T) {
	p := policy("api", 100)
	s := newSite(t, haltgqlgen.Config{Rules: []haltgqlgen.Rule{{Policy: p, Key: haltgqlgen.Everyone()}}})
	post := func(body string) *http.Request {
		r := request(t, "", nil)
		r.Body = io.NopCloser(strings.NewReader(body))
		return r
	}
	for name, c := range map[string]struct {
		r      *http.Request
		status int
	}{
		"a batch":           {post(`[{"query": "{need}"}, {"query": "{need}"}]`), 400},
		"no JSON":           {post(`{"query`), 400},
		"no GraphQL":        {request(t, `{need`, nil), 422},
		"an unknown field":  {request(t, `{nothing}`, nil), 422},
		"a wrong variable":  {request(t, `query($n: Int!) {users(first: $n) {id}}`, map[string]any{"n": "x"}), 422},
		"a cycle":           {request(t, `{...F} fragment F on Query {...F}`, nil), 422},
		"no operation":      {request(t, ``, nil), 422},
		"an empty batch":    {post(`[]`), 400},
		"a mutation by GET": {get(t, `mutation {login(email: "", password: "")}`), 406},
	} {
		if a := s.send(t, c.r); a.Status != c.status {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
		if n := s.spent(t, p, everyone); n != 0 || s.Total() != 0 {
			t.Errorf("%s: spent %d, %d calls", name, n, s.Total())
		}
	}
}

// TestPersistedQueries: a hash that the server doesn't know costs nothing, the query that follows once, and so does each
// known hash.
func TestPersistedQueries(t *testing.T) {
	p := policy("api", 2)
	s := newSite(t, haltgqlgen.Config{Rules: []haltgqlgen.Rule{{Policy: p, Key: haltgqlgen.Everyone()}}})
	s.srv.Use(extension.AutomaticPersistedQuery{Cache: lru.New[string](10)})
	const hash = `"extensions": {"persistedQuery": {"version": 1, "sha256Hash": "32f2de9f5fe2e1e5b8d3a5b5dd9a4b0d4a0c9a1f4e4e5c0b8f2d5f7d6b9b1a0c"}}`
	send := func(body string) *answer {
		r := request(t, "", nil)
		r.Body = io.NopCloser(strings.NewReader(body))
		return s.send(t, r)
	}
	known := strings.Replace(hash, "32f2de9f5fe2e1e5b8d3a5b5dd9a4b0d4a0c9a1f4e4e5c0b8f2d5f7d6b9b1a0c", sha("{need}"), 1)
	for i, c := range []struct {
		body, has string
		spent     int64
	}{
		{`{` + known + `}`, "PERSISTED_QUERY_NOT_FOUND", 0},
		{`{"query": "{need}", ` + known + `}`, `"need":1`, 1},
		{`{` + known + `}`, `"need":1`, 2},
		{`{` + hash + `}`, "PERSISTED_QUERY_NOT_FOUND", 2},
		{`{` + known + `}`, "RATE_LIMITED", 2},
		{`{"query": "{a: need}", ` + known + `}`, "hash does not match", 2},
	} {
		if a := send(c.body); !strings.Contains(a.Body, c.has) || s.spent(t, p, everyone) != c.spent {
			t.Errorf("%d: spent %d: %s", i, s.spent(t, p, everyone), a.Body)
		}
	}
}

// TestInitFuncOfItsOwn: a websocket whose InitFunc returns another context has no address, and nobody is let through.
func TestInitFuncOfItsOwn(t *testing.T) {
	s := bareSite(t, noPrices)
	s.srv = rebuilt(t, s, transport.Websocket{InitFunc: func(context.Context, transport.InitPayload) (context.Context, *transport.InitPayload, error) {
		return context.Background(), nil, nil
	}})
	s.handler = haltgqlgen.Handler(s.srv)
	s.srv.Use(haltgqlgen.Operations(halt.New(memory.New(nil), nil), withPolicies(t, haltgqlgen.Config{
		Rules: []haltgqlgen.Rule{{Policy: policy("api", 1), Key: haltgqlgen.ByIP()}},
	})))
	c := dial(t, s.listen(t))
	c.subscribe(t, "x", `{need}`)
	if f := c.read(t); !strings.Contains(string(f.Payload), haltgqlgen.CodeKeyMissing) || s.Total() != 0 {
		t.Errorf("%s", f.Payload)
	}
}
