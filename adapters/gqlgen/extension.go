package haltgqlgen

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
	"github.com/halt-dev/halt/core/httpkit"
)

// extension is what Operations returns. After Validate it doesn't change, and is safe for concurrent use.
type extension struct {
	limiter *halt.Limiter
	config  Config
	kit     *httpkit.Kit[*Operation] // nil without Rules
	largest int64                    // no budget of Rules holds more
	counts  bool                     // resolved fields, for a Settle
	lasts   bool                     // a rule may have to be settled in the end
	log     guard.FailureLog
	calls   sync.Pool // of *call
	walkers sync.Pool // of *walker

	es     graphql.ExecutableSchema
	schema *schemaInfo
	fields *fieldLimits // nil: the schema has none
}

var _ interface {
	graphql.HandlerExtension
	graphql.OperationContextMutator
	graphql.OperationInterceptor
} = (*extension)(nil)

// newExtension returns the extension of a Config, or all that is wrong with it.
func newExtension(l *halt.Limiter, c Config) (*extension, error) {
	var f faults
	if c.MaxFields == 0 {
		c.MaxFields = 1000
	}
	e := &extension{limiter: l, config: c, largest: math.MaxInt64}
	c.check(l, &f)
	checkFields(&c, &f)
	e.newKit(&f)
	if err := f.err(); err != nil {
		return nil, err
	}
	return e, nil
}

// check adds the faults that no part of the extension finds by itself.
func (c *Config) check(l *halt.Limiter, f *faults) {
	if l == nil {
		f.add("the limiter", "not nil")
	}
	if len(c.Rules)+len(c.Fields) == 0 && c.Policies == nil && c.Events == nil {
		f.add("Rules", "one or more, or Fields, Policies or Events set")
	}
	if c.MaxFields < 0 {
		f.add("MaxFields", "0 (1000) or more")
	}
	if c.Introspection > IntrospectionFree {
		f.add("Introspection", "one of the package's constants")
	}
	if c.ResolveTimeout < 0 {
		f.add("ResolveTimeout", "0 (2 s) or more")
	}
	if c.Headers > NoHeaders {
		f.add("Headers", "one of the package's constants")
	}
	if c.Events != nil {
		f.policy("Events.Policy", c.Events.Policy)
		if fault := c.Events.Key.Fault(); fault != "" {
			f.add("Events.Key", "%s", fault)
		}
		if c.Events.Over > End {
			f.add("Events.Over", "one of the package's constants")
		}
		if c.Events.Policy.Algorithm == halt.InFlight {
			f.add("Events.Policy.Algorithm", "another than InFlight: an event is over at once")
		}
	}
}

// newKit makes the guard of the operation rules.
func (e *extension) newKit(f *faults) {
	c := &e.config
	if c.ResolveTimeout == 0 {
		c.ResolveTimeout = 2 * time.Second // longer than a PolicyCache waits
	}
	if len(c.Rules) == 0 || e.limiter == nil {
		return
	}
	e.largest = 0
	kc := httpkit.Config[*Operation, struct{}]{
		Headers: min(c.Headers, NoHeaders), FailClosed: c.FailClosed, ResolveTimeout: max(0, c.ResolveTimeout),
		OnError: c.OnError,
	}
	for i := range c.Rules {
		r := &c.Rules[i]
		if r.Kinds > Query|Mutation|Subscription {
			f.add(fmt.Sprintf("Rules[%d].Kinds", i), "of the package's constants")
		}
		kc.Rules = append(kc.Rules, guard.Rule[*Operation]{
			Policy: r.Policy, Resolve: r.Resolve, Key: r.Key, Cost: e.cost(r), Settle: r.Settle, Shadow: r.Shadow,
		})
		e.counts = e.counts || r.Settle != nil
		e.lasts = e.lasts || r.Settle != nil || r.Resolve != nil || r.Policy.Algorithm == halt.InFlight
		if r.Resolve != nil || r.Policy.Limit == halt.Unlimited {
			e.largest = math.MaxInt64
		} else {
			e.largest = max(e.largest, r.Policy.Capacity())
		}
	}
	kit, err := httpkit.New(e.limiter, framework, kc)
	if invalid, ok := errors.AsType[*halt.InvalidError](err); ok {
		f.list = append(f.list, invalid.Faults...)
	}
	e.kit = kit
}

// cost returns a rule's Cost for the guard: 0 if the rule doesn't apply.
func (e *extension) cost(r *Rule) func(*Operation) int64 {
	cost, kinds, names := r.Cost, r.Kinds, slices.Clone(r.Names)
	flat := e.config.Introspection == IntrospectionFlat
	if cost == nil && kinds == 0 && names == nil {
		return nil // 1
	}
	if cost == nil {
		cost = PerOperation
	}
	return func(o *Operation) int64 {
		switch {
		case kinds != 0 && kinds&o.Kind() == 0, names != nil && !slices.Contains(names, o.Name()):
			return 0
		case flat && o.introspective():
			return 1
		}
		return cost(o)
	}
}

// ExtensionName is for gqlgen.
func (e *extension) ExtensionName() string { return "HaltRateLimit" }

// Validate is called by the server's Use, which panics with its error: all that is wrong with the limits of fields.
func (e *extension) Validate(es graphql.ExecutableSchema) error {
	if e.es != nil {
		return errors.New("haltgqlgen: an extension belongs to one server: call Operations for each")
	}
	var f faults
	e.es, e.schema = es, newSchemaInfo(es.Schema())
	e.fields = compileFields(e.schema, &e.config, &f)
	return f.err()
}

// MutateOperationContext decides operations whose answer's header is sent before they are executed: server-sent events.
// Everything else waits for InterceptOperation, since this here runs on a websocket's read loop, and before gqlgen has
// refused mutations over GET.
func (e *extension) MutateOperationContext(ctx context.Context, gql *graphql.OperationContext) *gqlerror.Error {
	if e.kit == nil { // before the request is looked for, which takes longer
		return nil
	}
	q := requestOf(ctx)
	if q == nil || !q.events {
		return nil
	}
	if o := e.enter(ctx, gql, q); o != nil {
		q.early = append(q.early, o)
	}
	return nil
}

// InterceptOperation decides an operation and its fields, and executes it if it may.
func (e *extension) InterceptOperation(ctx context.Context, next graphql.OperationHandler) graphql.ResponseHandler {
	q := requestOf(ctx)
	o := q.take(e)
	if o == nil {
		o = e.enter(ctx, graphql.GetOperationContext(ctx), q)
	} else {
		o.ctx = ctx // it may have what other extensions have put there since
	}
	if o == nil { // exempt
		if e.fields != nil {
			ctx = &decided{ctx}
		}
		return next(ctx)
	}
	return o.run(next)
}

// enter asks the operation rules. It returns nil if the operation is exempt.
func (e *extension) enter(ctx context.Context, gql *graphql.OperationContext, q *request) *Operation {
	o := &Operation{ctx: ctx, gql: gql, request: q, ext: e}
	if e.exempt(o) {
		return nil
	}
	if e.lasts || e.config.Cost || e.config.Events != nil && o.Kind() == Subscription {
		o.answers = new(answers)
	}
	if e.kit == nil {
		return o
	}
	o.pass = e.kit.Enter(ctx, o, q.header())
	if d, denied := o.pass.Denied(); denied {
		o.denial = &d
	}
	if e.config.Cost {
		o.note(o.pass.Verdict())
	}
	return o
}

// exempt tells whether an operation is not charged. A panic exempts nobody.
func (e *extension) exempt(o *Operation) (exempt bool) {
	if e.config.Introspection == IntrospectionFree && o.introspective() {
		return true
	}
	if e.config.Exempt == nil {
		return false
	}
	var err error
	defer func() {
		if err != nil {
			exempt = false
			e.tellFunction(o, "Exempt", err, false)
		}
	}()
	defer recovered(&err)
	return e.config.Exempt(o)
}

// closed tells whether a failure refuses: with FailClosed, or if the request's own end may be what made it fail.
func (o *Operation) closed() bool { return o.ext.config.FailClosed || o.ctx.Err() != nil }
