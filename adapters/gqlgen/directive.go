package haltgqlgen

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
)

// Directive is the declaration that a schema needs for its fields to be limited in the schema:
//
//	type Mutation {
//	  login(email: String!, password: String!): Session @rateLimit(policy: "login", key: "ip & args.email")
//	}
//
// policy names one of Config.Policies. cost is what each selection of the field costs; 1 if it is left out. key says whose
// budget it is: names of Config.Keys, "ip" for ByIP and "everyone" for Everyone unless Keys has others of these names, and
// arguments as args.email or args.input.email, joined by &; left out, it is Config.Key.
//
// Declare it "repeatable" to give a field several limits.
const Directive = `directive @rateLimit(policy: String!, cost: Int, key: String) on FIELD_DEFINITION`

const directiveName = "rateLimit"

// RateLimit is the implementation of the schema's directive, for gqlgen's generated Config:
//
//	cfg.Directives.RateLimit = haltgqlgen.RateLimit
//
// It only makes sure that [Operations] has decided on the field. If the server doesn't use that extension, the field is
// refused (RATE_LIMIT_UNAVAILABLE) and the log says why.
func RateLimit(ctx context.Context, _ any, next graphql.Resolver, _ string, _ *int, _ *string) (any, error) {
	if ctx.Value(decidedKey{}) == nil {
		notUsed()
		return nil, refusal(Denial{Reason: guard.Unavailable})
	}
	return next(ctx)
}

// decided is the context of an operation whose fields Operations has decided on: it has a value for decidedKey. It is part of
// the Operation, which spares an allocation.
type decided struct{ context.Context }

type decidedKey struct{}

// Value returns true for decidedKey.
func (d *decided) Value(key any) any {
	if key == (decidedKey{}) {
		return true
	}
	return d.Context.Value(key)
}

var notUsedOnce sync.Once

func notUsed() {
	notUsedOnce.Do(func() {
		slog.Default().Error("halt: a field has @rateLimit, but its server does not use haltgqlgen.Operations: it is refused")
	})
}

// directed is a limit that a directive puts on a field.
type directed struct {
	object *ast.Definition
	field  string
	limit  *limit
}

// readDirectives returns the limits of a schema's directives.
func readDirectives(s *schemaInfo, c *Config, f *faults) []directed {
	declared := s.Directives[directiveName]
	if declared == nil {
		return nil
	}
	if !declaredWell(declared) {
		if c.Policies != nil { // else it may be somebody else's
			f.add("the schema's @"+directiveName, "declared as %s", Directive)
		}
		return nil
	}
	var ds []directed
	for _, name := range slices.Sorted(maps.Keys(s.Types)) {
		t := s.Types[name]
		if t.Kind != ast.Object && t.Kind != ast.Interface {
			continue
		}
		for _, fd := range t.Fields {
			for _, d := range fd.Directives.ForNames(directiveName) {
				ds = append(ds, directed{t, fd.Name, readDirective(s, t.Name+"."+fd.Name, fd, d, c, f)})
			}
		}
	}
	return ds
}

func declaredWell(d *ast.DirectiveDefinition) bool {
	want := map[string]string{"policy": "String!", "cost": "Int", "key": "String"}
	for _, a := range d.Arguments {
		if want[a.Name] != a.Type.String() {
			return false
		}
		delete(want, a.Name)
	}
	return len(want) == 0 && slices.Contains(d.Locations, ast.LocationFieldDefinition)
}

// readDirective returns the limit of one directive. If it adds faults, the limit has no use.
func readDirective(s *schemaInfo, at string, fd *ast.FieldDefinition, d *ast.Directive, c *Config, f *faults) *limit {
	where := at + " @" + directiveName
	l := &limit{field: at, fixed: 1, key: c.Key, directed: true}
	var policy halt.Policy
	if name, ok := literal(d, "policy", ast.StringValue, ast.BlockValue); !ok || name == "" {
		f.add(where+"(policy:)", "a policy's name")
	} else if c.Policies == nil {
		f.once("Policies", "set, since %s has @%s", at, directiveName)
	} else if p, err := c.Policies.Get(name); err != nil {
		f.add(where+"(policy:)", "the name of one of Policies, not %q", name)
	} else {
		l.name, policy = name, p
	}
	if raw, ok := literal(d, "cost", ast.IntValue); ok {
		n, err := strconv.ParseInt(raw, 10, 32)
		switch {
		case err != nil || n < 1:
			f.add(where+"(cost:)", "1 or more")
		case policy.Name != "" && policy.Limit != halt.Unlimited && n > policy.Capacity():
			f.add(where+"(cost:)", "at most %d, which is all that policy %s can hold", policy.Capacity(), policy.Name)
		}
		l.fixed = n
	} else if d.Arguments.ForName("cost") != nil {
		f.add(where+"(cost:)", "a number")
	}
	if spec, ok := literal(d, "key", ast.StringValue, ast.BlockValue); ok {
		l.key = readKey(s, where, spec, fd, c, f)
	} else if d.Arguments.ForName("key") != nil {
		f.add(where+"(key:)", "a string")
	} else if c.Key.Fault() != "" {
		f.once("Key", "set, since %s has none of its own", where)
	}
	return l
}

// literal returns an argument's value if it is there and of one of the kinds.
func literal(d *ast.Directive, name string, kinds ...ast.ValueKind) (string, bool) {
	a := d.Arguments.ForName(name)
	if a == nil || a.Value == nil || !slices.Contains(kinds, a.Value.Kind) {
		return "", false
	}
	return a.Value.Raw, true
}

// readKey returns the key that a directive spells, such as "ip & args.email".
func readKey(s *schemaInfo, where, spec string, fd *ast.FieldDefinition, c *Config, f *faults) Key {
	var key Key
	for i, part := range strings.Split(spec, "&") {
		k, err := readKeyPart(s, strings.TrimSpace(part), fd, c)
		if err != nil {
			f.add(where+"(key:)", "%v", err)
			return Key{}
		}
		if i == 0 {
			key = k
		} else {
			key = key.And(k)
		}
	}
	return key
}

func readKeyPart(s *schemaInfo, part string, fd *ast.FieldDefinition, c *Config) (Key, error) {
	if path, ok := strings.CutPrefix(part, "args."); ok {
		if !scalarAt(s, fd, path) {
			return Key{}, errors.New("of arguments of the field that are scalars or enums, not " + strconv.Quote(part))
		}
		return ByArgument(path), nil
	}
	if k, ok := c.Keys[part]; ok {
		return k, nil
	}
	switch part {
	case "ip":
		return ByIP(), nil
	case "everyone":
		return Everyone(), nil
	}
	return Key{}, errors.New(`"ip", "everyone", names of Keys and arguments as args.email, joined by &, not ` + strconv.Quote(part))
}

// scalarAt tells whether a path of arguments, such as input.email, leads to a scalar or an enum.
func scalarAt(s *schemaInfo, fd *ast.FieldDefinition, path string) bool {
	names := strings.Split(path, ".")
	a := fd.Arguments.ForName(names[0])
	if a == nil {
		return false
	}
	t := a.Type
	for _, name := range names[1:] {
		input := s.Types[t.Name()]
		if t.Elem != nil || input == nil || input.Kind != ast.InputObject {
			return false
		}
		field := input.Fields.ForName(name)
		if field == nil {
			return false
		}
		t = field.Type
	}
	leaf := s.Types[t.Name()]
	return t.Elem == nil && leaf != nil && leaf.IsLeafType()
}
