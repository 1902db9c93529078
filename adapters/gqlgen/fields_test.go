package haltgqlgen_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	haltgqlgen "github.com/halt-dev/halt/adapters/gqlgen"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

const login = `login(email: "a", password: "correct")`

// logins returns a mutation of n logins under n aliases.
func logins(n int) string {
	var b strings.Builder
	b.WriteString("mutation {")
	for i := range n {
		fmt.Fprintf(&b, " a%d: %s", i, login)
	}
	b.WriteString("}")
	return b.String()
}

func loginRule(p halt.Policy) haltgqlgen.Fields {
	return haltgqlgen.Fields{"Mutation.login": {Policy: p, Key: haltgqlgen.ByIP()}}
}

// TestFieldPaysPerAlias: those that fit are executed, in the order of the document, and no other; the refused are null and
// have an error each.
func TestFieldPaysPerAlias(t *testing.T) {
	p := policy("logins", 5)
	s := newSite(t, haltgqlgen.Config{Fields: loginRule(p)})
	a := s.do(t, logins(3), nil)
	if a.Status != http.StatusOK || len(a.Errors) != 0 || s.spent(t, p, ip) != 3 {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	a = s.do(t, logins(10), nil)
	if a.Status != http.StatusOK || a.refused() != 8 || s.Calls("Mutation.login") != 5 || s.spent(t, p, ip) != 5 {
		t.Fatalf("%d refused, %d calls: %d %s", a.refused(), s.Calls("Mutation.login"), a.Status, a.Body)
	}
	for i := range 10 {
		if got := a.Data[fmt.Sprintf("a%d", i)]; (got == "a") != (i < 2) {
			t.Errorf("a%d is %v", i, got)
		}
	}
	x := a.Errors[0].Extensions
	if x["policy"] != "logins" || x["limit"] != 5.0 || x["remaining"] != 0.0 || x["retryAfter"].(float64) < 1 || x["resetAfter"].(float64) < 1 {
		t.Errorf("%v", x)
	}
	if path := fmt.Sprint(a.Errors[0].Path); path != "[a2]" && path != "[a3]" && len(path) != 4 {
		t.Errorf("the first error is on %s", path)
	}
}

// TestFieldsAreDecidedByThemselves: what one field lacks, another doesn't lose.
func TestFieldsAreDecidedByThemselves(t *testing.T) {
	nodes, needs := policy("nodes", 2), policy("needs", 3)
	s := newSite(t, haltgqlgen.Config{Fields: haltgqlgen.Fields{
		"Query.need": {Policy: needs, Key: haltgqlgen.Everyone()},
		"Query.node": {Policy: nodes, Key: haltgqlgen.ByIP(), Cost: func(*haltgqlgen.Operation) int64 { return 3 }},
	}})
	a := s.do(t, `{need user(id: 1) {id} node(id: 1) {id} x: report}`, nil)
	if a.refused() != 1 || s.Calls("Query.node") != 0 || s.Calls("Query.need") != 1 || a.Data["x"] != "report" || a.Data["node"] != nil {
		t.Errorf("%s", a.Body)
	}
	if n := s.spent(t, nodes, ip); n != 0 {
		t.Errorf("the refused field spent %d", n)
	}
	if n := s.spent(t, needs, everyone); n != 1 {
		t.Errorf("the other spent %d", n)
	}
}

// TestFieldOfAllItsLimits: a field with several runs if it fits all, and spends of none if it doesn't.
func TestFieldOfAllItsLimits(t *testing.T) {
	perIP, perAccount := policy("per-ip", 4), policy("per-account", 2)
	s := newSite(t, haltgqlgen.Config{Fields: haltgqlgen.Fields{"Mutation.login": {
		Policy: perIP, Key: haltgqlgen.ByIP(),
		And: []haltgqlgen.FieldRule{{Policy: perAccount, Key: haltgqlgen.ByArgument("email")}},
	}}})
	a := s.do(t, `mutation($x: String!) {
		a1: login(email: "ann", password: "") a2: login(email: $x, password: "") a3: login(email: "ann", password: "")
		b1: login(email: "bob", password: "") b2: login(email: "bob", password: "") b3: login(email: "cid", password: "")
	}`, map[string]any{"x": "ann"})
	var refused []string
	for _, e := range a.Errors {
		if e.Extensions["code"] == haltgqlgen.CodeRateLimited {
			refused = append(refused, fmt.Sprint(e.Path[0], e.Extensions["policy"]))
		}
	}
	if got := strings.Join(refused, " "); got != "a3per-account b3per-ip" {
		t.Errorf("refused: %s", got)
	}
	if n := s.spent(t, perIP, ip); n != 4 {
		t.Errorf("the address spent %d", n)
	}
	for key, want := range map[string]int64{"ann": 2, "bob": 2, "cid": 0} {
		if n := s.spent(t, perAccount, "arg:email="+key); n != want {
			t.Errorf("%s spent %d, want %d", key, n, want)
		}
	}
}

// TestDirective: the schema's limits, with arguments as keys, costs, and nullability.
func TestDirective(t *testing.T) {
	report, account, vital := policy("report", 5), policy("account", 1), policy("vital", 1)
	s := newSite(t, haltgqlgen.Config{Policies: registry(t, report, account, vital), Key: haltgqlgen.ByIP()})
	a := s.do(t, `{a: report b: report c: report}`, nil)
	if a.refused() != 1 || a.Data["c"] != nil || s.spent(t, report, ip) != 4 {
		t.Errorf("%s", a.Body)
	}
	signIn := `mutation($in: Credentials!) {signIn(input: $in)}`
	in := func(email string) map[string]any {
		return map[string]any{"in": map[string]any{"email": email, "password": ""}}
	}
	for email, want := range map[string]int{"ann": 0, "bob": 0} {
		if a := s.do(t, signIn, in(email)); len(a.Errors) != want {
			t.Errorf("%s: %s", email, a.Body)
		}
	}
	if a := s.do(t, signIn, in("ann")); a.refused() != 1 {
		t.Errorf("again: %s", a.Body)
	}
	if a := s.do(t, `mutation {signIn(input: {email: "ann", password: ""})}`, nil); a.refused() != 1 {
		t.Errorf("again, without a variable: %s", a.Body)
	}
	if a := s.do(t, signIn, in("")); a.codes()[0] != haltgqlgen.CodeKeyMissing || a.Data["signIn"] != nil {
		t.Errorf("without a key: %s", a.Body)
	}
	if a := s.do(t, `{vital need}`, nil); len(a.Errors) != 0 {
		t.Errorf("%s", a.Body)
	}
	if a := s.do(t, `{vital need}`, nil); a.refused() != 1 || a.Data != nil {
		t.Errorf("a field that can't be null: %s", a.Body)
	}
}

// TestPolicyChangesLive: the registry's policies may change.
func TestPolicyChangesLive(t *testing.T) {
	ps := registry(t, policy("report", 2))
	var told error
	s := newSite(t, haltgqlgen.Config{Policies: ps, OnError: func(_ *haltgqlgen.Operation, err error) { told = err }})
	if a := s.do(t, `{a: report b: report}`, nil); a.refused() != 1 {
		t.Errorf("%s", a.Body)
	}
	if err := ps.Set(policy("report", 4)); err != nil {
		t.Fatal(err)
	}
	if a := s.do(t, `{a: report b: report}`, nil); a.refused() != 1 {
		t.Errorf("%s", a.Body)
	}
	ps.Remove("report")
	var failed *haltgqlgen.FieldError
	if a := s.do(t, `{report}`, nil); a.refused() != 0 || !errors.Is(told, halt.ErrUnknownPolicy) || !errors.As(told, &failed) || failed.Field != "Query.report" {
		t.Errorf("%s, %v", a.Body, told)
	}
}

// TestFieldsBelow: a field in a list counts once per place in the document, one in a reused fragment at each place, and one
// that several types can have, once.
func TestFieldsBelow(t *testing.T) {
	for name, c := range map[string]struct {
		query string
		spent int64
		calls int64
	}{
		"in a list":                   {`{users(first: 7) {secret}}`, 1, 7},
		"under two aliases":           {`{users(first: 2) {a: secret b: secret}}`, 2, 4},
		"selected twice":              {`{user(id: 1) {secret} user(id: 1) {secret ...F}} fragment F on User {secret}`, 1, 1},
		"a fragment at two places":    {`{a: user(id: 1) {...F} b: user(id: 2) {...F friends(first: 1) {...F}}} fragment F on User {secret}`, 3, 3},
		"not included":                {`{user(id: 1) {secret @include(if: false) ...F @skip(if: true)}} fragment F on User {secret}`, 0, 0},
		"of a union, the dearest":     {`{search(text: "") {... on User {secret} ... on Post {secret}}}`, 2, 2},
		"of a union, two keys":        {`{search(text: "") {... on User {secret} ... on Post {s: secret}}}`, 3, 2},
		"of one type of an interface": {`{node(id: 1) {... on Post {secret}}}`, 2, 0},
		"deep":                        {`{user(id: 1) {posts {author {posts {author {secret}}}}}}`, 1, 4},
	} {
		t.Run(name, func(t *testing.T) {
			p := policy("secret", 100)
			s := newSite(t, haltgqlgen.Config{Policies: registry(t, p)})
			a := s.do(t, c.query, nil)
			calls := s.Calls("User.secret") + s.Calls("Post.secret")
			if n := s.spent(t, p, everyone); n != c.spent || calls != c.calls || len(a.Errors) > 0 {
				t.Errorf("spent %d, want %d; %d calls, want %d: %s", n, c.spent, calls, c.calls, a.Body)
			}
		})
	}
}

// TestRefusedByPlace: of a fragment that stands at two places, the second alone can be refused, in each element of a list.
func TestRefusedByPlace(t *testing.T) {
	s := newSite(t, haltgqlgen.Config{Policies: registry(t, policy("secret", 2))})
	s.do(t, `{user(id: 1) {secret}}`, nil)
	a := s.do(t, `{x: users(first: 2) {...F} y: users(first: 3) {...F}} fragment F on User {secret}`, nil)
	if a.refused() != 3 || s.Calls("User.secret") != 3 {
		t.Fatalf("%d refused, %d calls: %s", a.refused(), s.Calls("User.secret"), a.Body)
	}
	for _, e := range a.Errors {
		if e.Path[0] != "y" || e.Path[2] != "secret" {
			t.Errorf("refused at %v", e.Path)
		}
	}
}

// TestFieldsOfAnInterface: limits of an interface's field hold for its types.
func TestFieldsOfAnInterface(t *testing.T) {
	p := policy("ids", 1)
	s := newSite(t, haltgqlgen.Config{Fields: haltgqlgen.Fields{"Node.id": {Policy: p, Key: haltgqlgen.Everyone()}}})
	if a := s.do(t, `{node(id: 1) {id}}`, nil); len(a.Errors) > 0 {
		t.Errorf("%s", a.Body)
	}
	if a := s.do(t, `{user(id: 1) {id}}`, nil); a.refused() != 1 {
		t.Errorf("%s", a.Body)
	}
}

// TestFieldBlocks: a field that is refused begins the policy's block, alone or among others that were admitted.
func TestFieldBlocks(t *testing.T) {
	for name, query := range map[string]string{"after others": logins(4), "far too many": logins(50)} {
		t.Run(name, func(t *testing.T) {
			p := policy("logins", 3)
			p.Block = time.Minute
			s := newSite(t, haltgqlgen.Config{Fields: loginRule(p)})
			a := s.do(t, query, nil)
			if s.Calls("Mutation.login") != 3 {
				t.Errorf("%d calls: %.200s", s.Calls("Mutation.login"), a.Body)
			}
			if d, err := s.limiter.Peek(t.Context(), p, ip); err != nil || !d.Blocked {
				t.Errorf("%+v, %v", d, err)
			}
		})
	}
	t.Run("alone", func(t *testing.T) {
		p := policy("logins", 1)
		p.Block = time.Minute
		s := newSite(t, haltgqlgen.Config{Fields: loginRule(p)})
		s.do(t, logins(1), nil)
		if d, err := s.limiter.Peek(t.Context(), p, ip); err != nil || d.Blocked {
			t.Errorf("%+v, %v", d, err)
		}
		s.do(t, logins(1), nil)
		if d, err := s.limiter.Peek(t.Context(), p, ip); err != nil || !d.Blocked {
			t.Errorf("%+v, %v", d, err)
		}
	})
}

// TestFieldInFlight: a place is held while the operation is executed, and given back however it ends.
func TestFieldInFlight(t *testing.T) {
	p := halt.Policy{Name: "at-once", Algorithm: halt.InFlight, Limit: 2, Window: time.Minute}
	s := newSite(t, haltgqlgen.Config{Fields: loginRule(p)})
	inside := make(chan int64, 1)
	s.Enter = func() { inside <- s.spent(t, p, ip) }
	for range 5 {
		if a := s.do(t, logins(1), nil); len(a.Errors) > 0 || <-inside != 1 {
			t.Errorf("%s", a.Body)
		}
	}
	if n := s.spent(t, p, ip); n != 0 {
		t.Errorf("%d still held", n)
	}
}

// TestFieldShadow: it refuses nothing and tells nothing.
func TestFieldShadow(t *testing.T) {
	p := policy("logins", 1)
	var modes []halt.Mode
	l := halt.New(memory.New(nil), &halt.Options{Observers: []halt.Observer{observer(func(e *halt.Event) {
		for _, d := range e.Decisions {
			if !d.Allowed {
				modes = append(modes, d.Mode)
			}
		}
	})}})
	s := newSiteOn(t, l, haltgqlgen.Config{Cost: true, Fields: haltgqlgen.Fields{
		"Mutation.login": {Policy: p, Key: haltgqlgen.Everyone(), Shadow: true},
	}})
	for range 2 {
		if a := s.do(t, logins(1), nil); len(a.Errors) > 0 || strings.Contains(a.Body, "logins") {
			t.Errorf("%s", a.Body)
		}
	}
	if len(modes) != 1 || modes[0] != halt.Shadow {
		t.Errorf("refused: %v", modes)
	}
}

// observer sees the ends of calls.
type observer func(*halt.Event)

func (observer) Start(ctx context.Context, _ *halt.Event) context.Context { return ctx }
func (o observer) End(_ context.Context, e *halt.Event)                   { o(e) }

// TestFieldsInOneGo: as many fields as there are, one call; if some are refused, one more for those that fit and one for
// when the others will.
func TestFieldsInOneGo(t *testing.T) {
	var charges []int
	l := halt.New(memory.New(nil), &halt.Options{Observers: []halt.Observer{observer(func(e *halt.Event) {
		charges = append(charges, len(e.Charges))
	})}})
	s := newSiteOn(t, l, haltgqlgen.Config{Fields: haltgqlgen.Fields{
		"Mutation.login": {Policy: policy("per-account", 3), Key: haltgqlgen.ByArgument("email")},
	}})
	query := `mutation { a: login(email: "a", password: "") b: login(email: "b", password: "") c: login(email: "b", password: "") }`
	for i, want := range [][]int{{2}, {2, 2, 1}, {2, 1, 1}, {2, 1}} {
		charges = nil
		s.do(t, query, nil)
		if fmt.Sprint(charges) != fmt.Sprint(want) {
			t.Errorf("operation %d: calls of %v charges, want %v", i, charges, want)
		}
	}
}

// TestMaxFields: an operation that selects more is refused as a whole, and spends nothing; nor does one whose fragments
// make the places too many to look at.
func TestMaxFields(t *testing.T) {
	p := policy("logins", 100)
	s := newSite(t, haltgqlgen.Config{Fields: loginRule(p), MaxFields: 10})
	if a := s.do(t, logins(10), nil); len(a.Errors) > 0 {
		t.Errorf("%s", a.Body)
	}
	a := s.do(t, logins(11), nil)
	if a.Status != 429 || a.refused() != 1 || a.Errors[0].Extensions["policy"] != nil || s.Calls("Mutation.login") != 10 || s.spent(t, p, ip) != 10 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	s = newSite(t, haltgqlgen.Config{Policies: registry(t)})
	if a := s.do(t, strings.Replace(exponential(40), "{id}", "{secret}", 1), nil); a.Status != 429 || s.Total() != 0 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	var others strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&others, " a%d: id", i)
	}
	const want = "Too many fields in one operation." // one of them is limited
	if a := s.do(t, `{user(id: 1) {posts {secret} `+others.String()+`}}`, nil); a.Status != 429 || s.Total() != 0 || a.Errors[0].Message != want {
		t.Errorf("%d %.300s", a.Status, a.Body)
	}
}

// TestFieldResolve: the policy of a field's limit may be found per operation, once.
func TestFieldResolve(t *testing.T) {
	n := 0
	s := newSite(t, haltgqlgen.Config{Fields: haltgqlgen.Fields{"Mutation.login": {
		Resolve: func(ctx context.Context, op *haltgqlgen.Operation) (halt.Policy, error) {
			n++
			if _, ok := ctx.Deadline(); !ok || op.Field() != nil {
				t.Error("no deadline, or of one field")
			}
			return policy("plan", 2), nil
		},
		Key: haltgqlgen.ByIP(),
	}}})
	if a := s.do(t, logins(3), nil); a.refused() != 1 || n != 1 {
		t.Errorf("asked %d times: %s", n, a.Body)
	}
}
