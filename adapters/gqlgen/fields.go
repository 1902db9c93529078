package haltgqlgen

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
)

// limit is one limit of a field, from Config.Fields or from a directive.
type limit struct {
	field   string // "Mutation.login"
	policy  halt.Policy
	name    string // of a policy in the registry, instead
	resolve func(context.Context, *Operation) (halt.Policy, error)
	key     Key
	cost    func(*Operation) int64
	fixed   int64 // the cost, if cost is nil
	shadow  bool

	directed bool // by a directive, whose implementation asks whether it was decided
}

// fieldLimits are the limits of a schema's fields.
type fieldLimits struct {
	of    map[*ast.FieldDefinition]limitedField // of object types' fields
	names map[string]bool                       // of limited fields
	reach map[*ast.Definition]bool              // the types from which a limited field can be selected
}

// limitedField is a field that is limited, or below which a limited one can be selected.
type limitedField struct {
	limits []*limit
	leads  *ast.Definition // the type from which a limited field can be selected, or nil
}

// checkFields adds what is wrong with Config.Fields to f, as far as that needs no schema.
func checkFields(c *Config, f *faults) {
	for _, at := range slices.Sorted(maps.Keys(c.Fields)) {
		if kind, name, ok := strings.Cut(at, "."); !ok || kind == "" || name == "" {
			f.add("Fields["+at+"]", `of a field's name such as "Mutation.login"`)
		}
		checkFieldRule("Fields["+at+"]", c.Fields[at], f)
	}
	if fault := c.Key.Fault(); fault != "" && fault != unset {
		f.add("Key", "%s", fault)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Keys)) {
		k := c.Keys[name]
		if name == "" || strings.ContainsAny(name, "& .") {
			f.add("Keys["+name+"]", `of a name without "&", "." and spaces`)
		}
		if fault := k.Fault(); fault != "" {
			f.add("Keys["+name+"]", "%s", fault)
		}
	}
}

// unset is the fault of a key that was never set.
var unset = Key{}.Fault()

func checkFieldRule(at string, r FieldRule, f *faults) {
	switch {
	case r.Resolve != nil && r.Policy != (halt.Policy{}):
		f.add(at+".Policy", "left out, or Resolve")
	case r.Resolve == nil && r.Policy == (halt.Policy{}):
		f.add(at+".Policy", "set, or Resolve")
	case r.Resolve == nil:
		f.policy(at+".Policy", r.Policy)
	}
	if fault := r.Key.Fault(); fault != "" {
		f.add(at+".Key", "%s", fault)
	}
	for _, and := range r.And {
		checkFieldRule(at+".And", and, f)
	}
}

// compileFields finds the fields of a schema that Config.Fields and the schema's directives limit.
func compileFields(s *schemaInfo, c *Config, f *faults) *fieldLimits {
	l := &fieldLimits{
		of: make(map[*ast.FieldDefinition]limitedField), names: make(map[string]bool), reach: make(map[*ast.Definition]bool),
	}
	for _, at := range slices.Sorted(maps.Keys(c.Fields)) {
		typ, name, _ := strings.Cut(at, ".")
		t := s.Types[typ]
		if t == nil || t.Kind != ast.Object && t.Kind != ast.Interface || t.Fields.ForName(name) == nil {
			f.add("Fields["+at+"]", "of a field of the schema")
			continue
		}
		l.add(s, t, name, rules(at, c.Fields[at]))
	}
	for _, d := range readDirectives(s, c, f) {
		l.add(s, d.object, d.field, []*limit{d.limit})
	}
	l.checkPolicies(s, c, f)
	if len(l.of) == 0 {
		return nil
	}
	l.reachable(s)
	return l
}

// rules returns the limits of a FieldRule and its And.
func rules(at string, r FieldRule) []*limit {
	ls := []*limit{{
		field: at, policy: r.Policy, resolve: r.Resolve, key: r.Key, cost: r.Cost, fixed: 1, shadow: r.Shadow,
	}}
	for _, and := range r.And {
		ls = append(ls, rules(at, and)...)
	}
	return ls
}

// add adds limits to a field, of all types that implement it if t is an interface.
func (l *fieldLimits) add(s *schemaInfo, t *ast.Definition, field string, ls []*limit) {
	l.names[field] = true
	for _, object := range s.objects(t) {
		d := object.Fields.ForName(field)
		l.of[d] = limitedField{limits: append(l.of[d].limits, ls...)}
		l.reach[object] = true
	}
}

// checkPolicies adds a fault for each policy that has another's name.
func (l *fieldLimits) checkPolicies(s *schemaInfo, c *Config, f *faults) {
	seen := make(map[string]halt.Policy)
	for _, typ := range slices.Sorted(maps.Keys(s.Types)) {
		for _, d := range s.Types[typ].Fields {
			for _, r := range l.of[d].limits {
				p := r.policy
				if r.name != "" {
					p, _ = c.Policies.Get(r.name)
				}
				if p.Name == "" {
					continue
				}
				if o, ok := seen[p.Name]; ok && o != p {
					f.add(typ+"."+d.Name+": policy "+p.Name, "the same wherever the name is the same")
				}
				seen[p.Name] = p
			}
		}
	}
}

// reachable finds the types from which a limited field can be selected, and the fields that lead to them.
func (l *fieldLimits) reachable(s *schemaInfo) {
	for changed := true; changed; {
		changed = false
		for _, t := range s.Types {
			if !l.reach[t] && l.leads(s, t) {
				l.reach[t], changed = true, true
			}
		}
	}
	for _, t := range s.Types {
		for _, d := range t.Fields {
			if to := s.Types[d.Type.Name()]; t.Kind == ast.Object && l.reach[to] {
				l.of[d] = limitedField{l.of[d].limits, to}
			}
		}
	}
}

// leads tells whether a type is known to lead to a limited field, by one step.
func (l *fieldLimits) leads(s *schemaInfo, t *ast.Definition) bool {
	switch t.Kind {
	case ast.Interface, ast.Union:
		return slices.ContainsFunc(s.objects(t), func(o *ast.Definition) bool { return l.reach[o] })
	case ast.Object:
		return slices.ContainsFunc(t.Fields, func(f *ast.FieldDefinition) bool { return l.reach[s.Types[f.Type.Name()]] })
	default:
		return false
	}
}

// resolved finds a limit's policy by its Resolve.
func (l *limit) resolved(o *Operation) (p halt.Policy, err error) {
	defer recovered(&err)
	ctx, cancel := context.WithTimeout(o.ctx, o.ext.config.ResolveTimeout)
	defer cancel()
	if p, err = l.resolve(ctx, o); err == nil {
		err = ctx.Err() // one that did not look at its context is late all the same
	}
	if err == nil {
		err = p.Validate()
	}
	return p, err
}

// costOf asks for what the operation's field costs.
func (l *limit) costOf(o *Operation) (n int64, err error) {
	if l.cost == nil {
		return l.fixed, nil
	}
	defer recovered(&err)
	if n = l.cost(o); n < 0 {
		return 0, guard.ErrNegativeCost
	}
	return n, nil
}

// appendKey asks for the key of the operation's field.
func (l *limit) appendKey(b []byte, o *Operation) (key []byte, ok bool, err error) {
	defer recovered(&err)
	key, ok = l.key.Append(b, o)
	return key, ok, nil
}
