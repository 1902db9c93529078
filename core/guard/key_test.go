package guard_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unsafe"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
)

// parts is a request of up to four parts, for keys; "" is a part it lacks.
type parts [4]string

func part(kind string, i int) guard.Key[*parts] {
	return guard.By(kind, func(p *parts) string { return p[i] })
}

// appended is part, made by the function that spares an allocation.
func appended(kind string, i int) guard.Key[*parts] {
	return guard.ByAppend(kind, func(b []byte, p *parts) []byte { return append(b, p[i]...) })
}

// keyer returns what a key stores for a request: "" if it is denied for having none.
func keyer(t *testing.T, k guard.Key[*parts]) func(parts) string {
	t.Helper()
	var got string
	g, err := guard.New(halt.New(charges(func(c *halt.Charge) { got = c.Key }), nil), guard.Config[*parts]{
		Rules: []guard.Rule[*parts]{{Policy: halt.Policy{Name: "api", Limit: 1, Window: time.Second}, Key: k}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return func(v parts) string {
		got = ""
		p := g.Enter(t.Context(), &v)
		defer p.Leave(guard.Outcome{})
		if d, denied := p.Denied(); denied && d.Reason != guard.MissingKey {
			t.Fatalf("denied: %+v", d)
		}
		return got
	}
}

func TestKeys(t *testing.T) {
	a, b, c := part("a", 0), part("b", 1), part("c", 2)
	everyone := guard.Everyone[*parts]()
	nothing := guard.ByAppend("nil", func([]byte, *parts) []byte { return nil })
	for _, test := range []struct {
		name string
		key  guard.Key[*parts]
		from parts
		want string
	}{
		{"By", a, parts{"x"}, "a:x"},
		{"By, without", a, parts{}, ""},
		{"By, with what others use", a, parts{"b:y&\x00"}, "a:b:y&\x00"},
		{"ByAppend", appended("a", 0), parts{"x"}, "a:x"},
		{"ByAppend, without", appended("a", 0), parts{}, ""},
		{"everyone", everyone, parts{}, "everyone"},
		{"a kind of that name", part("everyone", 0), parts{"x"}, "everyone:x"},
		{"Or, first", a.Or(b), parts{"x", "y"}, "a:x"},
		{"Or, second", a.Or(b), parts{"", "y"}, "b:y"},
		{"Or, second of ByAppend", appended("a", 0).Or(b), parts{"", "y"}, "b:y"},
		{"Or, neither", a.Or(b), parts{}, ""},
		{"Or, third", a.Or(b).Or(c), parts{"", "", "z"}, "c:z"},
		{"Or, everyone", a.Or(everyone), parts{}, "everyone"},
		{"Or, after an And that has but one", a.And(b).Or(c), parts{"x", "", "z"}, "c:z"},
		{"And", a.And(b), parts{"x", "y"}, "3:a:x&b:y"},
		{"And, first lacks", a.And(b), parts{"", "y"}, ""},
		{"And, second lacks", a.And(b), parts{"x", ""}, ""},
		{"And, with an &", a.And(b), parts{"x&b:y", "z"}, "7:a:x&b:y&b:z"},
		{"And, of ByAppend", appended("a", 0).And(appended("b", 1)), parts{"x", "y"}, "3:a:x&b:y"},
		{"And, of an Or of ByAppend, without", a.And(appended("b", 1).Or(c)), parts{"x", "", "z"}, "3:a:x&c:z"},
		{"And, of an Or of a nil", a.And(nothing.Or(c)), parts{"x", "", "z"}, "3:a:x&c:z"},
		{"And, of a nil", a.And(nothing), parts{"x", "", "z"}, ""},
		{"And, left", a.And(b).And(c), parts{"x", "y", "z"}, "9:3:a:x&b:y&c:z"},
		{"And, right", a.And(b.And(c)), parts{"x", "y", "z"}, "3:a:x&3:b:y&c:z"},
		{"And of Ors", a.Or(b).And(b.Or(c)), parts{"", "y", "z"}, "3:b:y&b:y"},
		{"And, long", a.And(b), parts{strings.Repeat("x", 5000), "y"}, hashed("5002:a:" + strings.Repeat("x", 5000) + "&b:y")},
	} {
		if got := keyer(t, test.key)(test.from); got != test.want {
			t.Errorf("%s: %.80q, want %.80q", test.name, got, test.want)
		}
	}
}

// Two requests have the same key of an And exactly if they agree in all parts; and Ands of another structure, or keys of
// another kind, never meet it.
func TestKeysAreUnambiguous(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	alphabet := []string{"a", "b", "&", ":", "0", "1", "3", "9", "\x00", "a:", "b:", "3:a:", "&b:", "everyone"}
	random := func() (p parts) {
		for i := range p {
			for range 1 + rng.IntN(4) {
				p[i] += alphabet[rng.IntN(len(alphabet))]
			}
		}
		return p
	}
	a, b, c, d := part("a", 0), part("b", 1), part("a", 2), part("b", 3)
	structures := map[string]guard.Key[*parts]{
		"a":         a,
		"b":         b,
		"a&b":       a.And(b),
		"b&a":       b.And(a),
		"(a&b)&c":   a.And(b).And(c),
		"a&(b&c)":   a.And(b.And(c)),
		"(ab)&(cd)": a.And(b).And(c.And(d)),
		"((ab)c)d":  a.And(b).And(c).And(d),
		"a&(b&cd)":  a.And(b.And(c.And(d))),
		"everyone":  guard.Everyone[*parts](),
	}
	used := map[string]int{"a": 1, "b": 2, "a&b": 3, "b&a": 3, "(a&b)&c": 7, "a&(b&c)": 7, "(ab)&(cd)": 15, "((ab)c)d": 15, "a&(b&cd)": 15}
	of := map[string]string{} // from a key to the structure and parts that made it
	for name, key := range structures {
		f := keyer(t, key)
		for range 2000 {
			p := random()
			k := f(p)
			id := name
			for i := range p {
				if used[name]&(1<<i) != 0 {
					id += fmt.Sprintf("|%q", p[i])
				}
			}
			if other, ok := of[k]; ok && other != id {
				t.Fatalf("%q is the key of both %s and %s", k, other, id)
			}
			of[k] = id
		}
	}
}

// What a key function returns may alias a buffer that the framework reuses: what is stored must not.
func TestKeysAliasNothing(t *testing.T) {
	buffer := []byte("ann........")
	alias := func(*request) string { return unsafe.String(&buffer[0], len(buffer)) }
	for name, key := range map[string]guard.Key[*request]{
		"By":  guard.By("user", alias),
		"Or":  byUser().Or(guard.By("user", alias)),
		"And": guard.By("user", alias).And(guard.By("user", alias)),
	} {
		t.Run(name, func(t *testing.T) {
			copy(buffer, "ann........")
			w := newWorld(t)
			g := w.guard(guard.Config[*request]{Attach: true, Rules: []guard.Rule[*request]{{Policy: fixed("api", 10), Key: key}}})
			p := g.Enter(t.Context(), &request{})
			before := strings.Clone(w.store.taken()[0][0].Key)
			verdict := guard.VerdictOf(p.Context())
			copy(buffer, "bob,bob,bob")
			g.Enter(t.Context(), &request{}).Leave(guard.Outcome{}) // makes its key in what memory there is
			for what, got := range map[string]string{"the pass": p.Verdict().Charges[0].Key, "the attached verdict": verdict.Charges[0].Key} {
				if got != before || !strings.Contains(got, "ann") {
					t.Errorf("the key of %s turned from %q into %q", what, before, got)
				}
			}
			p.Leave(guard.Outcome{})
			again := g.Enter(t.Context(), &request{})
			defer again.Leave(guard.Outcome{})
			if verdict.Charges[0].Key != before {
				t.Errorf("after Leave the attached key turned into %q", verdict.Charges[0].Key)
			}
		})
	}
}
