package haltgqlgen_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/99designs/gqlgen/graphql/handler"
	"github.com/99designs/gqlgen/graphql/handler/transport"

	haltgqlgen "github.com/halt-dev/halt/adapters/gqlgen"
	"github.com/halt-dev/halt/adapters/gqlgen/internal/todo"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

var create = halt.Policy{Name: "create", Limit: 2, Window: time.Minute}

// A server that knew nothing of limits gets them: six lines, and none in its schema. What each client address may ask for
// in a minute is bounded by the cost of its documents, and how much it may create by a limit of its own.
func Example() {
	srv := handler.New(todo.NewExecutableSchema(todo.Config{Resolvers: new(todo.Server)}))
	srv.AddTransport(transport.POST{})

	limiter, points := halt.New(memory.New(nil), nil), halt.Policy{Name: "points", Limit: 20, Window: time.Minute}
	srv.Use(haltgqlgen.Operations(limiter, haltgqlgen.Config{
		Rules:  []haltgqlgen.Rule{{Policy: points, Key: haltgqlgen.ByIP(), Cost: haltgqlgen.Complexity}},
		Fields: haltgqlgen.Fields{"Mutation.createTodo": {Policy: create, Key: haltgqlgen.ByIP()}},
	}))
	server := haltgqlgen.Handler(srv) // http.Handle("/query", server)

	ask(server, `mutation {a: createTodo(todo: {text: "one"}) {id} b: createTodo(todo: {text: "two"}) {id}}`)
	ask(server, `{todos {id text done}}`)
	ask(server, `mutation {createTodo(todo: {text: "three"}) {id}}`)
	ask(server, `{a: todos {id text done} b: todos {id text done} c: todos {id text done}}`)
	// Output:
	// 200 {"a":{"id":"1"},"b":{"id":"2"}}
	// 200 {"todos":[{"id":"1","text":"one","done":false},{"id":"2","text":"two","done":false}]}
	// 200 null RATE_LIMITED by create
	// 429 null RATE_LIMITED by points
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
