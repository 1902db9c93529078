package storetest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// Harness describes a store to the suite. What it leaves out, the store cannot do; only New is required.
type Harness struct {
	// New returns a store with an empty keyspace, to be used by one case. It is called once per case and may register
	// clean-ups on tb. Stores that share a server may flush it: cases do not overlap.
	New func(tb testing.TB) halt.Store

	// Advance moves the clock of a store that New returned by d, back if d is negative. Nothing else moves it. nil: the
	// store's clock can't be set; then it runs by itself.
	Advance func(tb testing.TB, s halt.Store, d time.Duration)

	// Bubble: the store reads package time's clock and needs nothing from outside of the process, so each case runs in a
	// bubble of testing/synctest, where an hour passes at once. It must leave no goroutine behind when tb's clean-ups ran.
	Bubble bool

	// Resolution of the store's clock, if that is coarser than a microsecond. RetryAfter and ResetAfter are then expected
	// rounded up to it.
	Resolution time.Duration

	// Atomic: all charges of a call are decided in one step, at one instant. Otherwise a call of several may be refused
	// falsely under contention, as with halt.TakeEach; it may still never admit too much, nor leave a refused one spent.
	Atomic bool

	// LosesReplies: New's stores sit behind something that makes calls fail although they were carried out. Then only the
	// concurrent cases run. Calls are allowed to err, and to admit less than the bound, never more: a Take may have been
	// repeated, a Credit must not have been.
	LosesReplies bool

	// Corrupt are ways to damage what the store's medium holds, each by a name: to overwrite the entry of the charge's
	// budget, which exists, with a value that is not Halt's, is cut off, is of another type, and so on. None: nobody but
	// the store can write its medium.
	Corrupt map[string]func(tb testing.TB, s halt.Store, c halt.Charge)

	// TTL returns the remaining life of the entry of the charge's budget, and whether there is one. An entry without an end
	// has halt.Never. nil: the store's medium doesn't know.
	TTL func(tb testing.TB, s halt.Store, c halt.Charge) (time.Duration, bool)

	// MaxKey is the longest key that the store takes, in bytes. 0: the suite tries 64 KB.
	MaxKey int
}

// Run holds the store against every rule of the contract, each in a subtest of its own. It is not parallel.
func Run(t *testing.T, h Harness) {
	t.Helper()
	if h.New == nil {
		t.Fatal("storetest: a Harness needs New")
	}
	for _, c := range suite() {
		t.Run(c.name, func(t *testing.T) {
			if why := c.lacks(&h); why != "" {
				t.Skip(why)
			}
			check := func(t *testing.T) {
				if err := c.check(t, &h); err != nil {
					t.Errorf("%v\n\nThe rule: %s", err, c.rule)
				}
			}
			if h.Bubble {
				synctest.Test(t, check)
			} else {
				check(t)
			}
		})
	}
}

// a testCase holds a store against one rule.
type testCase struct {
	name  string
	rule  string // what a store must do, in full sentences
	needs need
	run   func(e *trial)
}

// need is what a case needs of a harness.
type need uint8

const (
	quickTime need = 1 << iota // that any time passes at once
	backwards                  // a clock that can be set back
	damage                     // Corrupt
	lives                      // TTL
)

// lacks returns why the harness can't run the case, or "".
func (c *testCase) lacks(h *Harness) string {
	switch {
	case c.needs&quickTime != 0 && h.Advance == nil && !h.Bubble:
		return "the store's clock can't be moved (neither Advance nor Bubble)"
	case c.needs&backwards != 0 && h.Advance == nil:
		return "the store's clock can't be set back (no Advance)"
	case c.needs&damage != 0 && len(h.Corrupt) == 0:
		return "nobody else can write the store's medium (no Corrupt)"
	case c.needs&lives != 0 && h.TTL == nil:
		return "the store's entries tell no remaining life (no TTL)"
	case h.LosesReplies && !strings.HasPrefix(c.name, "Concurrent"):
		return "calls may fail although they were carried out (LosesReplies)"
	}
	return ""
}

// check runs the case on a new store. A broken rule is an error, and so is a panic of the store's.
func (c *testCase) check(tb testing.TB, h *Harness) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case broken:
			err = r.error
		default:
			err = fmt.Errorf("the store panicked: %v", r)
		}
	}()
	e := newTrial(tb, h)
	c.run(e)
	return nil
}

// broken is how a trial ends when a rule is broken.
type broken struct{ error }

func fail(format string, args ...any) { panic(broken{fmt.Errorf(format, args...)}) }

// caught runs f in a goroutine of its own account: what ends a trial, and what panics, becomes an error.
func caught(f func() error) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case broken:
			err = r.error
		default:
			err = errors.New(fmt.Sprint("the store panicked: ", r))
		}
	}()
	return f()
}

// suite lists all cases, simple ones first.
func suite() []testCase {
	var all []testCase
	for _, part := range [][]testCase{
		basicCases, modeCases, creditCases, blockCases, policyCases, keyCases,
		callCases, timeCases, mediumCases, traceCases, concurrentCases,
	} {
		all = append(all, part...)
	}
	return all
}
