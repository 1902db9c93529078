package haltgqlgen_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	haltgqlgen "github.com/halt-dev/halt/adapters/gqlgen"
	"github.com/halt-dev/halt/adapters/gqlgen/internal/testapi"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
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

// TestByArgumentDefaults: what the client leaves out is what the schema presets, at each step of the path and as the
// resolver sees it; an explicit null is none; a list is never entered.
func TestByArgumentDefaults(t *testing.T) {
	const literal, whole, text = `{find(in: %s)}`, `query($in: Filter%s) {find(in: $in)}`, `query($v: %s) {find(in: {%s})}`
	vars := func(in any) map[string]any { return map[string]any{"in": in} }
	object := func(kv ...any) map[string]any {
		m := make(map[string]any)
		for i := 0; i < len(kv); i += 2 {
			m[kv[i].(string)] = kv[i+1]
		}
		return m
	}
	for _, c := range []struct {
		query string
		vars  map[string]any
		want  string // of text, page.size, page.order and needed.size
	}{
		{`{find}`, nil, "all 5 ASC 10"},
		{`{find(in: null)}`, nil, "- - - -"},
		{fmt.Sprintf(literal, `{}`), nil, "all 5 ASC 10"},
		{fmt.Sprintf(literal, `{text: "x", page: {}}`), nil, "x 10 ASC 10"},
		{fmt.Sprintf(literal, `{page: {order: DESC}, needed: {size: 3}}`), nil, "all 10 DESC 3"},
		{fmt.Sprintf(literal, `{text: null, page: null}`), nil, "- - - 10"},
		{fmt.Sprintf(literal, `{page: {size: null}}`), nil, "all - ASC 10"},
		{fmt.Sprintf(whole, ""), nil, "all 5 ASC 10"},
		{fmt.Sprintf(whole, ""), vars(nil), "- - - -"},
		{fmt.Sprintf(whole, ""), vars(object()), "all 5 ASC 10"},
		{fmt.Sprintf(whole, ""), vars(object("page", object())), "all 10 ASC 10"},
		{fmt.Sprintf(whole, ""), vars(object("page", nil)), "all - - 10"},
		{fmt.Sprintf(whole, ""), vars(object("page", object("size", nil), "text", "y")), "y - ASC 10"},
		{fmt.Sprintf(whole, ""), vars(object("page", object("order", "DESC"), "needed", object("size", 4))), "all 10 DESC 4"},
		{fmt.Sprintf(whole, ` = {text: "v", page: {size: 2}}`), nil, "v 2 ASC 10"},
		{fmt.Sprintf(whole, ` = {text: "v"}`), vars(object("page", object("size", 6))), "all 6 ASC 10"},
		{fmt.Sprintf(whole, ` = {text: "v"}`), vars(nil), "- - - -"},
		{fmt.Sprintf(text, `String`, `text: $v`), nil, "all 5 ASC 10"},
		{fmt.Sprintf(text, `String = "w"`, `text: $v`), nil, "w 5 ASC 10"},
		{fmt.Sprintf(text, `String = "w"`, `text: $v`), map[string]any{"v": nil}, "- 5 ASC 10"},
		{fmt.Sprintf(text, `Page`, `page: $v`), nil, "all 5 ASC 10"},
		{fmt.Sprintf(text, `Page`, `page: $v`), map[string]any{"v": object()}, "all 10 ASC 10"},
		{fmt.Sprintf(text, `Int`, `page: {size: $v}`), nil, "all 10 ASC 10"},
		{fmt.Sprintf(text, `Int`, `page: {size: $v}`), map[string]any{"v": nil}, "all - ASC 10"},
	} {
		var seen []string
		find := haltgqlgen.FieldRule{Policy: policy("find", 100), Key: haltgqlgen.Everyone(), Cost: func(op *haltgqlgen.Operation) int64 {
			for _, path := range []string{"in.text", "in.page.size", "in.page.order", "in.needed.size"} {
				v := string(haltgqlgen.AppendValue(nil, op.Argument(path)))
				seen = append(seen, cmp.Or(v, "-"))
			}
			for _, path := range []string{"in.pages.size", "in.text.x", "in.nothing", "in.page.nothing", "nothing", "nothing.x"} {
				if v := op.Argument(path); v != nil {
					t.Errorf("%s is %v", path, v)
				}
			}
			return 1
		}}
		s := newSite(t, haltgqlgen.Config{Fields: haltgqlgen.Fields{"Query.find": find}})
		a := s.do(t, c.query, c.vars)
		if got := strings.Join(seen, " "); got != c.want || len(a.Errors) > 0 {
			t.Errorf("%s %v: %s, want %s: %s", c.query, c.vars, got, c.want, a.Body)
			continue
		}
		var resolved struct {
			In *testapi.Filter
		}
		if err := json.Unmarshal([]byte(a.Data["find"].(string)), &resolved); err != nil {
			t.Fatal(err)
		}
		if got := told(resolved.In); got != c.want {
			t.Errorf("%s %v: %s, but the resolver got %s", c.query, c.vars, c.want, got)
		}
	}
}

// told is what TestByArgumentDefaults asks of a filter.
func told(f *testapi.Filter) string {
	text, size, order, needed := "-", "-", "-", "-"
	if f != nil {
		if f.Text != nil {
			text = *f.Text
		}
		if f.Page != nil && f.Page.Size != nil {
			size = strconv.Itoa(*f.Page.Size)
		}
		if f.Page != nil && f.Page.Order != nil {
			order = f.Page.Order.String()
		}
		if f.Needed.Size != nil {
			needed = strconv.Itoa(*f.Needed.Size)
		}
	}
	return strings.Join([]string{text, size, order, needed}, " ")
}

// TestByArgumentSpellings: who writes one value in many ways draws on one budget.
func TestByArgumentSpellings(t *testing.T) {
	for path, c := range map[string]struct {
		typ, use string
		values   []any
	}{
		"in.page.size":  {"Int", "in: {page: {size: $v}}", []any{3, 3.0, "3", "03", "+3", "0000003"}},
		"in.page.score": {"Float", "in: {page: {score: $v}}", []any{3, 3.0, "3", "3.0", "3e0", "0.3e1", "0x3p0"}},
		"in.page.order": {"Order", "in: {page: {order: $v}}", []any{"DESC", "desc", "Desc"}},
		"id":            {"ID", "id: $v", []any{3, "3", "03", "+3"}},
	} {
		p := policy("find", 1)
		s := newSite(t, haltgqlgen.Config{Fields: haltgqlgen.Fields{"Query.find": {Policy: p, Key: haltgqlgen.ByArgument(path)}}})
		for i, v := range c.values {
			a := s.do(t, fmt.Sprintf(`query($v: %s) {find(%s)}`, c.typ, c.use), map[string]any{"v": v})
			if len(a.Errors) != min(i, 1) || a.Status != 200 {
				t.Errorf("%s %v: %s", path, v, a.Body)
			}
		}
		if n := s.Calls("Query.find"); n != 1 {
			t.Errorf("%s: %d calls", path, n)
		}
	}
}

// TestArgumentTypes: a cost function gets one type, however the client has written it.
func TestArgumentTypes(t *testing.T) {
	for path, c := range map[string]struct {
		typ, use string
		want     any
		values   []any
	}{
		"in.page.size":  {"Int", "in: {page: {size: $v}}", int64(3), []any{3, "03"}},
		"in.page.score": {"Float", "in: {page: {score: $v}}", 3.0, []any{3, 3.0, "3e0"}},
		"in.page.order": {"Order", "in: {page: {order: $v}}", "DESC", []any{"DESC", "desc"}},
		"id":            {"ID", "id: $v", "3", []any{3, "3"}},
		"in.text":       {"String", "in: {text: $v}", "03", []any{"03"}},
		"in.pages":      {"[Page!]", "in: {pages: $v}", nil, []any{nil}},
	} {
		for _, v := range c.values {
			s := newSite(t, haltgqlgen.Config{Fields: haltgqlgen.Fields{"Query.find": {
				Policy: policy("find", 1), Key: haltgqlgen.Everyone(), Cost: func(op *haltgqlgen.Operation) int64 {
					if got := op.Argument(path); got != c.want {
						t.Errorf("%s %v is %T %v", path, v, got, got)
					}
					return 1
				},
			}}})
			s.do(t, fmt.Sprintf(`query($v: %s) {find(%s)}`, c.typ, c.use), map[string]any{"v": v})
		}
	}
}

// TestByArgumentOfAnyLength: keys are short, and long values still keys of their own, also beside another.
func TestByArgumentOfAnyLength(t *testing.T) {
	var keys []string
	l := halt.New(memory.New(nil), &halt.Options{Observers: []halt.Observer{observer(func(e *halt.Event) {
		for _, c := range e.Charges {
			keys = append(keys, c.Key)
		}
	})}})
	s := newSiteOn(t, l, haltgqlgen.Config{Fields: haltgqlgen.Fields{"Mutation.login": {
		Policy: policy("accounts", 1), Key: haltgqlgen.ByArgument("email"),
		And: []haltgqlgen.FieldRule{{Policy: policy("both", 1), Key: haltgqlgen.ByIP().And(haltgqlgen.ByArgument("email"))}},
	}}})
	long := strings.Repeat("x", 1<<20)
	for _, email := range []string{long[:245], long[:246], long[:247], long, long + "y"} {
		for i := range 2 {
			a := s.do(t, `mutation($e: String!) {login(email: $e, password: "correct")}`, map[string]any{"e": email})
			if a.refused() != i {
				t.Errorf("%d bytes: %.200s", len(email), a.Body)
			}
		}
	}
	for _, key := range keys {
		if len(key) > 256 {
			t.Errorf("a key of %d bytes", len(key))
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
