package haltgqlgen

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
)

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
	here   *occurrence // once there is one; nil in a key of walker.paths
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

// walker finds the occurrences of limited fields in an operation, and what they cost. Walkers are recycled: one of an
// operation whose fields were all admitted is done when it is executed.
type walker struct {
	collector
	fieldCharges
	op       *Operation
	limits   *fieldLimits
	root     []selected
	paths    map[path]*path // of places that may be met again
	index    map[budgetKey]int
	known    map[*limit]*known // policies that were resolved
	named    halt.Policy       // the registry's that was looked up last
	directed bool              // an occurrence is limited by a directive
	spare    []occurrence
	scratch  []byte          // keys are made in it
	keys     strings.Builder // what keys are cut off
	mention  map[*ast.Field]bool
	spreads  map[*ast.FragmentDefinition]bool // of which fragments mention a limited field
}

// walker returns a walker for an operation, to be recycled.
func (e *extension) walker(op *Operation) *walker {
	w, _ := e.walkers.Get().(*walker)
	if w == nil {
		w = new(walker)
	}
	w.schema, w.vars, w.op, w.limits = e.schema, op.gql.Variables, op, e.fields
	return w
}

// recycle takes a walker back, without what belongs to its operation; or leaves it to the garbage collector, if the
// operation was large.
func (e *extension) recycle(w *walker) {
	const large = 128
	if len(w.found) > large || len(w.budgets) > large || len(w.root) > large || cap(w.scratch) > 4096 {
		return
	}
	for _, o := range w.found {
		*o = occurrence{} // newOccurrence finds it again
	}
	w.found = w.found[:0]
	clear(w.budgets)
	w.budgets = w.budgets[:0]
	w.call.clear()
	clear(w.root)
	w.collector, w.op, w.limits, w.root, w.directed = collector{}, nil, nil, w.root[:0], false
	w.paths, w.index, w.known = emptied(w.paths), emptied(w.index), emptied(w.known)
	w.mention, w.spreads = emptied(w.mention), emptied(w.spreads)
	e.walkers.Put(w)
}

// emptied returns a map for the next operation: maps don't shrink, and to clear one that has grown takes longer than to
// make one.
func emptied[K comparable, V any](m map[K]V) map[K]V {
	if len(m) > few {
		return nil
	}
	if len(m) > 0 {
		clear(m)
	}
	return m
}

// walk finds the occurrences of limited fields and their budgets. It reports false if there are more than
// Config.MaxFields, or if the document takes too many steps to know.
func (w *walker) walk() (ok bool) {
	doc := w.op.gql.Operation
	root := w.schema.root(doc.Operation)
	if !w.limits.reach[root] {
		return true
	}
	fields := w.op.root
	if !w.op.collected {
		w.root = w.collect(w.root, doc.SelectionSet, root)
		fields = w.root
	}
	for i := range fields {
		if !w.visit(nil, &fields[i], root, true) {
			return false
		}
	}
	return true
}

// visit looks at a field of an object, and at what is below it. Where a parent can be of several types, the same place may
// be met again, for another type; if not, once says so.
func (w *walker) visit(parent *path, s *selected, object *ast.Definition, once bool) (ok bool) {
	d := s.field.Definition
	if s.field.ObjectDefinition != object {
		d = object.Fields.ForName(s.field.Name) // an implementation has limits and a type of its own
	}
	l, ok := w.limits.of[d]
	if !ok {
		return true
	}
	t := l.leads
	if t == nil || len(s.field.SelectionSet) == 0 || !w.mentioned(s) {
		return len(l.limits) == 0 || w.occur(w.place(parent, s, once, true), parent, s, l.limits)
	}
	at := w.place(parent, s, once, false)
	if len(l.limits) > 0 && !w.occur(at, parent, s, l.limits) {
		return false
	}
	objects := w.schema.objects(t)
	once = once && len(objects) == 1
	for _, o := range objects {
		if !w.limits.reach[o] {
			continue
		}
		children := w.children(s, o)
		for i := range children {
			if w.steps > maxSteps || !w.visit(at, &children[i], o, once) {
				return false
			}
		}
	}
	return true
}

// place returns where a field stands; nil if it is met once and is a leaf: the occurrence has room for such a path.
func (w *walker) place(parent *path, s *selected, once, leaf bool) *path {
	if once {
		if leaf {
			return nil
		}
		return &path{parent: parent, key: s.key()}
	}
	k := path{parent: parent, key: s.key()}
	p := w.paths[k]
	if p == nil {
		if w.paths == nil {
			w.paths = make(map[path]*path)
		}
		p = &path{parent: parent, key: k.key}
		w.paths[k] = p
	}
	return p
}

// mentioned tells whether what a field selects mentions a limited field by its name, at any depth: if not, there is no
// need to look what is executed, which nested fragments can make as much as they like.
func (w *walker) mentioned(s *selected) bool {
	return w.mentions(s.field) || slices.ContainsFunc(s.more, w.mentions)
}

func (w *walker) mentions(f *ast.Field) bool {
	if len(f.SelectionSet) <= few { // mostly that settles it, and there is nothing to remember
		deep := false
		for _, sel := range f.SelectionSet {
			child, ok := sel.(*ast.Field)
			if ok && w.limits.names[child.Name] {
				return true
			}
			deep = deep || !ok || len(child.SelectionSet) > 0
		}
		if !deep {
			return false
		}
	}
	yes, ok := w.mention[f]
	if !ok {
		yes = w.mentionedIn(f.SelectionSet)
		if w.mention == nil {
			w.mention = make(map[*ast.Field]bool)
		}
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
				if w.spreads == nil {
					w.spreads = make(map[*ast.FragmentDefinition]bool)
				}
				w.spreads[sel.Definition] = yes
			}
			return yes
		}
		return false
	})
}

// occur adds the limits of a field at a place, or at one of its own below parent, if at is nil. Where several types can
// stand, each budget is charged for the dearest.
func (w *walker) occur(at, parent *path, s *selected, ls []*limit) (ok bool) {
	var o *occurrence
	switch {
	case at != nil && at.here != nil:
		o = at.here
		o.others = append(o.others, *s)
	case len(w.found) >= w.op.ext.config.MaxFields:
		return false
	default:
		o = w.newOccurrence()
		if at == nil {
			at = &o.onlyPath
			at.parent, at.key = parent, s.key()
		}
		o.first, o.at, at.here = *s, at, o
	}
	before := len(o.needs)
	for _, l := range ls {
		w.directed = w.directed || l.directed
		if err := w.charge(o, s, l, before); err != nil {
			// A cost below 0 is often the client's own figure: skipping the limit would be a way past it.
			open := !l.shadow && !w.op.closed() && !errors.Is(err, guard.ErrNegativeCost)
			w.tell(l, err, open)
			if !l.shadow && !open {
				o.drop(guard.Unavailable)
			}
		}
	}
	w.op.field = nil
	return true
}

// tell tells that a limit failed, or found no key.
func (w *walker) tell(l *limit, err error, failedOpen bool) {
	w.op.ext.tellField(w.op, l.field, l.policy.Name+l.name, err, failedOpen)
}

// newOccurrence adds an occurrence: one of an earlier operation, or of several that are allocated at once.
func (w *walker) newOccurrence() (o *occurrence) {
	if n := len(w.found); n < cap(w.found) {
		o = w.found[:n+1][n]
	}
	if o == nil {
		if len(w.spare) == 0 {
			w.spare = make([]occurrence, max(1, min(len(w.found), 64)))
		}
		o, w.spare = &w.spare[0], w.spare[1:]
	}
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
