// Package graphql is the demo's GraphQL server: a book shop whose queries are limited by what they cost, whose logins and
// statistics by fields, and whose subscriptions by events.
package graphql

//go:generate go run github.com/99designs/gqlgen@v0.17.98 generate

import (
	"net/http"
	"time"

	"github.com/99designs/gqlgen/graphql/handler"
	"github.com/99designs/gqlgen/graphql/handler/extension"
	"github.com/99designs/gqlgen/graphql/handler/lru"
	"github.com/99designs/gqlgen/graphql/handler/transport"
	"github.com/99designs/gqlgen/graphql/playground"
	"github.com/vektah/gqlparser/v2/ast"

	haltgqlgen "github.com/halt-dev/halt/adapters/gqlgen"
	halt "github.com/halt-dev/halt/core"
)

// The policies of the server. Points is what a client may ask for: 1 for each field, in each book of a list.
var (
	Points    = halt.Policy{Name: "graphql-points", Limit: 200, Window: time.Hour}
	Mutations = halt.Policy{Name: "graphql-mutations", Limit: 20, Window: time.Hour}
	Login     = halt.Policy{Name: "graphql-login", Limit: 3, Window: time.Hour, Algorithm: halt.SlidingWindow}
	Statistic = halt.Policy{Name: "graphql-statistics", Limit: 2, Window: time.Hour, Algorithm: halt.SlidingWindow}
	perSecond = halt.Policy{Name: "graphql-events", Limit: 2, Window: time.Second}
)

// New returns the server: POST, GET, server-sent events and websockets at /query, and a playground at /. It panics if its
// limits don't fit its schema.
func New(limiter *halt.Limiter) http.Handler {
	policies, err := halt.NewRegistry(Login, Statistic)
	if err != nil {
		panic(err) // at wiring
	}
	srv := handler.New(NewExecutableSchema(newConfig()))
	srv.AddTransport(transport.Websocket{KeepAlivePingInterval: 10 * time.Second})
	srv.AddTransport(transport.SSE{})
	srv.AddTransport(transport.GET{})
	srv.AddTransport(transport.POST{})
	srv.SetQueryCache(lru.New[*ast.QueryDocument](100))
	srv.SetParserTokenLimit(10_000)
	srv.Use(extension.Introspection{})
	srv.Use(haltgqlgen.Operations(limiter, haltgqlgen.Config{
		Rules: []haltgqlgen.Rule{
			{Policy: Points, Key: haltgqlgen.ByIP(), Cost: haltgqlgen.Complexity},
			{Policy: Mutations, Key: haltgqlgen.ByIP(), Cost: haltgqlgen.RootFields, Kinds: haltgqlgen.Mutation},
		},
		Policies:      policies,
		Events:        &haltgqlgen.Events{Policy: perSecond, Key: haltgqlgen.ByIP(), Over: haltgqlgen.Thin},
		Introspection: haltgqlgen.IntrospectionFlat,
		Cost:          true,
	}))
	mux := http.NewServeMux()
	mux.Handle("/query", haltgqlgen.Handler(srv))
	mux.Handle("GET /{$}", playground.Handler("Halt", "/query"))
	return mux
}

// newConfig returns what gqlgen's generated server needs: the resolvers, the directive's implementation, and what lists cost.
func newConfig() Config {
	c := Config{Resolvers: newShop()}
	c.Directives.RateLimit = haltgqlgen.RateLimit
	list := func(below int, first *int) int {
		n := 1
		if first != nil {
			n = max(1, *first)
		}
		return 1 + n*below
	}
	c.Complexity.Query.Books, c.Complexity.Book.Similar = list, list
	return c
}
