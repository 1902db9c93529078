package haltgqlgen_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"testing"

	haltgqlgen "github.com/halt-dev/halt/adapters/gqlgen"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

// The defences of the attack set: what each address may do in an hour.
var (
	points  = policy("points", 500)
	roots   = policy("roots", 50)
	attempt = policy("logins", 5)
)

// defences are rules that the attacks meet, by name.
var defences = map[string]haltgqlgen.Config{
	"Complexity": {Rules: []haltgqlgen.Rule{{Policy: points, Key: haltgqlgen.ByIP(), Cost: haltgqlgen.Complexity}}},
	"RootFields": {Rules: []haltgqlgen.Rule{{Policy: roots, Key: haltgqlgen.ByIP(), Cost: haltgqlgen.RootFields}}},
	"Fields":     {Fields: haltgqlgen.Fields{"Mutation.login": {Policy: attempt, Key: haltgqlgen.ByIP()}}},
	"MaxFields":  {Fields: haltgqlgen.Fields{"Mutation.login": {Policy: attempt, Key: haltgqlgen.ByIP()}}, MaxFields: 100},
	"Resolved": {Rules: []haltgqlgen.Rule{{
		Policy: points, Key: haltgqlgen.ByIP(), Cost: haltgqlgen.Complexity, Settle: haltgqlgen.Resolved,
	}}},
}

// nested returns a query of friends of friends, ten each.
func nested(depth int) string {
	return `{user(id: 1) ` + strings.Repeat(`{friends(first: 10) `, depth) + `{id}` + strings.Repeat(`}`, depth) + `}`
}

// attacks is the table of docs/graphql.md. The prices of lists are those of the server's ComplexityRoot: 1 + first * what
// is below.
var attacks = []struct {
	name, document string // as the table has it
	query          string
	vars           map[string]any
	by             string // the defence
	spent          int64
	executed       int64 // resolvers
	status         int
	refused        int // errors
}{
	{"alias amplification", "`mutation {a0: login(…) … a999: login(…)}`", logins(1000), nil, "RootFields", 0, 0, 429, 1},
	{"alias amplification, field by field", "the same", logins(1000), nil, "Fields", 5, 5, 200, 995},
	{"alias amplification, bounded", "the same", logins(1000), nil, "MaxFields", 0, 0, 429, 1},
	{"few aliases", "`mutation {a0: login(…) … a9: login(…)}`", logins(10), nil, "RootFields", 10, 10, 200, 0},
	{"one alias, over and over", "`{need need … need}`, 1,000 times", "{" + strings.Repeat("need ", 1000) + "}", nil, "Complexity", 1, 1, 200, 0},
	{"deep nesting", "`{user {friends {friends … {id}}}}`, 12 deep", nested(12), nil, "Complexity", 0, 0, 429, 1},
	{"less deep", "the same, 2 deep", nested(2), nil, "Complexity", 112, 12, 200, 0},
	{"a wide list", "`{users(first: 100000) {id name}}`", `{users(first: 100000) {id name}}`, nil, "Complexity", 0, 0, 429, 1},
	{"a less wide list", "`{users(first: 100) {id name}}`", `{users(first: 100) {id name}}`, nil, "Complexity", 201, 1, 200, 0},
	{"a list wider than priced", "`{search {… posts {author {posts {id}}}}}`", `{search(text: "") {... on User {posts {author {posts {id}}}}}}`, nil, "Resolved", 10, 6, 200, 0},
	{"nested fragments", "18 fragments, each spread twice in the one before", exponential(18), nil, "Complexity", 0, 0, 429, 1},
	{"a reused fragment", "`{a: user {...F} b: user {...F}}`", `{a: user(id: 1) {...F} b: user(id: 2) {...F}} fragment F on User {id name}`, nil, "Complexity", 6, 2, 200, 0},
	{"a fragment twice in one place", "`{user {...F ...F}}`", `{user(id: 1) {...F ...F}} fragment F on User {id name}`, nil, "Complexity", 3, 1, 200, 0},
	{"a cheap document, a dear variable", "`query($n: Int) {users(first: $n) {id}}`, n = 100,000", `query($n: Int) {users(first: $n) {id}}`, map[string]any{"n": 100_000}, "Complexity", 0, 0, 429, 1},
	{"the same, a cheap variable", "n = 10", `query($n: Int) {users(first: $n) {id}}`, map[string]any{"n": 10}, "Complexity", 11, 1, 200, 0},
	{"a negative variable", "n = -100,000", `query($n: Int) {users(first: $n) {id}}`, map[string]any{"n": -100_000}, "Complexity", 2, 1, 200, 0},
	{"a price that overflows", "`query($n: Int) {users(first: $n) {a: id b: id c: id d: id}}`, n = 2^62", `query($n: Int) {users(first: $n) {a: id b: id c: id d: id}}`, map[string]any{"n": 1 << 62}, "Complexity", 0, 0, 429, 1},
	{"lists whose product overflows", "`{users(first: 4096) {friends(first: 2000000000) {…}}}`", `{users(first: 4096) {friends(first: 2000000000) {friends(first: 2000000000) {id}}}}`, nil, "Complexity", 0, 0, 429, 1},
	{"included by a variable", "`{need users(first: 100000) @include(if: $b) {id}}`, b = true", `query($b: Boolean!) {need users(first: 100000) @include(if: $b) {id}}`, map[string]any{"b": true}, "Complexity", 0, 0, 429, 1},
	{"not included", "b = false", `query($b: Boolean!) {need users(first: 100000) @include(if: $b) {id}}`, map[string]any{"b": false}, "Complexity", 1, 1, 200, 0},
	{"skipped aliases", "`{a: login(…) @skip(if: true) b: login(…)}`", `mutation {a: ` + login + ` @skip(if: true) b: ` + login + `}`, nil, "Fields", 1, 1, 200, 0},
	{"an alternative per type", "`{node {… on User {id name} … on Post {id}}}`", `{node(id: 1) {... on User {id name} ... on Post {id}}}`, nil, "Complexity", 3, 1, 200, 0},
	{"introspection", "`{__schema {types {fields {type {name}}}}}`", `{__schema {types {fields {type {name}}}}}`, nil, "Complexity", 5, 0, 200, 0},
	{"malformed", "`{need`", `{need`, nil, "Complexity", 0, 0, 422, 0},
	{"batching", "`[{query}, {query}]`", "", nil, "Complexity", 0, 0, 400, 0},
}

// stoppedBy is the last column of the table.
func stoppedBy(a int) string {
	switch x := attacks[a]; {
	case x.status == http.StatusBadRequest, x.status == http.StatusUnprocessableEntity:
		return "gqlgen"
	case x.by == "Fields":
		return "a limit on `Mutation.login`"
	case x.by == "Resolved":
		return "`Complexity`, settled by `Resolved`"
	default:
		return "`" + x.by + "`"
	}
}

// TestAttacks: what is spent is what the document asks for, and what is refused is not executed.
func TestAttacks(t *testing.T) {
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			s := bareSite(t, priced())
			s.limiter = halt.New(memory.New(nil), nil)
			s.srv.Use(haltgqlgen.Operations(s.limiter, withPolicies(t, defences[a.by])))
			r := request(t, a.query, a.vars)
			if a.name == "batching" {
				r = batch(t, r)
			}
			got := s.send(t, r)
			spent := s.spent(t, points, ip) + s.spent(t, roots, ip) + s.spent(t, attempt, ip)
			if got.Status != a.status || spent != a.spent || s.Total() != a.executed || got.refused() != a.refused {
				t.Errorf("status %d, spent %d, %d executed, %d refused: %.300s", got.Status, spent, s.Total(), got.refused(), got.Body)
			}
			if a.status < 400 && len(got.Errors) != a.refused {
				t.Errorf("%.300s", got.Body)
			}
		})
	}
}

// TestSixLines: what the documentation shows is what the example runs: six lines.
func TestSixLines(t *testing.T) {
	example, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for paragraph := range strings.SplitSeq(string(example), "\n\n") {
		if strings.Contains(paragraph, "haltgqlgen.Operations(") {
			lines = strings.Split(strings.ReplaceAll("\n"+paragraph, "\n\t", "\n")[1:], "\n")
		}
	}
	if len(lines) != 6 {
		t.Errorf("%d lines: %q", len(lines), lines)
	}
	block := "```go\n" + strings.Join(lines, "\n") + "\n```\n"
	for name, want := range map[string]string{
		"../../README.md": block, "../../docs/graphql.md": block, "doc.go": "//\n//\t" + strings.Join(lines, "\n//\t") + "\n//\n",
	} {
		doc, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // the module alone has no docs
		}
		if !strings.Contains(string(doc), want) {
			t.Errorf("%s lacks\n%s", name, want)
		}
	}
}

// TestAttacksAreDocumented: the table of the documentation is this one.
func TestAttacksAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/graphql.md")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("the module alone has no docs")
	}
	var table strings.Builder
	for i, a := range attacks {
		outcome := "executed"
		switch {
		case a.status >= 400:
			outcome = fmt.Sprint(a.status)
		case a.refused > 0:
			outcome = fmt.Sprintf("%d fields refused", a.refused)
		}
		fmt.Fprintf(&table, "| %s | %s | %s | %d | %s |\n", a.name, a.document, stoppedBy(i), a.spent, outcome)
	}
	if !strings.Contains(string(doc), table.String()) {
		t.Errorf("docs/graphql.md lacks this table:\n%s", table.String())
	}
}
