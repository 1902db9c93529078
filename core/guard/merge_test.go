package guard_test

import (
	"context"
	"math"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
)

func resolves(p halt.Policy) resolver {
	return func(context.Context, *request) (halt.Policy, error) { return p, nil }
}

func costs(n int64) func(*request) int64 { return func(*request) int64 { return n } }

func keeps(n int64) func(*request, guard.Outcome) int64 {
	return func(*request, guard.Outcome) int64 { return n }
}

// Rules with equal policies that meet on one key are one charge of their costs' sum, and are settled as one.
func TestEqualPoliciesMerge(t *testing.T) {
	p := fixed("api", 100)
	labelled := p
	labelled.Plan = "pro"
	for _, test := range []struct {
		name    string
		rules   []guard.Rule[*request]
		charged int64 // what the one charge costs
		kept    int64 // what of it stays spent
	}{
		{"two static", []guard.Rule[*request]{{Policy: p, Cost: costs(2)}, {Policy: p, Cost: costs(3)}}, 5, 5},
		{"static and resolved", []guard.Rule[*request]{{Policy: p, Cost: costs(2)}, {Resolve: resolves(p), Cost: costs(3)}}, 5, 5},
		{"resolved and static", []guard.Rule[*request]{{Resolve: resolves(p), Cost: costs(3)}, {Policy: p, Cost: costs(2)}}, 5, 5},
		{"two resolved", []guard.Rule[*request]{{Resolve: resolves(p)}, {Resolve: resolves(p), Cost: costs(3)}}, 4, 4},
		{"plans are but labels", []guard.Rule[*request]{{Policy: p}, {Resolve: resolves(labelled), Cost: costs(3)}}, 4, 4},
		{"both settle", []guard.Rule[*request]{{Policy: p, Cost: costs(10), Settle: keeps(1)}, {Policy: p, Cost: costs(20), Settle: keeps(25)}}, 30, 26},
		{"one settles", []guard.Rule[*request]{{Policy: p, Cost: costs(10), Settle: keeps(1)}, {Policy: p, Cost: costs(20)}}, 30, 21},
		{"one settles to more", []guard.Rule[*request]{{Policy: p, Cost: costs(10)}, {Policy: p, Cost: costs(20), Settle: keeps(40)}}, 30, 50},
		{"differences cancel out", []guard.Rule[*request]{{Policy: p, Cost: costs(10), Settle: keeps(5)}, {Policy: p, Cost: costs(10), Settle: keeps(15)}}, 20, 20},
		{"a sum beyond int64", []guard.Rule[*request]{{Policy: p, Settle: keeps(math.MaxInt64)}, {Policy: p, Settle: keeps(math.MaxInt64)}}, 2, 100},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			for i := range test.rules {
				test.rules[i].Key = byUser()
			}
			g := w.rules(test.rules...)
			w.admit(g, &request{user: "ann"})
			call := w.store.taken()[0]
			if len(call) != 1 || call[0].Cost != test.charged {
				t.Errorf("the call is %+v, want one charge of %d", call, test.charged)
			}
			w.wantRemaining(p, "user:ann", 100-test.kept)
			w.quiet()
		})
	}
}

// Reservations of merged rules see their own part, not the sum.
func TestMergedRulesSettleTheirOwnPart(t *testing.T) {
	w := newWorld(t)
	p := fixed("api", 100)
	part := func(want int64) func(*request, guard.Outcome) int64 {
		return func(_ *request, o guard.Outcome) int64 {
			if o.Reserved != want || o.Status != 201 {
				t.Errorf("outcome %+v, want %d reserved and status 201", o, want)
			}
			return o.Reserved
		}
	}
	w.admit(w.rules(
		guard.Rule[*request]{Policy: p, Key: byUser(), Cost: costs(2), Settle: part(2)},
		guard.Rule[*request]{Policy: p, Key: byUser(), Cost: costs(3), Settle: part(3)},
	), &request{user: "ann", status: 201})
}

func TestMergedCostsTooLargeForAnyBudget(t *testing.T) {
	w := newWorld(t)
	p := fixed("api", 100)
	g := w.rules(
		guard.Rule[*request]{Policy: p, Key: byUser(), Cost: costs(math.MaxInt64)},
		guard.Rule[*request]{Policy: p, Key: byUser(), Cost: costs(math.MaxInt64)},
	)
	if d := w.deny(g, &request{user: "ann"}, guard.QuotaExceeded); d.RetryAfter != halt.Never {
		t.Errorf("RetryAfter %v", d.RetryAfter)
	}
	w.wantRemaining(p, "user:ann", 100)
}

// Of unequal policies on one budget, the resolved one is skipped as a failing one is, whichever rule comes first.
func TestUnequalPoliciesOnOneBudget(t *testing.T) {
	static, other := fixed("api", 100), fixed("api", 7)
	blocking := static
	blocking.Block = time.Minute
	for _, test := range []struct {
		name    string
		rules   []guard.Rule[*request]
		skipped int
		wins    halt.Policy
		cost    int64
	}{
		{"static first", []guard.Rule[*request]{{Policy: static}, {Resolve: resolves(other), Cost: costs(3)}}, 1, static, 1},
		{"resolved first", []guard.Rule[*request]{{Resolve: resolves(other), Cost: costs(3)}, {Policy: static}}, 0, static, 1},
		{"both resolved", []guard.Rule[*request]{{Resolve: resolves(other)}, {Resolve: resolves(static), Cost: costs(3)}}, 1, other, 1},
		{"another Block", []guard.Rule[*request]{{Policy: static}, {Resolve: resolves(blocking), Cost: costs(3)}}, 1, static, 1},
		{"another Block, first", []guard.Rule[*request]{{Resolve: resolves(blocking), Cost: costs(3)}, {Policy: static}}, 0, static, 1},
		{"another Block with a Settle", []guard.Rule[*request]{
			{Resolve: resolves(blocking), Cost: costs(3), Settle: keeps(3)}, {Policy: static},
		}, 0, static, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, closed := range []bool{false, true} {
				w := newWorld(t)
				for i := range test.rules {
					test.rules[i].Key = byUser()
				}
				third := fixed("third", 10)
				rules := append(test.rules[:2:2], guard.Rule[*request]{Policy: third, Key: byUser()})
				g := w.guard(guard.Config[*request]{Rules: rules, FailClosed: closed})
				if closed {
					w.deny(g, &request{user: "ann"}, guard.Unavailable)
				} else {
					w.admit(g, &request{user: "ann"})
					w.wantRemaining(test.wins, "user:ann", test.wins.Limit-test.cost)
					w.wantRemaining(third, "user:ann", 9)
				}
				w.ruleError(test.skipped, guard.ErrSameBudget)
			}
		})
	}
}

// Two resolved rules that merged are both skipped for a static one.
func TestStaticTakesOverFromSeveral(t *testing.T) {
	w := newWorld(t)
	static, other := fixed("api", 100), fixed("api", 7)
	g := w.rules(
		guard.Rule[*request]{Resolve: resolves(other), Key: byUser()},
		guard.Rule[*request]{Policy: fixed("between", 9), Key: byUser()},
		guard.Rule[*request]{Resolve: resolves(other), Key: byUser()},
		guard.Rule[*request]{Policy: static, Key: byUser(), Cost: costs(2), Settle: keeps(5)},
	)
	w.admit(g, &request{user: "ann"})
	if told := w.told(); len(told) != 2 {
		t.Errorf("OnError was told %v, want both resolved rules", told)
	}
	w.wantRemaining(static, "user:ann", 95)
	w.wantRemaining(fixed("between", 9), "user:ann", 8)
}

// Policies of one name that differ in what makes a budget are budgets of their own, and so are those of other keys.
func TestSameNameOnOtherBudgets(t *testing.T) {
	w := newWorld(t)
	hour := fixed("api", 100)
	day := hour
	day.Window = 24 * time.Hour
	g := w.rules(
		guard.Rule[*request]{Policy: hour, Key: byUser()},
		guard.Rule[*request]{Policy: hour, Key: guard.Everyone[*request]()},
		guard.Rule[*request]{Resolve: resolves(day), Key: byUser()},
		guard.Rule[*request]{Policy: hour, Key: byUser(), Shadow: true},
	)
	w.admit(g, &request{user: "ann"})
	if call := w.store.taken()[0]; len(call) != 4 {
		t.Errorf("the call is %+v, want four charges", call)
	}
	w.wantRemaining(day, "user:ann", 99)
	w.quiet()
}
