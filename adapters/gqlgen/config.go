package haltgqlgen

import (
	"context"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
	"github.com/halt-dev/halt/core/httpkit"
)

// The types that package guard and httpkit share with all adapters, bound to a GraphQL operation.
type (
	// Key says whose budget an operation or a field draws on: see By, ByIP and the others, Or and And.
	Key = guard.Key[*Operation]
	// Denial is why an operation was denied, and when to come again.
	Denial = guard.Denial
	// Outcome is how an operation ended, for a rule's Settle. Its Err has the errors of the answer, a gqlerror.List.
	Outcome = guard.Outcome
	// Style says which header fields tell a client about its budgets.
	Style = httpkit.Style
)

// The styles of header fields.
const (
	// Standard is RateLimit-Policy and RateLimit, of draft-ietf-httpapi-ratelimit-headers-10.
	Standard = httpkit.Standard
	// Legacy is X-RateLimit-Limit, -Remaining and -Reset (Unix seconds) of the policy with the least remaining.
	Legacy = httpkit.Legacy
	// NoHeaders is none. A refusal's Retry-After stays.
	NoHeaders = httpkit.NoHeaders
)

// Kind is a set of kinds of operations. Join them with |.
type Kind uint8

// The kinds of operations.
const (
	Query Kind = 1 << iota
	Mutation
	Subscription
)

// Rule is one limit on operations.
type Rule struct {
	// Policy is what is allowed. Either it or Resolve is set.
	Policy halt.Policy
	// Resolve finds the policy of an operation: of its user's plan, say. A halt.PolicyCache's Get makes a good one. Its
	// context ends with the request, or after Config.ResolveTimeout, which it must heed: what it returns later counts as a
	// failure. If it fails, the rule is skipped, or with FailClosed the operation refused: so a PolicyCache wants a Default.
	Resolve func(ctx context.Context, op *Operation) (halt.Policy, error)
	// Key says whose budget it is. Required.
	Key Key
	// Cost is what the operation costs: PerOperation (the default), Complexity, RootFields or a function of your own. At 0
	// the rule doesn't apply. It is asked before the key and the policy.
	Cost func(*Operation) int64
	// Settle, if set, is asked for the true cost once the answer is complete: Resolved, ChargeOn or a function of your own.
	// What Cost reserved until then is corrected by it. The policy must be FixedWindow, SlidingWindow or InFlight. A
	// subscription settles when it ends.
	Settle func(*Operation, Outcome) int64
	// Shadow makes the rule one that only observes.
	Shadow bool
	// Kinds are those of the operations that the rule applies to; 0: all.
	Kinds Kind
	// Names are the operations, by name, that the rule applies to; nil: all. Clients choose the names: such a rule limits
	// clients that you know, such as those of persisted queries, and nobody who means ill. Limit fields for that.
	Names []string
}

// FieldRule is one limit on a field of the schema.
type FieldRule struct {
	// Policy is what is allowed. Either it or Resolve is set.
	Policy halt.Policy
	// Resolve finds the policy, as a Rule's does.
	Resolve func(ctx context.Context, op *Operation) (halt.Policy, error)
	// Key says whose budget it is. Required. It may use the field's arguments: see ByArgument.
	Key Key
	// Cost is what each selection of the field costs; nil: 1. At 0 the rule doesn't apply. It may use Operation.Argument.
	Cost func(*Operation) int64
	// Shadow makes the rule one that only observes.
	Shadow bool
	// And are further limits of the field: it runs if it fits all of them, and then spends of all.
	And []FieldRule
}

// Fields are limits on fields, by "Type.field". Those of an interface's field hold for all types that implement it.
type Fields map[string]FieldRule

// Introspection says how operations are charged that select nothing but __schema, __type and __typename.
type Introspection uint8

const (
	// IntrospectionCounts charges them as all other operations. It is the default.
	IntrospectionCounts Introspection = iota
	// IntrospectionFlat charges them 1 under each rule that applies, whatever the rule's Cost: they are large and cheap.
	IntrospectionFlat
	// IntrospectionFree charges them nothing.
	IntrospectionFree
)

// Config are the limits of an [Operations] extension and how it answers. One of Rules, Fields, Policies and Events is
// required; the zero value of all else is the default.
type Config struct {
	// Rules are the limits on operations. All that apply to one are decided as one call: either all of them spend and the
	// operation is executed, or none does and nothing of it is.
	Rules []Rule
	// Fields are limits on fields, by code.
	Fields Fields
	// Policies are those that the schema's @rateLimit directives name. A policy may change while it is in use.
	Policies *halt.Registry
	// Key is that of directives without a key.
	Key Key
	// Keys are what a directive's key may name, beside arguments: "user" or "user & args.email", say.
	Keys map[string]Key
	// MaxFields is how many limited fields an operation may select, each alias counted. One that selects more is refused as
	// a whole, and spends nothing of theirs; and so is one with so much around them that to find them takes looking at more
	// than 20,000 selections, those of a fragment at each place where it is spread. Default: 1000.
	MaxFields int
	// Events limits the events of subscriptions; nil: they are not limited, once the subscription was admitted.
	Events *Events
	// Exempt operations pass without being counted, their fields and events included.
	Exempt func(*Operation) bool
	// Introspection is how introspection is charged. Default: as any operation.
	Introspection Introspection
	// Cost adds what was charged and what remains to each answer, as extensions.cost: {"requested": 12, "policy": {"points":
	// {"cost": 12, "limit": 100, "remaining": 88, "resetAfter": 8}}}, in seconds. requested is the largest cost, null if it
	// is TooComplex. If a rule has a Settle, "resolved" is how many fields were; what remains is from before it.
	Cost bool
	// Headers is which header fields tell a client about the budgets of Rules, if the server is wrapped in [Handler].
	// Default: Standard.
	Headers Style
	// FailClosed refuses operations and fields when the store or a rule's function fails. By default a failing store
	// admits, and a failing rule is skipped; observers and OnError are told. A cost below 0 refuses either way.
	FailClosed bool
	// Attach lets resolvers read what Rules decided, with [Verdict]. It costs a few allocations.
	Attach bool
	// ResolveTimeout is how long each rule's Resolve may take, told by its context; let it be longer than a
	// PolicyCache's LoadTimeout. Default: 2 s.
	ResolveTimeout time.Duration
	// OnDenied makes the error of a refused operation. Default: a message and the extensions that the package's
	// documentation lists. If it returns nil, or panics, that default is what the client gets.
	OnDenied func(op *Operation, d Denial) *gqlerror.Error
	// OnError observes what fails, a *guard.RuleError, a *FieldError or the store's error, and operations and fields without
	// a key, a *guard.RuleError or *FieldError of guard.ErrNoKey. Of the other functions, and of Events without a key, the
	// error's text says which it was: "halt: Events.Key: ...". It must not write to the request. The errors' texts can hold
	// internals.
	OnError func(*Operation, error)
}

// Over is what happens to a subscription's event that its limit refuses.
type Over uint8

const (
	// Pause holds the event back until it fits. The source waits meanwhile, as it does for a slow client. It is the default.
	Pause Over = iota
	// Thin leaves the event out.
	Thin
	// End ends the subscription, after an answer that has the refusal among its errors.
	End
)

// Events is the limit on the events of each subscription. gqlgen resolves an event's fields before anything can ask
// whether it may be sent: what is saved is what the client gets, and the rate at which a source is read that is paused.
type Events struct {
	// Policy is what is allowed.
	Policy halt.Policy
	// Key says whose budget it is. It is asked when the subscription starts. Required.
	Key Key
	// Cost is what an event costs; nil: 1. At 0 it is free. An event that can never fit ends a subscription that pauses.
	Cost func(*Operation, *graphql.Response) int64
	// Over is what happens to an event that is refused. Default: Pause.
	Over Over
}
