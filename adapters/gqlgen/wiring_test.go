package haltgqlgen_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/executor"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"

	haltgqlgen "github.com/halt-dev/halt/adapters/gqlgen"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
	"github.com/halt-dev/halt/core/memory"
)

// TestInvalidConfig: Operations panics with all that is wrong.
func TestInvalidConfig(t *testing.T) {
	l := halt.New(memory.New(nil), nil)
	p, key := policy("api", 1), haltgqlgen.Everyone()
	for name, c := range map[string]struct {
		config haltgqlgen.Config
		want   []string
	}{
		"nothing": {haltgqlgen.Config{}, []string{"Rules must be one or more"}},
		"rules": {haltgqlgen.Config{Rules: []haltgqlgen.Rule{{Key: key}, {Policy: p}, {Policy: halt.Policy{Name: "b", Limit: 1, Window: time.Second}, Key: key, Settle: haltgqlgen.Resolved, Kinds: 8}}}, []string{
			"Rules[0].Policy", "Rules[1].Key", "Rules[2].Policy.Algorithm", "Rules[2].Kinds",
		}},
		"fields": {haltgqlgen.Config{Fields: haltgqlgen.Fields{
			"login": {Policy: p, Key: key}, "A.b": {Key: key}, "A.c": {Policy: p}, "A.d": {Policy: p, Key: key, And: []haltgqlgen.FieldRule{{}}},
			"A.e": {Policy: p, Key: haltgqlgen.ByArgument("a..b")},
		}}, []string{"Fields[login]", "Fields[A.b].Policy", "Fields[A.c].Key", "Fields[A.d].And.Policy", "Fields[A.d].And.Key", "Fields[A.e].Key"}},
		"keys": {haltgqlgen.Config{Rules: []haltgqlgen.Rule{{Policy: p, Key: key}}, Keys: map[string]haltgqlgen.Key{"a b": key, "c": {}}}, []string{"Keys[a b]", "Keys[c]"}},
		"the rest": {haltgqlgen.Config{
			Rules: []haltgqlgen.Rule{{Policy: p, Key: key}}, MaxFields: -1, Introspection: 3, Headers: 9, ResolveTimeout: -1,
			Events: &haltgqlgen.Events{Over: 3, Policy: halt.Policy{Algorithm: halt.InFlight}},
		}, []string{"MaxFields", "Introspection", "Headers", "ResolveTimeout", "Events.Policy.Name", "Events.Key", "Events.Over", "Events.Policy.Algorithm"}},
	} {
		t.Run(name, func(t *testing.T) {
			err, _ := panics(t, func() { haltgqlgen.Operations(l, c.config) }).(error)
			if !errors.Is(err, guard.ErrInvalidConfig) {
				t.Fatal(err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("no %s in %v", want, err)
				}
			}
		})
	}
	if err, _ := panics(t, func() { haltgqlgen.Limit(nil, p, key) }).(error); err == nil || !strings.Contains(err.Error(), "the limiter") {
		t.Error(err)
	}
}

// schemaOnly is the executable schema of a text: enough to be used with an extension.
type schemaOnly struct {
	graphql.ExecutableSchema
	schema *ast.Schema
}

func (s schemaOnly) Schema() *ast.Schema { return s.schema }

// TestInvalidSchema: limits that don't fit the schema are errors when the server is made.
func TestInvalidSchema(t *testing.T) {
	const good = haltgqlgen.Directive
	key, p := haltgqlgen.Everyone(), policy("api", 5)
	for name, c := range map[string]struct {
		directive, on string
		config        haltgqlgen.Config
		want          string
	}{
		"fits":                          {directive: good, on: `@rateLimit(policy: "api", cost: 5, key: "ip & user & args.in.email & args.kind & everyone")`},
		"repeated":                      {directive: strings.Replace(good, " on", " repeatable on", 1), on: `@rateLimit(policy: "api") @rateLimit(policy: "api", key: "ip")`},
		"unknown policy":                {directive: good, on: `@rateLimit(policy: "other")`, want: `M.x @rateLimit(policy:) must be the name of one of Policies, not "other"`},
		"no policy's name":              {directive: good, on: `@rateLimit(policy: 5)`, want: `M.x @rateLimit(policy:) must be a policy's name`},
		"an empty name":                 {directive: good, on: `@rateLimit(policy: "")`, want: `(policy:)`},
		"cost is no number":             {directive: good, on: `@rateLimit(policy: "api", cost: "5")`, want: `(cost:) must be a number`},
		"cost 0":                        {directive: good, on: `@rateLimit(policy: "api", cost: 0)`, want: `(cost:) must be 1 or more`},
		"negative cost":                 {directive: good, on: `@rateLimit(policy: "api", cost: -1)`, want: `(cost:) must be 1 or more`},
		"cost beyond Int":               {directive: good, on: `@rateLimit(policy: "api", cost: 99999999999)`, want: `(cost:)`},
		"cost beyond the policy":        {directive: good, on: `@rateLimit(policy: "api", cost: 6)`, want: `(cost:) must be at most 5`},
		"key is no string":              {directive: good, on: `@rateLimit(policy: "api", key: 5)`, want: `(key:) must be a string`},
		"an unknown key":                {directive: good, on: `@rateLimit(policy: "api", key: "who")`, want: `not "who"`},
		"an empty part":                 {directive: good, on: `@rateLimit(policy: "api", key: "ip &")`, want: `not ""`},
		"an unknown argument":           {directive: good, on: `@rateLimit(policy: "api", key: "args.who")`, want: `not "args.who"`},
		"an argument's unknown field":   {directive: good, on: `@rateLimit(policy: "api", key: "args.in.who")`, want: `not "args.in.who"`},
		"an argument that is an object": {directive: good, on: `@rateLimit(policy: "api", key: "args.in")`, want: `not "args.in"`},
		"an argument that is a list":    {directive: good, on: `@rateLimit(policy: "api", key: "args.list")`, want: `not "args.list"`},
		"below a scalar":                {directive: good, on: `@rateLimit(policy: "api", key: "args.kind.x")`, want: `not "args.kind.x"`},
		"other arguments":               {directive: `directive @rateLimit(policy: String!, cost: Int, key: String, per: Int) on FIELD_DEFINITION`, want: "declared as"},
		"other types":                   {directive: `directive @rateLimit(policy: String!, cost: String, key: String) on FIELD_DEFINITION`, want: "declared as"},
		"too few arguments":             {directive: `directive @rateLimit(policy: String!) on FIELD_DEFINITION`, want: "declared as"},
		"a field that isn't there":      {config: haltgqlgen.Config{Fields: haltgqlgen.Fields{"M.y": {Policy: p, Key: key}}}, want: "Fields[M.y] must be of a field"},
		"a type that isn't there":       {config: haltgqlgen.Config{Fields: haltgqlgen.Fields{"N.x": {Policy: p, Key: key}}}, want: "Fields[N.x] must be of a field"},
		"an input's field":              {config: haltgqlgen.Config{Fields: haltgqlgen.Fields{"In.email": {Policy: p, Key: key}}}, want: "Fields[In.email] must be of a field"},
		"one name, two policies":        {directive: good, on: `@rateLimit(policy: "api")`, config: haltgqlgen.Config{Fields: haltgqlgen.Fields{"Query.q": {Policy: policy("api", 6), Key: key}}}, want: "policy api must be the same"},
	} {
		t.Run(name, func(t *testing.T) {
			schema := gqlparser.MustLoadSchema(&ast.Source{Input: c.directive + `
				type Query {q: Int}
				enum Kind {A}
				input In {email: String}
				type M {x(in: In, list: [String], kind: Kind): Int ` + c.on + `}`})
			c.config.Policies, c.config.Key = registry(t, p), key
			c.config.Keys = map[string]haltgqlgen.Key{"user": key}
			use := func() {
				executor.New(schemaOnly{schema: schema}).Use(haltgqlgen.Operations(halt.New(memory.New(nil), nil), c.config))
			}
			if c.want == "" {
				use()
				return
			}
			if err, _ := panics(t, use).(error); !errors.Is(err, guard.ErrInvalidConfig) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v\nwant %s", err, c.want)
			}
		})
	}
}

// TestSomebodyElsesDirective: one of the name that isn't Halt's is left alone, if the Config has no Policies.
func TestSomebodyElsesDirective(t *testing.T) {
	schema := gqlparser.MustLoadSchema(&ast.Source{Input: `
		directive @rateLimit(max: Int!, window: String!) on FIELD_DEFINITION
		type Query {q: Int @rateLimit(max: 5, window: "1m")}`})
	executor.New(schemaOnly{schema: schema}).Use(haltgqlgen.Limit(halt.New(memory.New(nil), nil), policy("api", 1), haltgqlgen.Everyone()))
}

// TestOneServer: an extension that is used for a second server says so.
func TestOneServer(t *testing.T) {
	e := haltgqlgen.Operations(halt.New(memory.New(nil), nil), withPolicies(t, haltgqlgen.Config{}))
	bareSite(t, noPrices).srv.Use(e)
	panics(t, func() { bareSite(t, noPrices).srv.Use(e) })
}

// TestRateLimitAlone: the directive of a server that doesn't use the extension refuses, and the log says why.
func TestRateLimitAlone(t *testing.T) {
	var b bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&b, nil)))
	defer slog.SetDefault(before)
	haltgqlgen.ForgetLogged()
	s := bareSite(t, noPrices)
	a := s.do(t, `{need report}`, nil)
	if a.Data["need"] != 1.0 || a.Data["report"] != nil || a.codes()[0] != haltgqlgen.CodeUnavailable {
		t.Errorf("%s", a.Body)
	}
	if !strings.Contains(b.String(), "haltgqlgen.Operations") {
		t.Errorf("%s", b.String())
	}
}
