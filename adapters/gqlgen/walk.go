package haltgqlgen

import (
	"fmt"
	"slices"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"

	"github.com/halt-dev/halt/core/guard"
)

const unavailable = guard.Unavailable

var errNegativeCost = guard.ErrNegativeCost

// recovered, deferred, turns a panic of the user's function into an error.
func recovered(err *error) {
	if v := recover(); v != nil {
		*err = fmt.Errorf("%w: %v", guard.ErrPanic, v)
	}
}

// path is where in the answer a field stands, without the indices of lists.
type path struct {
	parent *path // nil: at the root
	key    string
}

// is tells whether a field that is being resolved stands at the path.
func (p *path) is(f *graphql.FieldContext) bool {
	for ; f != nil; f = f.Parent {
		if f.Index != nil || f.Field.Field == nil {
			continue
		}
		s := selected{field: f.Field.Field}
		if p == nil || p.key != s.key() {
			return false
		}
		p = p.parent
	}
	return p == nil
}

// occurrence is a limited field at one place in the answer.
type occurrence struct {
	at      *path
	first   selected
	others  []selected // of other types that can stand at the same place
	needs   []need
	dropped bool         // refused
	by      int          // the budget that refused it
	reason  guard.Reason // why, if no budget did

	// Most have one need, and are met once: these spare allocations.
	onlyNeed [1]need
	onlyPath path
}

// nodes calls f for each selection of the field in the document.
func (o *occurrence) nodes(f func(*ast.Field)) {
	each := func(s *selected) {
		f(s.field)
		for _, n := range s.more {
			f(n)
		}
	}
	each(&o.first)
	for i := range o.others {
		each(&o.others[i])
	}
}

// need is what an occurrence costs of a budget.
type need struct {
	budget int
	cost   int64
}

// walker finds the occurrences of limited fields in an operation, and what they cost.
type walker struct {
	collector
	op      *Operation
	limits  *fieldLimits
	found   []*occurrence
	paths   map[path]*path // below the root
	at      map[*path]*occurrence
	budgets []budget
	index   map[budgetKey]int
	known   map[*limit]known // policies that were looked up
	spare   []occurrence
	scratch []byte // keys are made in it
	mention map[ast.Selection]bool
	spreads map[*ast.FragmentDefinition]bool // of which fragments mention a limited field
}

// walk finds the occurrences of limited fields and their budgets. It reports false if there are more than
// Config.MaxFields, or if the document takes too many steps to know.
func walk(op *Operation, limits *fieldLimits) (w *walker, ok bool) {
	w = &walker{
		collector: collector{schema: op.ext.schema, vars: op.gql.Variables},
		op:        op, limits: limits,
	}
	root := op.ext.schema.root(op.gql.Operation.Operation)
	if !limits.reach[root.Name] {
		return w, true
	}
	defer func() { op.field = nil }()
	for i := range op.rootFields() {
		s := &op.root[i]
		if !w.visit(nil, s, root, true) {
			return w, false
		}
	}
	return w, true
}

// visit looks at a field of an object, and at what is below it. Fields at the root are met once, those below may be met
// again, for another type that the parent can be.
func (w *walker) visit(parent *path, s *selected, object *ast.Definition, top bool) (ok bool) {
	ls := w.limits.of[object.Name][s.field.Name]
	d := s.field.Definition
	if own := object.Fields.ForName(s.field.Name); own != nil {
		d = own
	}
	leads := d != nil && len(s.field.SelectionSet) > 0 && w.limits.reach[d.Type.Name()] && w.mentioned(s)
	if len(ls) == 0 && !leads {
		return true
	}
	if top && !leads {
		return w.occur(nil, s, ls)
	}
	at := &path{parent, s.key()}
	if p, ok := w.paths[*at]; ok {
		at = p
	} else {
		if w.paths == nil {
			w.paths = make(map[path]*path)
		}
		w.paths[*at] = at
	}
	if len(ls) > 0 && !w.occur(at, s, ls) {
		return false
	}
	if !leads {
		return true
	}
	for _, o := range w.schema.objects(w.schema.Types[d.Type.Name()]) {
		if !w.limits.reach[o.Name] {
			continue
		}
		children := w.children(s, o)
		for i := range children {
			if w.steps > maxSteps || !w.visit(at, &children[i], o, false) {
				return false
			}
		}
	}
	return true
}

// mentioned tells whether what a field selects mentions a limited field by its name, at any depth: if not, there is no
// need to look what is executed, which nested fragments can make as much as they like.
func (w *walker) mentioned(s *selected) bool {
	return w.mentions(s.field) || slices.ContainsFunc(s.more, w.mentions)
}

func (w *walker) mentions(f *ast.Field) bool {
	if w.mention == nil {
		w.mention = make(map[ast.Selection]bool)
		w.spreads = make(map[*ast.FragmentDefinition]bool)
	}
	yes, ok := w.mention[f]
	if !ok {
		yes = w.mentionedIn(f.SelectionSet)
		w.mention[f] = yes
	}
	return yes
}

func (w *walker) mentionedIn(set ast.SelectionSet) bool {
	return slices.ContainsFunc(set, func(sel ast.Selection) bool {
		switch sel := sel.(type) {
		case *ast.Field:
			return w.limits.names[sel.Name] || w.mentions(sel)
		case *ast.InlineFragment:
			return w.mentionedIn(sel.SelectionSet)
		case *ast.FragmentSpread:
			if sel.Definition == nil {
				return false
			}
			yes, ok := w.spreads[sel.Definition]
			if !ok {
				yes = w.mentionedIn(sel.Definition.SelectionSet)
				w.spreads[sel.Definition] = yes
			}
			return yes
		}
		return false
	})
}

// occur adds the limits of a field at a place: nil is one at the root that nothing is below, which is met once. Where several
// types can stand, each budget is charged for the dearest.
func (w *walker) occur(at *path, s *selected, ls []*limit) (ok bool) {
	o := w.at[at]
	switch {
	case o != nil:
		o.others = append(o.others, *s)
	case len(w.found) >= w.op.ext.config.MaxFields:
		return false
	default:
		o = w.newOccurrence()
		o.first, o.at = *s, at
		if at == nil {
			o.onlyPath.key = s.key()
			o.at = &o.onlyPath
		} else {
			if w.at == nil {
				w.at = make(map[*path]*occurrence)
			}
			w.at[at] = o
		}
	}
	before := len(o.needs)
	for _, l := range ls {
		if err := w.charge(o, s, l, before); err != nil {
			w.op.ext.tell(w.op, &FieldError{Field: l.field, Policy: l.policy.Name + l.name, Err: err})
			if !l.shadow && w.op.closed() {
				o.drop(unavailable)
			}
		}
	}
	return true
}

// newOccurrence adds an occurrence, of which several are allocated at once.
func (w *walker) newOccurrence() *occurrence {
	if len(w.spare) == 0 {
		w.spare = make([]occurrence, max(1, min(len(w.found), 64)))
	}
	o := &w.spare[0]
	w.spare = w.spare[1:]
	o.needs = o.onlyNeed[:0]
	w.found = append(w.found, o)
	return o
}

// drop refuses an occurrence for a reason that is no budget's.
func (o *occurrence) drop(r guard.Reason) {
	if !o.dropped {
		o.dropped, o.by, o.reason = true, -1, r
	}
}
