package storetest_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
)

// mutant is a store that gets one thing wrong, and the case that has to notice.
type mutant struct {
	name   string
	by     string // the case
	flaw   flaw
	coarse time.Duration
}

func mutants() []mutant { return append(append([]mutant(nil), deciders...), keepers...) }

// TestSuiteRejects feeds the suite stores that break the contract: the case of the rule that each breaks says so.
func TestSuiteRejects(t *testing.T) {
	storetest.Impatient(t)
	seen := make(map[string]bool)
	for _, m := range mutants() {
		seen[m.by] = true
		t.Run(m.name, func(t *testing.T) {
			if err := storetest.Check(t, registerHarness(t, m.coarse, flaw{}), m.by); err != nil {
				t.Fatalf("without the flaw: %v", err)
			}
			err := storetest.Check(t, registerHarness(t, m.coarse, m.flaw), m.by)
			if err == nil {
				t.Fatalf("%s has nothing against a store that %s", m.by, m.name)
			}
			t.Log(err)
		})
	}
	for name, rule := range storetest.Rules() {
		if !seen[name] && !strings.HasPrefix(name, "Trace/") {
			t.Errorf("no mutant breaks the rule of %s", name)
		}
		if rule == "" {
			t.Errorf("%s has no rule to tell", name)
		}
	}
}

// TestTracesReject: the random traces alone notice what single cases are made to notice.
func TestTracesReject(t *testing.T) {
	t.Setenv("HALT_SEED", "0") // other seeds may miss one or the other
	blind := map[string]bool{
		// What shows only under concurrency, in another's medium, with keys that traces don't have, or at the caller.
		"Caller": true, "Canceled": true, "Keys": true, "ManyKeys": true, "Names": true, "TTL": true, "Spelling": true, "ShapeChange": true,
	}
	traces := []string{"Trace/Calls", "Trace/Extreme", "Trace/Clock"}
	for name := range storetest.Rules() {
		if strings.HasPrefix(name, "Trace/") && !strings.Contains(strings.Join(traces, " "), name) {
			traces = append(traces, name)
		}
	}
	for _, m := range mutants() {
		if blind[m.by] || strings.HasPrefix(m.by, "Concurrent") || strings.HasPrefix(m.by, "Corrupt") {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			for _, name := range traces {
				if storetest.Check(t, registerHarness(t, m.coarse, m.flaw), name) != nil {
					return
				}
			}
			t.Errorf("no trace has anything against a store that %s", m.name)
		})
	}
}

// TestLostReplies: where calls fail although they were carried out, a store may repeat a Take, not a Credit.
func TestLostReplies(t *testing.T) {
	lossy := func(repeats func(m halt.Mode) bool) storetest.Harness {
		h := registerHarness(t, 0, flaw{
			take: func(_ context.Context, r *register, cs []halt.Charge, ds []halt.Decision) error {
				err := r.take(cs, ds)
				if err != nil || r.calls.Load()%3 != 0 {
					return err
				}
				if !repeats(cs[0].Mode) {
					return errors.New("connection reset by peer")
				}
				return r.take(cs, ds)
			},
		})
		h.LosesReplies = true
		return h
	}
	t.Run("nothing is repeated", func(t *testing.T) {
		storetest.Run(t, lossy(func(halt.Mode) bool { return false }))
	})
	t.Run("takes are repeated", func(t *testing.T) {
		storetest.Run(t, lossy(func(m halt.Mode) bool { return m.Binds() }))
	})
	t.Run("credits are repeated", func(t *testing.T) {
		h := lossy(func(m halt.Mode) bool { return m == halt.Credit })
		for range 1000 { // it takes two to be inside, which on a busy machine is rare
			if err := storetest.Check(t, h, "ConcurrentInFlight"); err != nil {
				return
			}
		}
		t.Error("ConcurrentInFlight has nothing against a store that repeats Credits")
	})
}
