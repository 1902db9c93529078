package haltgqlgen

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/halt-dev/halt/core/guard"
)

// Operation is a GraphQL operation: what the functions of rules and keys are given. It is valid until the operation is
// done. Its methods may be called by one goroutine at a time, as rules are.
type Operation struct {
	ctx     context.Context
	gql     *graphql.OperationContext
	request *request // nil without Handler
	ext     *extension

	root       []selected // the root fields, once asked for
	collected  bool
	complexity int64 // + 1, once counted
	field      *ast.Field
	decided    decided // the context of the execution, if a field has a directive

	pass    *guard.Pass[*Operation]
	denial  *Denial       // nil: it is not denied
	fields  *fieldCharges // nil: nothing is left to do for them
	answers *answers      // nil: nothing is to do with them
}

// answers is what an operation has besides whose answers are looked at, or that is settled when the last of them is there.
type answers struct {
	next     graphql.ResponseHandler
	event    string          // the key of Events
	ended    bool            // an event has ended the subscription
	budgets  []budgetFigures // for Config.Cost
	resolved atomic.Int64    // fields
	settled  sync.Once

	watched bool
	mu      sync.Mutex // what follows
	errors  gqlerror.List
	stop    func() bool // of the watch on the context's end
}

// Context returns the operation's context: what authentication has put into it is there.
func (o *Operation) Context() context.Context { return o.ctx }

// GraphQL returns gqlgen's context of the operation. It is shared with gqlgen, and its document with other operations:
// read it only.
func (o *Operation) GraphQL() *graphql.OperationContext { return o.gql }

// Request returns the HTTP request, whose body has been read; of a websocket, the one that opened it. It is nil if the
// server is not wrapped in [Handler], or the websocket's InitFunc returned a context of its own.
func (o *Operation) Request() *http.Request {
	if o.request == nil {
		return nil
	}
	return o.request.r
}

// Kind returns the operation's kind.
func (o *Operation) Kind() Kind {
	switch o.gql.Operation.Operation {
	case ast.Mutation:
		return Mutation
	case ast.Subscription:
		return Subscription
	default:
		return Query
	}
}

// Name returns the name that the client has given the operation, or "".
func (o *Operation) Name() string { return o.gql.Operation.Name }

// Field returns the field that a FieldRule is asked about, as the document selects it; nil for a Rule.
func (o *Operation) Field() *ast.Field { return o.field }

// Argument returns an argument of the field that a FieldRule is asked about, variables and the schema's defaults
// included, or nil if it is absent or null. A path such as "input.email" leads into input objects, not into lists. An Int
// is an int64, a Float a float64, an ID or an enum value a string, however the client has written it.
func (o *Operation) Argument(path string) any {
	v, t := o.argument(path)
	return o.ext.schema.coerced(v, t)
}

// ResolvedFields returns how many fields have been resolved so far, those of each element of a list counted: the true
// cost of an operation, for a Settle. They are counted only if a rule of the Config has a Settle.
func (o *Operation) ResolvedFields() int64 {
	if o.answers == nil {
		return 0
	}
	return o.answers.resolved.Load()
}

// rootFields returns the fields that the operation executes at its root.
func (o *Operation) rootFields() []selected {
	if !o.collected {
		c := collector{schema: o.ext.schema, vars: o.gql.Variables}
		o.root, o.collected = c.collect(nil, o.gql.Operation.SelectionSet, o.ext.schema.root(o.gql.Operation.Operation)), true
	}
	return o.root
}

// introspective tells whether the operation selects nothing but the schema and __typename.
func (o *Operation) introspective() bool {
	for i := range o.rootFields() {
		switch o.root[i].field.Name {
		case "__schema", "__type", "__typename":
		default:
			return false
		}
	}
	return len(o.root) > 0
}
