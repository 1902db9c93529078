package haltgqlgen_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	haltgqlgen "github.com/halt-dev/halt/adapters/gqlgen"
)

// TestByArgument: equal values are one key, however they are written.
func TestByArgument(t *testing.T) {
	for _, c := range []struct {
		query string
		vars  map[string]any
		key   string
	}{
		{`{users(first: 3) {id}}`, nil, "arg:first=3"},
		{`query($n: Int) {users(first: $n) {id}}`, map[string]any{"n": 3}, "arg:first=3"},
		{`query($n: Int = 3) {users(first: $n) {id}}`, nil, "arg:first=3"},
		{`query($n: Int) {users(first: $n) {id}}`, nil, "arg:first=10"},
		{`{users {id}}`, nil, "arg:first=10"},
		{`{node(id: 5) {id}}`, nil, "arg:id=5"},
		{`{node(id: "5") {id}}`, nil, "arg:id=5"},
		{`query($id: ID!) {node(id: $id) {id}}`, map[string]any{"id": 5}, "arg:id=5"},
		{`query($id: ID!) {node(id: $id) {id}}`, map[string]any{"id": "5"}, "arg:id=5"},
	} {
		p := policy("api", 100)
		s := newSite(t, haltgqlgen.Config{Fields: haltgqlgen.Fields{
			"Query.users": {Policy: p, Key: haltgqlgen.ByArgument("first")},
			"Query.node":  {Policy: p, Key: haltgqlgen.ByArgument("id")},
		}})
		if a := s.do(t, c.query, c.vars); len(a.Errors) > 0 || s.spent(t, p, c.key) != 1 {
			t.Errorf("%s %v: %s", c.query, c.vars, a.Body)
		}
	}
	s := newSite(t, haltgqlgen.Config{Fields: haltgqlgen.Fields{"Query.users": {Policy: policy("api", 1), Key: haltgqlgen.ByArgument("first")}}})
	if a := s.do(t, `{users(first: null) {id}}`, nil); a.codes()[0] != haltgqlgen.CodeKeyMissing {
		t.Errorf("null: %s", a.Body)
	}
	for want, vs := range map[string][]any{
		"7": {7, int64(7), 7.0, json.Number("7"), json.Number("7.0"), json.Number("70e-1"), "7"}, "0.5": {0.5, json.Number("5e-1")},
		"true": {true}, "": {nil, []any{1}, map[string]any{"a": 1}, json.Number("x")},
	} {
		for _, v := range vs {
			if got := string(haltgqlgen.AppendValue(nil, v)); got != want {
				t.Errorf("%T %v is %q, want %q", v, v, got, want)
			}
		}
	}
}

// TestManyKeys: each of many accounts has a budget of its own, which its second alias draws on too.
func TestManyKeys(t *testing.T) {
	var b strings.Builder
	for i := range 60 {
		fmt.Fprintf(&b, ` a%d: login(email: "user%d", password: "")`, i, i%30)
	}
	p := policy("accounts", 1)
	s := newSite(t, haltgqlgen.Config{Fields: haltgqlgen.Fields{"Mutation.login": {Policy: p, Key: haltgqlgen.ByArgument("email")}}})
	if a := s.do(t, "mutation {"+b.String()+"}", nil); a.refused() != 30 || s.Calls("Mutation.login") != 30 {
		t.Errorf("%d refused, %d calls", a.refused(), s.Calls("Mutation.login"))
	}
}

// TestManyFragments: each is collected once, however many there are at one place.
func TestManyFragments(t *testing.T) {
	var b strings.Builder
	b.WriteString("{")
	for i := range 40 {
		fmt.Fprintf(&b, " ...F%d", i%20)
	}
	b.WriteString("}")
	for i := range 20 {
		fmt.Fprintf(&b, " fragment F%d on Query {a%d: report a0: report}", i, i)
	}
	p := policy("report", 100)
	s := newSite(t, haltgqlgen.Config{Policies: registry(t, p)})
	s.do(t, b.String(), nil)
	if n := s.spent(t, p, ip); n != 40 || s.Calls("Query.report") != 20 {
		t.Errorf("spent %d, %d calls", n, s.Calls("Query.report"))
	}
}
