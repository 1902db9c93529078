package haltgqlgen_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/99designs/gqlgen/graphql/handler"
	"github.com/99designs/gqlgen/graphql/handler/transport"

	haltgqlgen "github.com/halt-dev/halt/adapters/gqlgen"
	"github.com/halt-dev/halt/adapters/gqlgen/internal/todo"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

// A server that knew nothing of limits gets them: six lines, and none in its schema. What each client address may ask for
// in a minute is bounded by the cost of its documents, and how much it may create by a limit of its own.
func Example() {
	srv := handler.New(todo.NewExecutableSchema(todo.Config{Resolvers: new(todo.Server)}))
	srv.AddTransport(transport.POST{})
	mux := http.NewServeMux()

	points, todos := halt.Policy{Name: "points", Limit: 1000, Window: time.Minute}, halt.Policy{Name: "todos", Limit: 10, Window: time.Minute}
	srv.Use(haltgqlgen.Operations(halt.New(memory.New(nil), nil), haltgqlgen.Config{
		Rules:  []haltgqlgen.Rule{{Policy: points, Key: haltgqlgen.ByIP(), Cost: haltgqlgen.Complexity}},
		Fields: haltgqlgen.Fields{"Mutation.createTodo": {Policy: todos, Key: haltgqlgen.ByIP()}},
	}))
	mux.Handle("/query", haltgqlgen.Handler(srv))

	ask(mux, `mutation {createTodo(todo: {text: "write"}) {id}}`)
	ask(mux, "mutation"+aliases(11, `createTodo(todo: {text: "spam"}) {id}`))
	ask(mux, `{lastTodo {id text}}`)
	ask(mux, aliases(1000, `todos {id text}`))
	// Output:
	// 200 {"createTodo":{"id":"1"}}
	// 200 null RATE_LIMITED by todos RATE_LIMITED by todos
	// 200 {"lastTodo":{"id":"10","text":"spam"}}
	// 429 null RATE_LIMITED by points
}

// aliases selects a field under n aliases.
func aliases(n int, field string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, " a%d: %s", i, field)
	}
	return "{" + b.String() + "}"
}

// ask sends a query, and prints what came of it.
func ask(h http.Handler, query string) {
	body, _ := json.Marshal(map[string]string{"query": query})
	r := httptest.NewRequest(http.MethodPost, "/query", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var answer struct {
		Data   json.RawMessage
		Errors []struct{ Extensions map[string]any }
	}
	_ = json.Unmarshal(w.Body.Bytes(), &answer)
	fmt.Print(w.Code, " ", string(answer.Data))
	for _, e := range answer.Errors {
		fmt.Print(" ", e.Extensions["code"], " by ", e.Extensions["policy"])
	}
	fmt.Println()
}
