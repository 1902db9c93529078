package guard_test

import (
	"context"
	"errors"
	"testing"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
)

func TestSettle(t *testing.T) {
	sliding := fixed("api", 100)
	sliding.Algorithm = halt.SlidingWindow
	for _, test := range []struct {
		name    string
		actual  func(*request, guard.Outcome) int64
		kept    int64 // of 10 reserved
		told    error
		calls   int // to the store, with the one that decides
		correct halt.Mode
	}{
		{name: "below gives back", actual: keeps(4), kept: 4, calls: 2, correct: halt.Credit},
		{name: "above spends more", actual: keeps(40), kept: 40, calls: 2, correct: halt.Debit},
		{name: "above what is left", actual: keeps(140), kept: 100, calls: 2, correct: halt.Debit},
		{name: "equal", actual: keeps(10), kept: 10, calls: 1},
		{name: "nothing", actual: keeps(0), kept: 0, calls: 2, correct: halt.Credit},
		{name: "negative keeps what was reserved", actual: keeps(-1), kept: 10, calls: 1, told: guard.ErrNegativeCost},
		{name: "panic keeps what was reserved", actual: func(*request, guard.Outcome) int64 { panic("settle") }, kept: 10, calls: 1, told: guard.ErrPanic},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, p := range []halt.Policy{fixed("api", 100), sliding} {
				w := newWorld(t)
				g := w.rules(guard.Rule[*request]{Policy: p, Key: byUser(), Cost: costs(10), Settle: test.actual})
				w.admit(g, &request{user: "ann"})
				if test.told == nil {
					w.quiet()
				} else {
					w.ruleError(0, test.told)
				}
				w.wantRemaining(p, "user:ann", 100-test.kept)
				calls := w.store.taken()
				if len(calls) != test.calls {
					t.Fatalf("the store got %d calls, want %d", len(calls), test.calls)
				}
				if test.calls == 2 && calls[1][0].Mode != test.correct {
					t.Errorf("settled by a %v", calls[1][0].Mode)
				}
			}
		})
	}
}

func TestChargeOn(t *testing.T) {
	status := []int{401, 403}
	settle := guard.ChargeOn[*request](status...)
	status[0] = 200 // the list is the Settle's own
	for status, want := range map[int]int64{401: 7, 403: 7, 200: 0, 500: 0, guard.StatusClientClosed: 0, 0: 0} {
		if got := settle(nil, guard.Outcome{Status: status, Reserved: 7}); got != want {
			t.Errorf("status %d keeps %d of 7, want %d", status, got, want)
		}
	}
}

// All corrections of a request are one call.
func TestSettlementsAreOneCall(t *testing.T) {
	w := newWorld(t)
	a, b, c := fixed("a", 10), fixed("b", 10), inFlight(10)
	g := w.rules(
		guard.Rule[*request]{Policy: a, Key: byUser(), Cost: costs(5), Settle: keeps(2)},
		guard.Rule[*request]{Policy: b, Key: byUser(), Cost: costs(5), Settle: keeps(8)},
		guard.Rule[*request]{Policy: c, Key: byUser()},
	)
	w.admit(g, &request{user: "ann"})
	if calls := w.store.taken(); len(calls) != 2 || len(calls[1]) != 3 {
		t.Errorf("the store got %v, want two calls of three", calls)
	}
	w.wantRemaining(a, "user:ann", 8)
	w.wantRemaining(b, "user:ann", 2)
	w.wantRemaining(c, "user:ann", 10)
}

// A handler's panic goes through, and settles as a 500.
func TestPanicOfTheHandlerSettlesAs500(t *testing.T) {
	w := newWorld(t)
	p := fixed("api", 10)
	var got guard.Outcome
	g := w.rules(
		guard.Rule[*request]{Policy: p, Key: byUser(), Cost: costs(3), Settle: func(_ *request, o guard.Outcome) int64 {
			got = o
			return 1
		}},
		guard.Rule[*request]{Policy: inFlight(5), Key: byUser()},
	)
	func() {
		defer func() {
			if v := recover(); v != "handler" {
				t.Errorf("recovered %v", v)
			}
		}()
		serve(t.Context(), g, &request{user: "ann"}, func(context.Context) { panic("handler") })
	}()
	if want := (guard.Outcome{Status: 500, Reserved: 3}); got != want {
		t.Errorf("Settle was asked with %+v, want %+v", got, want)
	}
	w.wantRemaining(p, "user:ann", 9)
	w.wantRemaining(inFlight(5), "user:ann", 5)
}

// Settling survives the end of the request's context.
func TestSettleAfterTheClientHasGone(t *testing.T) {
	w := newWorld(t)
	p := fixed("api", 10)
	g := w.rules(
		guard.Rule[*request]{Policy: p, Key: byUser(), Settle: keeps(0)},
		guard.Rule[*request]{Policy: inFlight(5), Key: byUser()},
	)
	ctx, cancel := context.WithCancel(t.Context())
	_, ran := serve(ctx, g, &request{user: "ann"}, func(context.Context) { cancel() })
	if !ran {
		t.Fatal("denied")
	}
	w.wantRemaining(p, "user:ann", 10)
	w.wantRemaining(inFlight(5), "user:ann", 5)
	w.quiet()
}

// A store that fails while settling is told to OnError, typed, and nothing is repeated.
func TestStoreFailsWhileSettling(t *testing.T) {
	w := newWorld(t)
	p := fixed("api", 10)
	g := w.rules(guard.Rule[*request]{Policy: p, Key: byUser(), Cost: costs(5), Settle: keeps(2)})
	broken := errors.New("connection lost")
	_, ran := serve(t.Context(), g, &request{user: "ann"}, func(context.Context) { w.store.failWith(broken) })
	told := w.told()
	if !ran || len(told) != 1 || !errors.Is(told[0], halt.ErrStore) || !errors.Is(told[0], broken) {
		t.Errorf("ran: %v, OnError was told %v", ran, told)
	}
	if calls := w.store.taken(); len(calls) != 2 {
		t.Errorf("the store got %d calls, want 2", len(calls))
	}
	w.wantRemaining(p, "user:ann", 5)
}

// The outcome reaches Settle as the adapter gave it, with what this rule reserved.
func TestOutcome(t *testing.T) {
	w := newWorld(t)
	failed := errors.New("handler failed")
	r := &request{user: "ann"}
	g := w.rules(guard.Rule[*request]{Policy: fixed("api", 10), Key: byUser(), Cost: costs(2), Settle: func(got *request, o guard.Outcome) int64 {
		if want := (guard.Outcome{Status: 418, Reserved: 2, Err: failed}); o != want || got != r {
			t.Errorf("Settle was asked with %+v, want %+v", o, want)
		}
		return 0
	}})
	g.Enter(t.Context(), r).Leave(guard.Outcome{Status: 418, Reserved: 99, Err: failed})
}
