package haltgqlgen_test

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	haltgqlgen "github.com/halt-dev/halt/adapters/gqlgen"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

const goroutines = 64

// TestExactlyTheBound: however many ask at once, as many operations and fields are executed as the policies say.
func TestExactlyTheBound(t *testing.T) {
	for name, c := range map[string]struct {
		config haltgqlgen.Config
		query  string
		policy halt.Policy
		key    string
	}{
		"operations": {
			haltgqlgen.Config{Rules: []haltgqlgen.Rule{{Policy: policy("api", 100), Key: haltgqlgen.ByIP()}}},
			logins(1), policy("api", 100), ip,
		},
		"one field":       {haltgqlgen.Config{Fields: loginRule(policy("logins", 100))}, logins(1), policy("logins", 100), ip},
		"several aliases": {haltgqlgen.Config{Fields: loginRule(policy("logins", 100))}, logins(7), policy("logins", 100), ip},
		"several limits": {haltgqlgen.Config{Fields: haltgqlgen.Fields{"Mutation.login": {
			Policy: policy("logins", 100), Key: haltgqlgen.ByIP(),
			And: []haltgqlgen.FieldRule{{Policy: policy("more", 1000), Key: haltgqlgen.ByArgument("email")}},
		}}}, logins(3), policy("logins", 100), ip},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, c.config)
			var wg sync.WaitGroup
			for range goroutines {
				wg.Go(func() {
					for range 4 {
						a := s.do(t, c.query, nil)
						for _, code := range a.codes() {
							if code != haltgqlgen.CodeRateLimited {
								t.Errorf("%s", a.Body)
							}
						}
					}
				})
			}
			wg.Wait()
			if n := s.Calls("Mutation.login"); n != 100 {
				t.Errorf("%d executed", n)
			}
			if n := s.spent(t, c.policy, c.key); n != 100 {
				t.Errorf("%d spent", n)
			}
		})
	}
}

// TestConcurrentOperations: operations of all sorts on one extension, for the race detector.
func TestConcurrentOperations(t *testing.T) {
	s := newSite(t, haltgqlgen.Config{
		Rules: []haltgqlgen.Rule{
			{Policy: policy("points", 5000), Key: haltgqlgen.ByIP(), Cost: haltgqlgen.Complexity, Settle: haltgqlgen.Resolved},
			{Policy: policy("roots", 200), Key: haltgqlgen.Everyone(), Cost: haltgqlgen.RootFields, Kinds: haltgqlgen.Mutation},
		},
		Fields: loginRule(policy("logins", 50)), Policies: registry(t, policy("secret", 60)), Cost: true, Attach: true,
	})
	queries := []string{
		`{users(first: 5) {id secret friends(first: 2) {secret}}}`, `{search(text: "") {... on User {secret} ... on Post {secret}}}`,
		logins(3), `{need report vital}`, `{node(id: "post") {id ... on Post {author {secret}}}}`, `{nothing}`,
	}
	var wg sync.WaitGroup
	for i := range goroutines {
		wg.Go(func() {
			for j := range 6 {
				if a := s.do(t, queries[(i+j)%len(queries)], nil); strings.Contains(a.Body, "internal") {
					t.Errorf("%s", a.Body)
				}
			}
		})
	}
	wg.Wait()
}

// TestNothingIsLeftOver: what operations of all sorts before have been charged changes nothing for the next.
func TestNothingIsLeftOver(t *testing.T) {
	secret, report, account := policy("secret", 1_000_000), policy("report", 1_000_000), policy("account", 3)
	config := haltgqlgen.Config{
		Policies: registry(t, secret, report, account),
		Fields:   haltgqlgen.Fields{"Mutation.login": {Policy: policy("logins", 1_000_000), Key: haltgqlgen.ByArgument("email")}},
	}
	queries := []string{
		`{users(first: 5) {id secret friends(first: 2) {secret}}}`, `{report}`, `{need}`, logins(1), logins(3), logins(200),
		`{search(text: "") {... on User {secret} ... on Post {secret s: secret}}}`, `{node(id: "post") {id ... on Post {author {secret}}}}`,
		`{user(id: 1) {...F friends {...F}}} fragment F on User {a: secret posts {secret author {...G}}} fragment G on User {b: secret}`,
		`mutation {signIn(input: {email: "a", password: ""})}`, `{nothing}`, `{__typename}`,
	}
	budgets := map[string]halt.Policy{everyone: secret, ip: report, "arg:email=a": policy("logins", 1_000_000)}
	alone := make([]map[string]int64, len(queries))
	spent := func(s *site) map[string]int64 {
		m := make(map[string]int64)
		for key, p := range budgets {
			m[key] = s.spent(t, p, key)
		}
		return m
	}
	for i, query := range queries {
		s := newSite(t, config)
		s.do(t, query, nil)
		alone[i] = spent(s)
	}
	s := newSite(t, config)
	want := spent(s)
	for range 150 {
		i := rand.IntN(len(queries))
		s.do(t, queries[i], nil)
		for key, n := range alone[i] {
			want[key] += n
		}
		if got := spent(s); !maps.Equal(got, want) {
			t.Fatalf("after %s: %v, want %v", queries[i], got, want)
		}
	}
}

// TestKeysMayBeKept: who is shown a key, such as a store, may keep it: later operations don't write on it.
func TestKeysMayBeKept(t *testing.T) {
	var kept, want []string
	l := halt.New(memory.New(nil), &halt.Options{Observers: []halt.Observer{observer(func(e *halt.Event) {
		kept = append(kept, e.Charges[0].Key)
	})}})
	s := newSiteOn(t, l, haltgqlgen.Config{
		Fields: haltgqlgen.Fields{"Mutation.login": {Policy: policy("logins", 1_000_000), Key: haltgqlgen.ByArgument("email")}},
	})
	for range 300 {
		email := strings.Repeat(string(rune('a'+rand.IntN(26))), 1+rand.IntN(80))
		s.do(t, `mutation ($email: String!) {login(email: $email, password: "")}`, map[string]any{"email": email})
		want = append(want, "arg:email="+email)
	}
	if !slices.Equal(kept, want) {
		t.Errorf("%q, want %q", kept, want)
	}
}
