package graphql_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/halt-dev/halt/demo/graphql"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

// ask posts a query and returns the answer.
func ask(t *testing.T, url, accept, query string) (status int, body string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/query", strings.NewReader(fmt.Sprintf(`{"query": %q}`, query)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", accept)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// TestServer: what the demo promises.
func TestServer(t *testing.T) {
	srv := httptest.NewServer(graphql.New(halt.New(memory.New(nil), nil)))
	defer srv.Close()
	for i, c := range []struct {
		query  string
		status int
		has    string
	}{
		{`{books(first: 20) {id title}}`, 200, `"remaining":159`},
		{`{books(first: 5) {similar(first: 5) {id}}}`, 200, `"remaining":128`},
		{`{books(first: 1000) {id}}`, 429, `"policy":"graphql-points"`},
		{`{book(id: "7") {title}}`, 200, "Limits, volume 7"},
		{`{a: statistics {sold} b: statistics {sold} c: statistics {sold} book(id: 1) {id}}`, 200, `"path":["c"]`},
		{`mutation {a: login(account: "ann", password: "x") b: login(account: "bob", password: "correct")}`, 200, `"b":"bob"`},
		{`mutation {a: login(account: "ann", password: "x") b: login(account: "ann", password: "x") c: login(account: "ann", password: "correct")}`, 200, `"path":["c"]`},
		{`mutation {sell(id: 1) {title}}`, 200, "volume 1"},
		{`{__schema {types {name fields {name}}}}`, 200, "Statistics"},
	} {
		if status, body := ask(t, srv.URL, "", c.query); status != c.status || !strings.Contains(body, c.has) {
			t.Errorf("%d: %d %s", i, status, body)
		}
	}
	resp, err := http.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("the playground: %d", resp.StatusCode)
	}
}
