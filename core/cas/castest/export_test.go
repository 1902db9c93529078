package castest

import (
	"testing"
	"time"
)

// Check runs one case, by its name, and returns how the register breaks its rule.
func Check(tb testing.TB, h Harness, name string) error {
	tb.Helper()
	for _, c := range suite() {
		if c.name == name {
			if why := c.lacks(&h); why != "" {
				tb.Fatalf("%s does not run: %s", name, why)
			}
			return c.check(tb, &h)
		}
	}
	tb.Fatalf("no case is called %s", name)
	return nil
}

// Rules returns the rule of each case by its name.
func Rules() map[string]string {
	rules := make(map[string]string)
	for _, c := range suite() {
		rules[c.name] = c.rule
	}
	return rules
}

// Impatient makes hanging calls fail soon.
func Impatient(tb testing.TB) {
	tb.Helper()
	was := soon
	soon = 100 * time.Millisecond
	tb.Cleanup(func() { soon = was })
}
