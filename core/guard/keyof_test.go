package guard_test

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"github.com/halt-dev/halt/core/guard"
)

// TestKeyOf: outside a guard a key is what it is inside, and its faults are told alike.
func TestKeyOf(t *testing.T) {
	value := guard.By("user", func(s string) string { return s })
	for _, c := range []struct {
		name  string
		key   guard.Key[string]
		of    string
		want  string
		fault string
	}{
		{name: "by a function", key: value, of: "ann", want: "user:ann"},
		{name: "none in the request", key: value},
		{name: "everyone", key: guard.Everyone[string](), want: "everyone"},
		{name: "both", key: value.And(guard.Everyone[string]()), of: "ann", want: "8:user:ann&everyone"},
		{name: "either", key: value.Or(guard.Everyone[string]()), want: "everyone"},
		{name: "as long as can be", key: value, of: strings.Repeat("x", 251), want: "user:" + strings.Repeat("x", 251)},
		{name: "longer", key: value, of: strings.Repeat("x", 252), want: hashed("user:" + strings.Repeat("x", 252))},
		{
			name: "two that are too long together", key: value.And(value), of: strings.Repeat("x", 130),
			want: hashed("135:user:" + strings.Repeat("x", 130) + "&user:" + strings.Repeat("x", 130)),
		},
		{name: "the zero key", fault: "set"},
		{name: "an invalid one", key: guard.Invalid[string]("better"), of: "ann", fault: "better"},
		{name: "made of one that is not set", key: value.And(guard.Key[string]{}), of: "ann", fault: "made of keys that were made by a function of this package or of an adapter"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.key.Of(c.of); got != c.want {
				t.Errorf("Of = %q, want %q", got, c.want)
			}
			if got, ok := c.key.Append([]byte("x"), c.of); string(got) != "x"+c.want || ok != (c.want != "") {
				t.Errorf("Append = %q, %v", got, ok)
			}
			if got := c.key.Fault(); got != c.fault {
				t.Errorf("Fault = %q, want %q", got, c.fault)
			}
		})
	}
}

func hashed(key string) string { return fmt.Sprintf("#%x", sha256.Sum256([]byte(key))) }
