//go:build !race

package haltgqlgen_test

import (
	"testing"

	haltgqlgen "github.com/halt-dev/halt/adapters/gqlgen"
	"github.com/halt-dev/halt/adapters/gqlgen/internal/testapi"
)

// TestAllocations: what a rule and what a limited field add to an operation.
func TestAllocations(t *testing.T) {
	const need, report = `{need}`, `{report}`
	rule := haltgqlgen.Rule{Policy: plenty("api"), Key: haltgqlgen.ByIP()}
	fields := haltgqlgen.Fields{"Query.need": {Policy: plenty("needs"), Key: haltgqlgen.ByIP()}}
	allocs := func(f func()) float64 { return testing.AllocsPerRun(1000, f) }
	bare := allocs(served(t, need, true))
	passing := allocs(servedBy(t, directedSite(t, testapi.DirectiveRoot{RateLimit: pass}, noPrices), report, true))
	for name, c := range map[string]struct {
		query      string
		config     haltgqlgen.Config
		than, most float64
	}{
		"rule":      {need, haltgqlgen.Config{Rules: []haltgqlgen.Rule{rule}}, bare, 4},
		"field":     {need, haltgqlgen.Config{Fields: fields}, bare, 2},
		"both":      {need, haltgqlgen.Config{Rules: []haltgqlgen.Rule{rule}, Fields: fields}, bare, 4},
		"directive": {report, haltgqlgen.Config{Policies: registry(t, plenty("report"))}, passing, 2},
	} {
		if n := allocs(served(t, c.query, true, limited(t, c.config))) - c.than; n > c.most {
			t.Errorf("%s: %v allocations", name, n)
		} else {
			t.Logf("%s: %v allocations", name, n)
		}
	}
}
