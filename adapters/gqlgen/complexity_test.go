package haltgqlgen_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"

	"github.com/99designs/gqlgen/complexity"
	"github.com/99designs/gqlgen/graphql"

	haltgqlgen "github.com/halt-dev/halt/adapters/gqlgen"
	"github.com/halt-dev/halt/adapters/gqlgen/internal/testapi"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
	"github.com/halt-dev/halt/core/memory"
)

// priced are complexity functions as a server has them: a list costs its elements.
func priced() (c testapi.ComplexityRoot) {
	times := func(child int, first *int) int {
		n := 10
		if first != nil {
			n = *first
		}
		return 1 + n*child
	}
	c.Query.Users, c.User.Friends = times, times
	c.User.Posts = func(child int) int { return 5 * child }
	c.Post.Author = func(int) int { return 0 } // below 1: ignored
	return c
}

// counts returns what Complexity and gqlgen make of a query. What gqlgen counts is only asked for with both.
func counts(t *testing.T, root testapi.ComplexityRoot, limit int64, query string, vars map[string]any, both bool) (ours, gqlgens int64) {
	t.Helper()
	s := bareSite(t, root)
	es := testapi.New(s.API, testapi.DirectiveRoot{}, root)
	s.srv.Use(haltgqlgen.Operations(halt.New(memory.New(nil), nil), withPolicies(t, haltgqlgen.Config{
		Rules: []haltgqlgen.Rule{{
			Policy: policy("points", limit), Key: haltgqlgen.Everyone(),
			Cost: func(op *haltgqlgen.Operation) int64 {
				ours = haltgqlgen.Complexity(op)
				if again := haltgqlgen.Complexity(op); again != ours {
					t.Errorf("asked again: %d", again)
				}
				if both {
					gql := op.GraphQL()
					gqlgens = int64(complexity.Calculate(op.Context(), es, gql.Operation, gql.Variables))
				}
				return 1
			},
		}},
		OnError: func(_ *haltgqlgen.Operation, err error) { t.Error(err) },
	})))
	s.srv.Use(opFunc(func(context.Context, graphql.OperationHandler) graphql.ResponseHandler {
		return graphql.OneShot(&graphql.Response{}) // don't execute it
	}))
	if a := s.do(t, query, vars); len(a.Errors) > 0 {
		t.Fatal(a.Body)
	}
	return ours, gqlgens
}

const high = 1_000_000

// TestComplexityAsGqlgen: where gqlgen counts what is executed, the counts are the same.
func TestComplexityAsGqlgen(t *testing.T) {
	for name, query := range map[string]string{
		"a field":             `{need}`,
		"aliases":             `{a: need b: need c: need}`,
		"typename":            `{__typename user(id: 1) {__typename id}}`,
		"nesting":             `{user(id: 1) {name friends(first: 3) {name posts {title author {id}}}}}`,
		"default argument":    `{users {id name}}`,
		"variable":            `query($n: Int = 4) {users(first: $n) {id friends(first: $n) {id}}}`,
		"fragment":            `{users {...F}} fragment F on User {id name posts {id}}`,
		"fragment, twice":     `{a: user(id: 1) {...F} b: user(id: 2) {...F}} fragment F on User {id name}`,
		"inline fragment":     `{user(id: 1) {... {id} ... on User {name}}}`,
		"interface":           `{node(id: 1) {id __typename}}`,
		"union, one type":     `{search(text: "x") {... on User {id name}}}`,
		"mutation":            `mutation {a: login(email: "", password: "") b: signIn(input: {email: "a", password: ""})}`,
		"subscription":        `subscription {ticks(count: 1)}`,
		"introspected type":   `{__type(name: "User") {name fields {name type {name}}}}`,
		"no arguments":        `{report vital}`,
		"nested, with prices": `{users(first: 2) {friends(first: 3) {friends(first: 4) {id}}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			for _, root := range []testapi.ComplexityRoot{{}, priced()} {
				if ours, theirs := counts(t, root, high, query, nil, true); ours != theirs {
					t.Errorf("%d, gqlgen counts %d", ours, theirs)
				}
			}
		})
	}
}

// TestComplexityCountsWhatIsExecuted: where gqlgen doesn't.
func TestComplexityCountsWhatIsExecuted(t *testing.T) {
	for _, c := range []struct {
		name, query  string
		vars         map[string]any
		ours, theirs int64
	}{
		{name: "one key, three times", query: `{need need need}`, ours: 1, theirs: 3},
		{name: "one key, merged below", query: `{user(id: 1) {id} user(id: 1) {id name}}`, ours: 3, theirs: 5},
		{name: "a fragment twice at one place", query: `{...F ...F} fragment F on Query {need}`, ours: 1, theirs: 2},
		{name: "skipped", query: `query($b: Boolean!) {need a: need @skip(if: $b)}`, vars: map[string]any{"b": true}, ours: 1, theirs: 2},
		{name: "not skipped", query: `query($b: Boolean!) {need a: need @skip(if: $b)}`, vars: map[string]any{"b": false}, ours: 2, theirs: 2},
		{name: "not included", query: `{need user(id: 1) @include(if: false) {id name}}`, ours: 1, theirs: 4},
		{name: "included by default", query: `query($b: Boolean = true) {need a: need @include(if: $b)}`, ours: 2, theirs: 2},
		{name: "both", query: `{a: need @skip(if: false) @include(if: false) b: need}`, ours: 1, theirs: 2},
		{name: "a fragment not included", query: `{need ...F @include(if: false)} fragment F on Query {a: need b: need}`, ours: 1, theirs: 3},
		{name: "an inline fragment skipped", query: `{need ... @skip(if: true) {a: need b: need}}`, ours: 1, theirs: 3},
		{name: "all skipped costs 1", query: `{need @skip(if: true)}`, ours: 1, theirs: 1},
		{name: "a union's dearest", query: `{search(text: "") {... on User {id name} ... on Post {i: id title author {id}}}}`, ours: 5, theirs: 7},
		{name: "an interface's dearest", query: `{node(id: 1) {id ... on User {name} ... on Post {title author {id}}}}`, ours: 5, theirs: 6},
		{name: "an interface, by its name", query: `{search(text: "") {... on Node {id} ... on User {id name}}}`, ours: 3, theirs: 4},
		{name: "introspection", query: `{__schema {types {name}}}`, ours: 3, theirs: 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			ours, theirs := counts(t, testapi.ComplexityRoot{}, high, c.query, c.vars, true)
			if ours != c.ours || theirs != c.theirs {
				t.Errorf("%d, want %d; gqlgen counts %d, want %d", ours, c.ours, theirs, c.theirs)
			}
		})
	}
}

// exponential returns a query of so many nested fragments, each of which is spread twice.
func exponential(levels int) string {
	var b strings.Builder
	b.WriteString(`{user(id:1){...F0}}`)
	for i := range levels {
		fmt.Fprintf(&b, `fragment F%d on User{a:posts{author{...F%d}}b:posts{author{...F%d}}}`, i, i+1, i+1)
	}
	fmt.Fprintf(&b, `fragment F%d on User{id}`, levels)
	return b.String()
}

// TestComplexityOfNestedFragments: it is linear, and exact as far as numbers go.
func TestComplexityOfNestedFragments(t *testing.T) {
	// f(0) = 1; f(n) = 2 * (2 + f(n-1))
	want := func(levels int) int64 {
		f := int64(1)
		for range levels {
			f = 2 * (2 + f)
		}
		return 1 + f
	}
	for levels, both := range map[int]bool{1: true, 5: true, 10: true, 18: false, 40: false} {
		ours, theirs := counts(t, testapi.ComplexityRoot{}, 1<<50, exponential(levels), nil, both)
		if ours != want(levels) || both && theirs != ours {
			t.Errorf("%d levels: %d, want %d; gqlgen: %d", levels, ours, want(levels), theirs)
		}
	}
	if ours, _ := counts(t, testapi.ComplexityRoot{}, 1<<50, exponential(100), nil, false); ours != haltgqlgen.TooComplex {
		t.Errorf("100 levels: %d", ours)
	}
}

// TestExponentialQuery: it is the one that is spoken of, and is counted as what it executes: a user's id.
func TestExponentialQuery(t *testing.T) {
	if n := len(doubling); n != 843 {
		t.Errorf("%d bytes", n)
	}
	if n, _ := counts(t, testapi.ComplexityRoot{}, high, doubling, nil, false); n != 2 {
		t.Errorf("%d", n)
	}
}

// merging returns a query in which each of 2^depth places merges another set of fragments: one adds another at one of
// its two fields, and all others move on.
func merging(depth int) string {
	var b strings.Builder
	b.WriteString(`{user(id:1){...F0_0}}`)
	for l := range depth {
		fmt.Fprintf(&b, `fragment F%d_0 on User{a:friends{...F%d_0 ...F%d_1}b:friends{...F%d_0}}`, l, l+1, l+1, l+1)
		for i := 1; i <= l; i++ {
			fmt.Fprintf(&b, `fragment F%d_%d on User{a:friends{...F%d_%d}b:friends{...F%d_%d}}`, l, i, l+1, i+1, l+1, i+1)
		}
	}
	for i := range depth + 1 {
		fmt.Fprintf(&b, `fragment F%d_%d on User{id}`, depth, i)
	}
	return b.String()
}

// TestComplexityOfMergedFragments: as long as it takes few steps the count is exact; a document whose selections meet in a
// new combination at each place of the answer is counted by selections instead, as gqlgen does, though only once each.
func TestComplexityOfMergedFragments(t *testing.T) {
	exact := func(depth int) int64 { return 1<<(depth+1) - 1 + 1<<depth } // user, 2 + 4 + ... fields, and an id at each end
	for depth, want := range map[int]int64{1: exact(1), 4: exact(4), 7: exact(7)} {
		if ours, theirs := counts(t, testapi.ComplexityRoot{}, high, merging(depth), nil, true); ours != want || theirs <= ours {
			t.Errorf("depth %d: %d, want %d; gqlgen: %d", depth, ours, want, theirs)
		}
	}
	for _, root := range []testapi.ComplexityRoot{{}, priced()} {
		if ours, theirs := counts(t, root, 1<<50, merging(13), nil, true); ours != min(theirs, haltgqlgen.TooComplex) || ours < exact(13) {
			t.Errorf("by selections: %d; gqlgen: %d", ours, theirs)
		}
	}
	if n, _ := counts(t, testapi.ComplexityRoot{}, 1000, merging(20), nil, false); n != haltgqlgen.TooComplex {
		t.Errorf("past the budget: %d", n)
	}
}

// TestComplexityEndsEarly: past the largest budget the count is TooComplex, and refused, and says that waiting is no use.
func TestComplexityEndsEarly(t *testing.T) {
	wide := "{" + strings.Repeat(" a%d: need", 100) + "}"
	args := make([]any, 100)
	for i := range args {
		args[i] = i
	}
	query := fmt.Sprintf(wide, args...)
	if n, _ := counts(t, testapi.ComplexityRoot{}, 100, query, nil, true); n != 100 {
		t.Errorf("at the budget: %d", n)
	}
	if n, _ := counts(t, testapi.ComplexityRoot{}, 99, query, nil, true); n != haltgqlgen.TooComplex {
		t.Errorf("past the budget: %d", n)
	}
	points := policy("points", 99)
	s := newSite(t, haltgqlgen.Config{Cost: true, Rules: []haltgqlgen.Rule{{Policy: points, Key: haltgqlgen.Everyone(), Cost: haltgqlgen.Complexity}}})
	a := s.do(t, query, nil)
	if a.Status != 429 || a.Errors[0].Extensions["retryAfter"] != nil || a.Header.Get("Retry-After") != "" || s.Total() != 0 {
		t.Errorf("%d %v %s", a.Status, a.Header, a.Body)
	}
	if cost := a.Extensions["cost"].(map[string]any); cost["requested"] != nil {
		t.Errorf("%v", cost)
	}
	if n := s.spent(t, points, everyone); n != 0 {
		t.Errorf("spent %d", n)
	}
}

// TestComplexityPanics: a complexity function of the server's that panics is as if the server had none, and makes nothing
// else free; with FailClosed it refuses.
func TestComplexityPanics(t *testing.T) {
	root := priced()
	root.Query.Need = func(int) int { panic("at the price") }
	for _, closed := range []bool{false, true} {
		s := bareSite(t, root)
		s.limiter = halt.New(memory.New(nil), nil)
		points := policy("points", 100)
		var told []error
		s.srv.Use(haltgqlgen.Operations(s.limiter, withPolicies(t, haltgqlgen.Config{
			Rules:      []haltgqlgen.Rule{{Policy: points, Key: haltgqlgen.Everyone(), Cost: haltgqlgen.Complexity}},
			FailClosed: closed,
			OnError:    func(_ *haltgqlgen.Operation, err error) { told = append(told, err) },
		})))
		a := s.do(t, `{need a: need users(first: 20) {id}}`, nil)
		want, status := int64(23), http.StatusOK
		if closed {
			want, status = 0, http.StatusServiceUnavailable
		}
		if n := s.spent(t, points, everyone); n != want || a.Status != status || len(told) != 1 || !errors.Is(told[0], guard.ErrPanic) {
			t.Errorf("closed %v: spent %d, told %v: %.200s", closed, n, told, a.Body)
		}
		var field *haltgqlgen.FieldError
		if !closed && (!errors.As(told[0], &field) || field.Field != "Query.need") {
			t.Errorf("told %v", told)
		}
	}
}

// TestUnreadableArgument: an argument that gqlparser panics at, a number of more than 64 bits of a custom scalar, spoils its
// own field and makes nothing else free.
func TestUnreadableArgument(t *testing.T) {
	const query = `{find(anything: 99999999999999999999) users(first: 40) {id}}`
	points := policy("points", 100)
	s := bareSite(t, priced())
	s.limiter = halt.New(memory.New(nil), nil)
	s.srv.SetRecoverFunc(func(context.Context, any) error { return context.Canceled })
	s.srv.Use(haltgqlgen.Operations(s.limiter, withPolicies(t, haltgqlgen.Config{
		Rules:   []haltgqlgen.Rule{{Policy: points, Key: haltgqlgen.Everyone(), Cost: haltgqlgen.Complexity}},
		OnError: func(_ *haltgqlgen.Operation, err error) { t.Error(err) },
	})))
	a := s.do(t, query, nil)
	if n := s.spent(t, points, everyone); n != 42 || s.Calls("Query.find") != 0 {
		t.Errorf("spent %d: %s", n, a.Body)
	}
}

// TestNoOverflow: what a client lets the server's functions multiply is never so much that it is little again.
func TestNoOverflow(t *testing.T) {
	for name, c := range map[string]struct {
		query string
		vars  map[string]any
	}{
		"a list":                {`query($n: Int) {users(first: $n) {a: id b: id c: id d: id}}`, map[string]any{"n": 1 << 62}},
		"as a string":           {`query($n: Int) {users(first: $n) {a: id b: id c: id d: id}}`, map[string]any{"n": "4611686018427387904"}},
		"beyond 64 bits":        {`query($n: Int) {users(first: $n) {id}}`, map[string]any{"n": 1e18}},
		"what is below":         {`{users(first: 4096) {friends(first: 2000000000) {friends(first: 2000000000) {id}}}}`, nil},
		"what is below, a bit":  {`{users(first: 1073741824) {friends(first: 1073741824) {friends(first: 16) {id}}}}`, nil},
		"two lists":             {`query($n: Int) {users(first: $n) {friends(first: $n) {id}}}`, map[string]any{"n": 1 << 32}},
		"dearer than any limit": {`{users(first: 2147483647) {friends(first: 2147483647) {friends(first: 2147483647) {id}}}}`, nil},
	} {
		if n, _ := counts(t, priced(), high, c.query, c.vars, false); n != haltgqlgen.TooComplex {
			t.Errorf("%s: %d", name, n)
		}
	}
	for v, want := range map[any]int64{-1 << 62: 2, -3: 2, 7: 8, "7": 8, nil: 11} {
		if n, _ := counts(t, priced(), high, `query($n: Int) {users(first: $n) {id}}`, map[string]any{"n": v}, false); n != want {
			t.Errorf("%v: %d, want %d", v, n, want)
		}
	}
}

// TestPriceOfInput: a price function gets input objects and lists as the client has sent them, but for Ints of more than 32
// bits; and so does the resolver, with those.
func TestPriceOfInput(t *testing.T) {
	var priced *testapi.Filter
	var root testapi.ComplexityRoot
	root.Query.Find = func(_ int, in *testapi.Filter, _ *string, _ any) int {
		priced = in
		return 3
	}
	s := bareSite(t, root)
	s.srv.Use(haltgqlgen.Operations(halt.New(memory.New(nil), nil), withPolicies(t, haltgqlgen.Config{
		Rules:   []haltgqlgen.Rule{{Policy: policy("points", 3), Key: haltgqlgen.Everyone(), Cost: haltgqlgen.Complexity}},
		OnError: func(_ *haltgqlgen.Operation, err error) { t.Fatal(err) },
	})))
	page := func(size any) map[string]any { return map[string]any{"size": size} }
	a := s.do(t, `query($in: Filter) {find(in: $in, anything: 1)}`, map[string]any{"in": map[string]any{
		"text": "x", "page": page(1 << 40), "pages": []any{page(4), page(-1 << 40)},
	}})
	if len(a.Errors) > 0 || *priced.Text != "x" || *priced.Page.Size != math.MaxInt32 || *priced.Pages[0].Size != 4 || *priced.Pages[1].Size != math.MinInt32 {
		t.Errorf("%+v: %s", priced, a.Body)
	}
	if got := a.Data["find"].(string); !strings.Contains(got, `"size":1099511627776`) || !strings.Contains(got, `"size":-1099511627776`) {
		t.Errorf("the resolver got %s", got)
	}
}
