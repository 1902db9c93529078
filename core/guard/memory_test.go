package guard_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
)

// What a pass gives away is never written again, by it or by another request.
func TestWhatAPassGivesAwayStays(t *testing.T) {
	w := newWorld(t)
	g := w.rules(guard.Rule[*request]{Policy: fixed("api", 1<<40), Key: byUser()})
	given, lines, want := []string(nil), [][]string(nil), []string(nil)
	scratch := make([]byte, 0, 2048)
	for i := range 2000 {
		user := strings.Repeat("x", i%50) + fmt.Sprint(i)
		p := g.Enter(t.Context(), &request{user: user})
		want = append(want, "user:"+user)
		given = append(given, p.Verdict().Charges[0].Key)

		for _, n := range []int{0, 1, i % 700} {
			scratch = append(scratch[:0], bytes.Repeat([]byte{byte(i)}, n)...)
			given, want = append(given, p.Text(scratch)), append(want, string(scratch))
		}
		for _, n := range []int{2, i % 40} {
			l := p.Lines(n)
			if len(l) != n || strings.Join(l, "") != "" {
				t.Fatalf("Lines(%d) are %q", n, l)
			}
			for j := range l {
				l[j] = fmt.Sprint(i, n, j)
			}
			_ = append(l, "another's") //nolint:gocritic // it must not land in the next ones
			lines = append(lines, l)
		}
		p.Leave(guard.Outcome{})
	}
	for i := range want {
		if given[i] != want[i] {
			t.Fatalf("string %d is %q, was %q", i, given[i], want[i])
		}
	}
	for i, l := range lines {
		for j := range l {
			if n := []int{2, i / 2 % 40}[i%2]; l[j] != fmt.Sprint(i/2, n, j) {
				t.Fatalf("line %d of %d is %q", j, i, l[j])
			}
		}
	}
}

// A pass that served others makes the same calls as one that served nobody.
func TestPassesForgetRequests(t *testing.T) {
	w := newWorld(t)
	r := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	applies := func(bit int) func(*request) int64 {
		return func(r *request) int64 { return r.cost >> bit & 1 * 2 }
	}
	blocking := fixed("blocking", 1<<40)
	blocking.Block = time.Minute
	account := guard.By("account", func(r *request) string { return r.account })
	config := guard.Config[*request]{Rules: []guard.Rule[*request]{
		{Policy: fixed("a", 1<<40), Key: byUser(), Cost: applies(0)},
		{Policy: fixed("shadow", 1<<40), Key: account, Cost: applies(1), Shadow: true},
		{Policy: blocking, Key: byUser(), Cost: applies(2), Settle: guard.ChargeOn[*request](401)},
		{Policy: blocking, Key: byUser(), Cost: applies(3)},
		{Key: byUser().Or(account), Cost: applies(4), Resolve: resolves(fixed("resolved", 1<<40))},
		{Policy: fixed("a", 1<<40), Key: byUser().Or(account), Cost: applies(5)},
		{Policy: fixed("all", 1<<40), Key: guard.Everyone[*request](), Cost: applies(6)},
		{Key: byUser(), Cost: applies(7), Resolve: resolves(halt.Policy{})}, // fails
	}}
	used := w.guard(config)
	for range 3000 {
		req := &request{cost: int64(r.IntN(256)), status: 200 + r.IntN(2)*201}
		if r.IntN(2) == 0 {
			req.cost = 1 << r.IntN(8) // one rule
		}
		for _, s := range []*string{&req.user, &req.account} {
			if r.IntN(5) > 0 {
				*s = string(rune('a' + r.IntN(3)))
			}
		}
		var calls [2][][]halt.Charge
		var verdicts [2]guard.Verdict
		var denials [2]guard.Denial
		for i, g := range []*guard.Guard[*request]{used, w.guard(config)} {
			p := g.Enter(t.Context(), req)
			v := p.Verdict()
			verdicts[i].Charges = append(verdicts[i].Charges, v.Charges...)
			denials[i], _ = p.Denied()
			if denied := !p.Admitted(); denied != (denials[i].Reason != 0) {
				t.Fatalf("%+v and denied %v", denials[i], denied)
			}
			p.Leave(guard.Outcome{Status: req.status})
			calls[i] = w.store.taken()
			for _, cs := range calls[i] {
				for j := range cs {
					cs[j].At = 0
				}
			}
		}
		if !reflect.DeepEqual(calls[0], calls[1]) || !reflect.DeepEqual(verdicts[0], verdicts[1]) || !reflect.DeepEqual(denials[0], denials[1]) {
			t.Fatalf("request %+v:\n%+v, %+v, %+v; a new guard:\n%+v, %+v, %+v", req,
				calls[0], verdicts[0], denials[0], calls[1], verdicts[1], denials[1])
		}
	}
}
