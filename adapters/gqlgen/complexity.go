package haltgqlgen

import (
	"encoding/binary"
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/vektah/gqlparser/v2/ast"
)

// TooComplex is what [Complexity] returns of an operation beyond all budgets of the Config: more than any policy can hold.
const TooComplex int64 = 1 << 52

// PerOperation costs 1: it counts operations.
func PerOperation(*Operation) int64 { return 1 }

// RootFields costs as much as the operation has fields at its root, each alias counted, but __typename; at least 1. It is
// for limits on what a request can do many times over: a1: login(…) a2: login(…).
func RootFields(op *Operation) int64 {
	n := int64(0)
	for i := range op.rootFields() {
		if op.root[i].field.Name != "__typename" {
			n++
		}
	}
	return max(1, n)
}

// Resolved is a Settle: the true cost of an operation is how many fields it has resolved, in each element of a list; at
// least 1.
func Resolved(op *Operation, _ Outcome) int64 { return max(1, op.ResolvedFields()) }

// Complexity costs what the operation's document asks for: 1 for each field that it executes, or what the server's
// ComplexityRoot says of a field. It is what gqlgen's ComplexityLimit computes, with these differences:
//   - It counts what is executed. @skip and @include are honoured; a field selected twice under one key counts once;
//     of what is selected on an interface or a union, the dearest type counts, not the sum of all.
//   - It takes time in proportion to the document. gqlgen visits a fragment as often as it is spread, which nested
//     fragments make exponential: don't use ComplexityLimit beside it.
//   - Once the count at the root is past the largest budget of the Config's Rules, it ends, and is [TooComplex].
//   - __schema counts as any other field; see Config.Introspection.
//
// It is at least 1, and is counted once per operation.
func Complexity(op *Operation) int64 {
	if op.complexity == 0 {
		c := counter{
			collector: collector{schema: op.ext.schema, vars: op.gql.Variables},
			op:        op, memo: make(map[memoKey]int64),
		}
		op.complexity = max(1, c.operation(op.gql.Operation, op.ext.largest)) + 1
	}
	return op.complexity - 1
}

// maxSteps bounds the exact count, and the search for limited fields, by how many selections they look at. A document in
// which fragments meet in ever new combinations can make these exponentially many; such a one is counted by its selections
// instead, as gqlgen would, which is never less. A search that takes more refuses.
const maxSteps = 20_000

// counter counts the complexity of one operation.
type counter struct {
	collector
	op     *Operation
	memo   map[memoKey]int64
	ids    map[*ast.Field]uint32 // of fields that were merged
	over   bool                  // maxSteps were not enough
	failed bool                  // a price panicked

	fragments map[*ast.FragmentDefinition]int64 // of the count by selections
}

// memoKey are the selections of a field and the type of its value.
type memoKey struct {
	field *ast.Field
	more  string // the numbers of further selections
	typ   string
}

// operation returns the complexity of an operation, or TooComplex if it is more than limit.
func (c *counter) operation(op *ast.OperationDefinition, limit int64) int64 {
	root := c.schema.root(op.Operation)
	total := int64(0)
	for _, s := range c.collect(nil, op.SelectionSet, root) {
		total = add(total, c.field(&s, root))
		if c.over {
			break
		}
		if total > limit {
			return TooComplex
		}
	}
	if c.over {
		c.fragments = make(map[*ast.FragmentDefinition]int64)
		total = c.selections(op.SelectionSet)
	}
	if total > limit {
		return TooComplex
	}
	return total
}

// field returns the complexity of a field of an object.
func (c *counter) field(s *selected, object *ast.Definition) int64 {
	d := s.field.Definition
	if own := object.Fields.ForName(s.field.Name); own != nil {
		d = own // an implementation's type can be narrower than its interface's
	}
	return c.own(s.field, object.Name, c.below(s, c.schema.Types[d.Type.Name()]))
}

// below returns the complexity of what a field selects in its value, of type t.
func (c *counter) below(s *selected, t *ast.Definition) int64 {
	if t == nil || !t.IsCompositeType() {
		return 0
	}
	key := memoKey{field: s.field, typ: t.Name, more: c.numbers(s.more)}
	if n, ok := c.memo[key]; ok {
		return n
	}
	dearest := int64(0)
	for _, object := range c.schema.objects(t) {
		sum := int64(0)
		for _, child := range c.children(s, object) {
			if c.over = c.steps > maxSteps; c.over {
				return 0
			}
			sum = add(sum, c.field(&child, object))
		}
		dearest = max(dearest, sum)
	}
	c.memo[key] = dearest
	return dearest
}

// numbers identifies a list of selections.
func (c *counter) numbers(fs []*ast.Field) string {
	if len(fs) == 0 {
		return ""
	}
	if c.ids == nil {
		c.ids = make(map[*ast.Field]uint32)
	}
	b := make([]byte, 0, 4*len(fs))
	for _, f := range fs {
		id, ok := c.ids[f]
		if !ok {
			id = uint32(len(c.ids)) //nolint:gosec // a document has no 2^32 fields
			c.ids[f] = id
		}
		b = binary.LittleEndian.AppendUint32(b, id)
	}
	c.steps += len(fs)
	return string(b)
}

// own returns the complexity of a field of a type, given that of what is below. What the server's function multiplies is
// kept to 31 bits each, arguments and what is below, or a client could choose them so that the product overflows to a
// little.
func (c *counter) own(f *ast.Field, object string, below int64) int64 {
	var args map[string]any
	if f.Definition != nil && len(f.Definition.Arguments) > 0 {
		args = c.arguments(f)
	}
	n, ok := c.price(f, object, int(min(below, math.MaxInt32)), args)
	switch {
	case !ok || n < 1:
		return add(1, below)
	case below > math.MaxInt32:
		return TooComplex
	default:
		return min(int64(n), TooComplex)
	}
}

// price asks the server's function for a field's complexity. If it panics there is none, as if the server had none, and
// OnError is told once: a client may have brought it about, and must not make all other fields free by it. (gqlgen's code
// around it panics by itself if an argument of a custom scalar that is an any in Go is absent.)
func (c *counter) price(f *ast.Field, object string, below int, args map[string]any) (n int, ok bool) {
	if !c.op.ext.config.FailClosed {
		var err error
		defer func() {
			if err != nil {
				n, ok = 0, false
				if !c.failed {
					c.failed = true
					c.op.ext.tellField(c.op, object+"."+f.Name, "", err, false) // no limit is skipped
				}
			}
		}()
		defer recovered(&err)
	}
	return c.op.ext.es.Complexity(c.op.ctx, object, f.Name, below, args)
}

// arguments returns a field's arguments; none if they can't be read, a number of more than 64 bits, say, where the schema
// has a custom scalar. gqlparser panics at it, and so doesn't resolve the field; the others are still to be counted.
func (c *counter) arguments(f *ast.Field) (args map[string]any) {
	defer func() { _ = recover() }()
	args = f.ArgumentMap(c.vars)
	if len(c.vars) > 0 { // in literals it is an error that gqlparser finds
		for _, d := range f.Definition.Arguments {
			if v, ok := args[d.Name]; ok {
				args[d.Name] = c.schema.bounded(v, d.Type)
			}
		}
	}
	return args
}

// bounded returns a value in which no Int is more than an Int can be.
func (s *schemaInfo) bounded(v any, t *ast.Type) any {
	switch x := v.(type) {
	case []any:
		if t.Elem != nil {
			x = slices.Clone(x)
			for i := range x {
				x[i] = s.bounded(x[i], t.Elem)
			}
		}
		return x
	case map[string]any:
		if d := s.Types[t.Name()]; d != nil && d.Kind == ast.InputObject {
			x = maps.Clone(x) // it is the variables', which are to be executed
			for name, v := range x {
				if field := d.Fields.ForName(name); field != nil {
					x[name] = s.bounded(v, field.Type)
				}
			}
		}
		return x
	}
	if t.Name() != "Int" {
		return v
	}
	n, _ := strconv.ParseInt(string(appendValue(nil, v)), 10, 64) // the nearest, if it is out of range
	switch {
	case n > math.MaxInt32:
		return int64(math.MaxInt32)
	case n < math.MinInt32:
		return int64(math.MinInt32)
	}
	return v
}

// selections returns the complexity of a selection set if each selection counts, each fragment being visited once.
func (c *counter) selections(set ast.SelectionSet) int64 {
	sum := int64(0)
	for _, sel := range set {
		switch sel := sel.(type) {
		case *ast.Field:
			if c.included(sel.Directives) {
				sum = add(sum, c.dearest(sel, c.selections(sel.SelectionSet)))
			}
		case *ast.InlineFragment:
			if c.included(sel.Directives) {
				sum = add(sum, c.selections(sel.SelectionSet))
			}
		case *ast.FragmentSpread:
			if sel.Definition == nil || !c.included(sel.Directives) {
				continue
			}
			n, ok := c.fragments[sel.Definition]
			if !ok {
				n = c.selections(sel.Definition.SelectionSet)
				c.fragments[sel.Definition] = n
			}
			sum = add(sum, n)
		}
	}
	return sum
}

// dearest returns what a field costs on the dearest of the types that it can be selected on.
func (c *counter) dearest(f *ast.Field, below int64) int64 {
	n := int64(0)
	for _, object := range c.schema.objects(f.ObjectDefinition) {
		n = max(n, c.own(f, object.Name, below))
	}
	return n
}

// add returns a+b of complexities, at most TooComplex.
func add(a, b int64) int64 { return min(a+b, TooComplex) }
