package castest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/halt-dev/halt/core/cas"
)

// Harness describes a register to the suite. Only New is required.
type Harness struct {
	// New returns a register, to be used by one case. It is called once per case and may register clean-ups on tb. Its
	// database need not be empty: every case has keys of its own, that begin with "castest:" and something random.
	New func(tb testing.TB) cas.Register

	// Another returns another register on the database of r, which New returned: what a second process would have, with
	// connections and caches of its own. nil: the cases of concurrency have one register only, shared by all goroutines.
	Another func(tb testing.TB, r cas.Register) cas.Register

	// Advance moves the clock by which the database of r, which New returned, ends lives by d, ahead. Nothing else moves it.
	// nil: that clock can't be set; then it runs by itself, and a case of lives takes about a second.
	Advance func(tb testing.TB, r cas.Register, d time.Duration)

	// LosesReplies: New's registers sit behind something that makes calls fail although they were carried out, or later will
	// be. Then only the concurrent cases run. Calls are allowed to err; what they tell without an error has to be true.
	LosesReplies bool

	// MaxKey is the longest key that the register takes, in bytes, at least 100. 0: the suite tries 64 KB.
	MaxKey int
}

// Run holds the register against every rule of its contract, each in a subtest of its own: those of a
// [cas.TransactionRegister] too, if it is one. It is not parallel.
func Run(t *testing.T, h Harness) {
	t.Helper()
	if h.New == nil {
		t.Fatal("castest: a Harness needs New")
	}
	for _, c := range suite() {
		t.Run(c.name, func(t *testing.T) {
			if why := c.lacks(&h); why != "" {
				t.Skip(why)
			}
			switch err := c.check(t, &h); {
			case errors.Is(err, errNoSwapAll):
				t.Skip(err)
			case err != nil:
				t.Errorf("%v\n\nThe rule: %s", err, c.rule)
			}
		})
	}
}

// a testCase holds a register against one rule.
type testCase struct {
	name    string
	rule    string // what a register must do, in full sentences
	several bool   // it is about cas.TransactionRegister
	run     func(e *trial)
}

var errNoSwapAll = errors.New("the register swaps one entry at a time (it is no cas.TransactionRegister)")

// lacks returns why the harness can't run the case, or "".
func (c *testCase) lacks(h *Harness) string {
	if h.LosesReplies && !strings.HasPrefix(c.name, "Concurrent") {
		return "calls may fail although they were carried out (LosesReplies)"
	}
	return ""
}

// check runs the case on a new register. A broken rule is an error, and so is a panic of the register's.
func (c *testCase) check(tb testing.TB, h *Harness) error {
	return caught(func() error {
		e := newTrial(tb, h)
		if c.several && e.several == nil {
			return errNoSwapAll
		}
		c.run(e)
		return nil
	})
}

// broken is how a trial ends when a rule is broken.
type broken struct{ error }

func fail(format string, args ...any) { panic(broken{fmt.Errorf(format, args...)}) }

// caught runs f: what ends a trial, and what panics, becomes an error.
func caught(f func() error) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case broken:
			err = r.error
		default:
			err = errors.New(fmt.Sprint("the register panicked: ", r))
		}
	}()
	return f()
}

// suite lists all cases, simple ones first.
func suite() []testCase {
	var all []testCase
	for _, part := range [][]testCase{basicCases, dataCases, lifeCases, severalCases, concurrentCases} {
		all = append(all, part...)
	}
	return all
}
