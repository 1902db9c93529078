package haltgqlgen

import (
	"slices"

	"github.com/vektah/gqlparser/v2/ast"
)

// schemaInfo answers what the walks over documents ask of a schema. It doesn't change once made.
type schemaInfo struct {
	*ast.Schema
	satisfies map[string]map[string]bool // of interfaces and unions: the object types that they can be
}

func newSchemaInfo(s *ast.Schema) *schemaInfo {
	info := &schemaInfo{Schema: s, satisfies: make(map[string]map[string]bool)}
	for name, d := range s.Types {
		if !d.IsAbstractType() {
			continue
		}
		m := make(map[string]bool)
		for _, t := range s.GetPossibleTypes(d) {
			m[t.Name] = true
		}
		info.satisfies[name] = m
	}
	return info
}

// root returns the type whose fields an operation of this kind selects.
func (s *schemaInfo) root(kind ast.Operation) *ast.Definition {
	switch kind {
	case ast.Mutation:
		return s.Mutation
	case ast.Subscription:
		return s.Subscription
	default:
		return s.Query
	}
}

// objects returns the object types that a value of the type can be.
func (s *schemaInfo) objects(t *ast.Definition) []*ast.Definition {
	if t.Kind == ast.Object {
		return []*ast.Definition{t}
	}
	return s.GetPossibleTypes(t)
}

// selected is a field as it is executed on an object: all selections with one response key are one.
type selected struct {
	field *ast.Field   // the first
	more  []*ast.Field // further selections, whose selection sets are executed as well
}

// key is what the field is called in the answer.
func (s *selected) key() string {
	if s.field.Alias != "" {
		return s.field.Alias
	}
	return s.field.Name
}

// few is how many fields or fragments are looked for one by one, before a map pays.
const few = 12

// collector finds out what of a selection set is executed on an object, as the specification's CollectFields does: with
// @skip and @include, fragments at most once, and of those with a type condition the ones that apply. gqlgen's own does
// the same, in time quadratic in the number of fields.
type collector struct {
	schema *schemaInfo
	vars   map[string]any
	steps  int // how many selections were looked at
}

// level is the state of one collection.
type level struct {
	out     []selected
	index   map[string]int // of out, once it has more than a few
	spread  []*ast.FragmentDefinition
	spreads map[*ast.FragmentDefinition]bool
}

// collect returns the fields that the selection set executes on an object of type t, in out if they fit.
func (c *collector) collect(out []selected, set ast.SelectionSet, t *ast.Definition) []selected {
	l := level{out: slices.Grow(out, len(set))}
	c.add(&l, set, t)
	return l.out
}

// children returns the fields that a field's selection sets execute on its value, of type t.
func (c *collector) children(s *selected, t *ast.Definition) []selected {
	l := level{out: make([]selected, 0, len(s.field.SelectionSet))}
	c.add(&l, s.field.SelectionSet, t)
	for _, f := range s.more {
		c.add(&l, f.SelectionSet, t)
	}
	return l.out
}

func (c *collector) add(l *level, set ast.SelectionSet, t *ast.Definition) {
	for _, sel := range set {
		c.steps++
		switch sel := sel.(type) {
		case *ast.Field:
			if c.included(sel.Directives) {
				l.field(sel)
			}
		case *ast.InlineFragment:
			if c.included(sel.Directives) && c.applies(sel.TypeCondition, t) {
				c.add(l, sel.SelectionSet, t)
			}
		case *ast.FragmentSpread:
			if sel.Definition != nil && c.included(sel.Directives) && l.first(sel.Definition) && c.applies(sel.Definition.TypeCondition, t) {
				c.add(l, sel.Definition.SelectionSet, t)
			}
		}
	}
}

// field adds a selection, to the one with the same key if there is one.
func (l *level) field(f *ast.Field) {
	s := selected{field: f}
	key := s.key()
	at := -1
	if l.index != nil {
		if i, ok := l.index[key]; ok {
			at = i
		}
	} else {
		for i := range l.out {
			if l.out[i].key() == key {
				at = i
				break
			}
		}
	}
	if at >= 0 {
		if l.out[at].field != f {
			l.out[at].more = append(l.out[at].more, f)
		}
		return
	}
	l.out = append(l.out, s)
	switch {
	case l.index != nil:
		l.index[key] = len(l.out) - 1
	case len(l.out) > few:
		l.index = make(map[string]int, 2*len(l.out))
		for i := range l.out {
			l.index[l.out[i].key()] = i
		}
	}
}

// first tells whether a fragment is met for the first time.
func (l *level) first(f *ast.FragmentDefinition) bool {
	if l.spreads != nil {
		if l.spreads[f] {
			return false
		}
		l.spreads[f] = true
		return true
	}
	if slices.Contains(l.spread, f) {
		return false
	}
	if l.spread = append(l.spread, f); len(l.spread) > few {
		l.spreads = make(map[*ast.FragmentDefinition]bool, 2*len(l.spread))
		for _, s := range l.spread {
			l.spreads[s] = true
		}
	}
	return true
}

func (c *collector) applies(condition string, t *ast.Definition) bool {
	return condition == "" || condition == t.Name || c.schema.satisfies[condition][t.Name]
}

// included tells whether @skip and @include let a selection be executed. What can't be told counts as executed.
func (c *collector) included(ds ast.DirectiveList) bool {
	for _, d := range ds {
		skip := d.Name == "skip"
		if !skip && d.Name != "include" {
			continue
		}
		a := d.Arguments.ForName("if")
		if a == nil {
			continue
		}
		v, err := a.Value.Value(c.vars)
		if on, ok := v.(bool); err == nil && ok && on == skip {
			return false
		}
	}
	return true
}
