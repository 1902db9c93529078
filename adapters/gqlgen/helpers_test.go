package haltgqlgen_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/handler"
	"github.com/99designs/gqlgen/graphql/handler/extension"
	"github.com/99designs/gqlgen/graphql/handler/transport"

	haltgqlgen "github.com/halt-dev/halt/adapters/gqlgen"
	"github.com/halt-dev/halt/adapters/gqlgen/internal/testapi"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

// policy admits limit an hour, whichever hour: no test meets its end.
func policy(name string, limit int64) halt.Policy {
	return halt.Policy{Name: name, Limit: limit, Window: time.Hour, Algorithm: halt.SlidingWindow}
}

// registry has the policies that the schema's directives name.
func registry(tb testing.TB, ps ...halt.Policy) *halt.Registry {
	tb.Helper()
	r, err := halt.NewRegistry(policy("secret", 1000), policy("report", 1000), policy("vital", 1000), policy("account", 1000), policy("news", 1000))
	if err != nil {
		tb.Fatal(err)
	}
	for _, p := range ps {
		if err := r.Set(p); err != nil {
			tb.Fatal(err)
		}
	}
	return r
}

// site is a server under test.
type site struct {
	*testapi.API
	limiter *halt.Limiter
	srv     *handler.Server
	handler http.Handler
}

// newSite returns a server on a memory store with the extension of c, wrapped in Handler.
func newSite(tb testing.TB, c haltgqlgen.Config) *site {
	tb.Helper()
	return newSiteOn(tb, halt.New(memory.New(nil), nil), c)
}

func newSiteOn(tb testing.TB, l *halt.Limiter, c haltgqlgen.Config) *site {
	tb.Helper()
	s := bareSite(tb, testapi.ComplexityRoot{})
	s.limiter = l
	s.srv.Use(haltgqlgen.Operations(l, withPolicies(tb, c)))
	return s
}

// withPolicies adds what the schema's directives need, if it isn't there.
func withPolicies(tb testing.TB, c haltgqlgen.Config) haltgqlgen.Config {
	tb.Helper()
	if c.Policies == nil {
		c.Policies = registry(tb)
	}
	if c.Key.Fault() != "" {
		c.Key = haltgqlgen.Everyone()
	}
	return c
}

func bareSite(tb testing.TB, complexity testapi.ComplexityRoot) *site {
	tb.Helper()
	return directedSite(tb, testapi.DirectiveRoot{RateLimit: haltgqlgen.RateLimit}, complexity)
}

func directedSite(tb testing.TB, directives testapi.DirectiveRoot, complexity testapi.ComplexityRoot) *site {
	tb.Helper()
	s := &site{API: &testapi.API{}}
	s.srv = handler.New(testapi.New(s.API, directives, complexity))
	s.srv.AddTransport(transport.Websocket{})
	s.srv.AddTransport(transport.SSE{})
	s.srv.AddTransport(transport.MultipartMixed{})
	s.srv.AddTransport(transport.GET{})
	s.srv.AddTransport(transport.POST{})
	s.srv.Use(extension.Introspection{})
	s.handler = haltgqlgen.Handler(s.srv)
	return s
}

// answer is a GraphQL answer over HTTP.
type answer struct {
	Status     int            `json:"-"`
	Header     http.Header    `json:"-"`
	Body       string         `json:"-"`
	Data       map[string]any `json:"data"`
	Errors     []answerError  `json:"errors"`
	Extensions map[string]any `json:"extensions"`
}

type answerError struct {
	Message    string
	Path       []any
	Extensions map[string]any
}

// codes returns the errors' codes.
func (a *answer) codes() []string {
	var codes []string
	for _, e := range a.Errors {
		code, _ := e.Extensions["code"].(string)
		codes = append(codes, code)
	}
	return codes
}

// refused returns how many errors have the code of refusals.
func (a *answer) refused() (n int) {
	for _, code := range a.codes() {
		if code == haltgqlgen.CodeRateLimited {
			n++
		}
	}
	return n
}

// request returns a POST of a query.
func request(tb testing.TB, query string, vars map[string]any) *http.Request {
	tb.Helper()
	body, err := json.Marshal(map[string]any{"query": query, "variables": vars})
	if err != nil {
		tb.Fatal(err)
	}
	r := httptest.NewRequestWithContext(tb.Context(), http.MethodPost, "/query", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	return r
}

// send sends a request to the server.
func (s *site) send(tb testing.TB, r *http.Request) *answer {
	tb.Helper()
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	a := &answer{Status: w.Code, Header: w.Header(), Body: w.Body.String()}
	if strings.HasPrefix(a.Body, "{") {
		if err := json.Unmarshal(w.Body.Bytes(), a); err != nil {
			tb.Fatalf("%v in %s", err, a.Body)
		}
	}
	return a
}

// do posts a query.
func (s *site) do(tb testing.TB, query string, vars map[string]any) *answer {
	tb.Helper()
	return s.send(tb, request(tb, query, vars))
}

// spent returns what a key has spent under a policy.
func (s *site) spent(tb testing.TB, p halt.Policy, key string) int64 {
	tb.Helper()
	d, err := s.limiter.Peek(context.WithoutCancel(tb.Context()), p, key)
	if err != nil {
		tb.Fatal(err)
	}
	return p.Capacity() - d.Remaining
}

const everyone = "everyone"

// ip is the key of httptest's requests, by address.
const ip = "ip:192.0.2.1"

// panics returns what f panics with.
func panics(tb testing.TB, f func()) (v any) {
	tb.Helper()
	defer func() {
		if v = recover(); v == nil {
			tb.Error("no panic")
		}
	}()
	f()
	return nil
}

// opFunc makes an extension of a function.
type opFunc func(context.Context, graphql.OperationHandler) graphql.ResponseHandler

func (opFunc) ExtensionName() string                   { return "Test" }
func (opFunc) Validate(graphql.ExecutableSchema) error { return nil }
func (f opFunc) InterceptOperation(ctx context.Context, next graphql.OperationHandler) graphql.ResponseHandler {
	return f(ctx, next)
}

var noPrices testapi.ComplexityRoot

// rebuilt returns a server of the site's schema with these transports only.
func rebuilt(tb testing.TB, s *site, ts ...graphql.Transport) *handler.Server {
	tb.Helper()
	srv := handler.New(testapi.New(s.API, testapi.DirectiveRoot{RateLimit: haltgqlgen.RateLimit}, noPrices))
	for _, t := range ts {
		srv.AddTransport(t)
	}
	return srv
}

// sha is the hash of a persisted query.
func sha(query string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(query))) }

// catch sends a request and returns what the handler panics with, or what gqlgen's server made of it.
func catch(s *site, r *http.Request) (v any) {
	defer func() {
		if p := recover(); p != nil {
			v = p
		}
	}()
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	if w.Code == http.StatusInternalServerError {
		return w.Body.String()
	}
	return nil
}

// batch makes a request one of several operations.
func batch(tb testing.TB, r *http.Request) *http.Request {
	tb.Helper()
	r.Body = io.NopCloser(strings.NewReader(`[{"query": "{need}"}, {"query": "{need}"}]`))
	return r
}

// nothing executes nothing.
var nothing = opFunc(func(context.Context, graphql.OperationHandler) graphql.ResponseHandler {
	return graphql.OneShot(&graphql.Response{})
})

// doubling is 843 bytes of fragments, each of which is spread twice in the one before.
var doubling = func() string {
	const levels = 23
	var b strings.Builder
	b.WriteString(`{user(id:1){...F0}}`)
	for i := range levels {
		fmt.Fprintf(&b, `fragment F%d on User{...F%d ...F%d} `, i, i+1, i+1)
	}
	fmt.Fprintf(&b, `fragment F%d on User{id}`, levels)
	return b.String()
}()
