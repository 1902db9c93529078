package guard_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

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
