//go:build !race

package haltotel_test

import "testing"

// TestAllocations: a decision that nobody traces costs no allocation, whatever is counted.
func TestAllocations(t *testing.T) {
	for _, s := range setups(t) {
		if s.name == "a span of its own that does not record" || s.name == "a span that records, metrics" {
			continue // spans allocate
		}
		decide := s.decide()
		if n := testing.AllocsPerRun(1000, func() { _, _ = decide() }); n != 0 {
			t.Errorf("%s: %v allocations", s.name, n)
		}
	}
}
