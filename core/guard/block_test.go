package guard_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
)

// logins is a policy of five failures a minute, which block for twenty.
func logins() halt.Policy {
	p := fixed("logins", 5)
	p.Window, p.Algorithm, p.Block = time.Minute, halt.SlidingWindow, 20*time.Minute
	return p
}

func (w *world) loginGuard() *guard.Guard[*request] {
	w.t.Helper()
	return w.rules(guard.Rule[*request]{Policy: logins(), Key: byUser(), Settle: guard.ChargeOn[*request](401)})
}

var success, failure = &request{user: "ann"}, &request{user: "ann", status: 401}

func TestFifthCountedFailureBlocks(t *testing.T) {
	w := newWorld(t)
	g := w.loginGuard()
	for range 4 {
		w.admit(g, success, failure, success, success, success, success, success) // successes never count
		w.clock.Advance(time.Second)
	}
	w.wantRemaining(logins(), "user:ann", 1)
	for _, c := range w.store.taken() {
		if c[0].Policy.Block != 0 {
			t.Fatalf("a charge with the Block was sent before its time: %+v", c)
		}
	}
	w.admit(g, failure)
	d := w.deny(g, success, guard.QuotaExceeded)
	if !d.Decision.Blocked || d.RetryAfter != 20*time.Minute || d.Policy != logins() {
		t.Errorf("denied for %v by %+v (%+v), want the full Block of logins", d.RetryAfter, d.Policy, d.Decision)
	}
	w.clock.Advance(20*time.Minute - time.Microsecond)
	w.deny(g, success, guard.QuotaExceeded)
	w.quiet()
}

// The full Block counts even where the window would have let go before.
func TestBlockOutlastsTheWindow(t *testing.T) {
	w := newWorld(t)
	p := halt.Policy{Name: "logins", Limit: 2, Window: time.Minute, Algorithm: halt.FixedWindow, Block: time.Hour}
	g := w.rules(guard.Rule[*request]{Policy: p, Key: byUser(), Settle: guard.ChargeOn[*request](401)})
	w.admit(g, failure, failure)
	w.clock.Advance(time.Hour - time.Millisecond)
	w.deny(g, success, guard.QuotaExceeded)
	w.clock.Advance(time.Millisecond)
	w.admit(g, success, failure, success)
	w.admit(g, &request{user: "bob"})
}

// Requests that are refused because reservations hold the budget don't begin a block.
func TestRefusalOfReservationsDoesNotBlock(t *testing.T) {
	w := newWorld(t)
	g := w.loginGuard()
	var passes []*guard.Pass[*request]
	for range 5 {
		p := g.Enter(t.Context(), success)
		if _, denied := p.Denied(); denied {
			t.Fatal("denied")
		}
		passes = append(passes, p)
	}
	if d := w.deny(g, success, guard.QuotaExceeded); d.Decision.Blocked {
		t.Error("blocked by reservations")
	}
	for _, p := range passes {
		p.Leave(guard.Outcome{Status: 200})
	}
	w.wantRemaining(logins(), "user:ann", 5)
	w.admit(g, success)
}

// The one that spent the last fails after the others have given back: its Take fits, and is given back itself.
func TestBlockTakeThatFitsIsGivenBack(t *testing.T) {
	w := newWorld(t)
	g := w.loginGuard()
	var passes []*guard.Pass[*request]
	for range 5 {
		passes = append(passes, g.Enter(t.Context(), success))
	}
	for _, p := range passes[:4] {
		p.Leave(guard.Outcome{Status: 200})
	}
	w.store.taken()
	passes[4].Leave(guard.Outcome{Status: 401})
	calls := w.store.taken()
	if len(calls) != 2 || calls[0][0].Policy.Block == 0 || calls[0][0].Mode != halt.Take || calls[1][0].Mode != halt.Credit {
		t.Errorf("the store got %+v, want a Take with the Block, and its Credit", calls)
	}
	w.wantRemaining(logins(), "user:ann", 4)
	w.quiet()
}

// Concurrent logins: the block begins exactly if all five failures are counted.
func TestConcurrentLogins(t *testing.T) {
	for name, failures := range map[string]int{"all fail": 5, "none fails": 0} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			g := w.loginGuard()
			var ready, wg sync.WaitGroup
			ready.Add(5)
			for i := range 5 {
				wg.Go(func() {
					r := success
					if i < failures {
						r = failure
					}
					if _, ran := serve(t.Context(), g, r, func(context.Context) { ready.Done(); ready.Wait() }); !ran {
						ready.Done()
						t.Error("denied")
					}
				})
			}
			wg.Wait()
			if failures == 5 {
				if d := w.deny(g, success, guard.QuotaExceeded); !d.Decision.Blocked || d.RetryAfter != 20*time.Minute {
					t.Errorf("denied with %+v, want the full Block", d.Decision)
				}
			} else {
				w.admit(g, success)
				w.wantRemaining(logins(), "user:ann", 5)
			}
			w.quiet()
		})
	}
}

// Whatever order concurrent logins end in, once all have ended the key is blocked if five of them failed.
func TestBlockBeginsInWhateverOrderTheyLeave(t *testing.T) {
	for first := range 5 {
		w := newWorld(t)
		g := w.loginGuard()
		var passes []*guard.Pass[*request]
		for range 5 {
			passes = append(passes, g.Enter(t.Context(), failure))
		}
		for i := range passes {
			passes[(first+i)%5].Leave(guard.Outcome{Status: 401})
		}
		if d := w.deny(g, success, guard.QuotaExceeded); !d.Decision.Blocked {
			t.Errorf("leaving from the %d. on: not blocked", first)
		}
	}
}

// A store that fails while the block begins is told to OnError; the next counted failure begins it.
func TestStoreFailsWhileBlocking(t *testing.T) {
	w := newWorld(t)
	g := w.loginGuard()
	w.admit(g, failure, failure, failure, failure)
	if _, ran := serve(t.Context(), g, failure, func(context.Context) { w.store.failWith(halt.ErrContention) }); !ran {
		t.Fatal("denied")
	}
	if told := w.told(); len(told) != 1 || !errors.Is(told[0], halt.ErrContention) {
		t.Errorf("OnError was told %v", told)
	}
	w.store.failWith(nil)
	if d := w.deny(g, success, guard.QuotaExceeded); d.Decision.Blocked {
		t.Error("blocked")
	}
}

// Credits decide too: a settlement above the estimate can spend the last.
func TestDebitThatSpendsTheLastBlocks(t *testing.T) {
	w := newWorld(t)
	p := fixed("work", 10)
	p.Block = 30 * time.Minute
	g := w.rules(guard.Rule[*request]{Policy: p, Key: byUser(), Settle: func(r *request, _ guard.Outcome) int64 { return r.cost }})
	w.admit(g, &request{user: "ann", cost: 9})
	w.admit(g, &request{user: "ann", cost: 0}) // spends the last for a while, and gives it back
	w.wantRemaining(p, "user:ann", 1)
	w.admit(g, &request{user: "ann", cost: 50})
	w.admit(g, &request{user: "bob", cost: 50}) // nine were left beside what it reserved
	for _, user := range []string{"ann", "bob"} {
		if d := w.deny(g, &request{user: user}, guard.QuotaExceeded); !d.Decision.Blocked || d.RetryAfter < 30*time.Minute {
			t.Errorf("%s was denied with %+v, want blocked", user, d.Decision)
		}
	}
}

// Without a Settle the Block is the reservation's own: a refusal begins it.
func TestBlockWithoutSettle(t *testing.T) {
	w := newWorld(t)
	p := halt.Policy{Name: "api", Limit: 1, Window: time.Second, Burst: 2, Block: time.Minute}
	g := w.rules(guard.Rule[*request]{Policy: p, Key: byUser()})
	w.admit(g, success, success)
	if d := w.deny(g, success, guard.QuotaExceeded); !d.Decision.Blocked || d.RetryAfter != time.Minute {
		t.Errorf("denied with %+v", d.Decision)
	}
	w.clock.Advance(59 * time.Second)
	w.deny(g, success, guard.QuotaExceeded)
	w.clock.Advance(time.Second)
	w.admit(g, success)
}

// A budget that costs don't divide is exhausted when the next would not fit.
func TestBlockBeginsWhenTheNextDoesNotFit(t *testing.T) {
	w := newWorld(t)
	g := w.rules(guard.Rule[*request]{
		Policy: logins(), Key: byUser(), Settle: guard.ChargeOn[*request](401), Cost: func(*request) int64 { return 2 },
	})
	w.admit(g, failure, failure)
	if d := w.deny(g, success, guard.QuotaExceeded); !d.Decision.Blocked || d.RetryAfter != 20*time.Minute {
		t.Errorf("denied for %v by %+v, want the Block", d.RetryAfter, d.Decision)
	}
	w.quiet()
}

// The Take by which a guard begins a block is nobody's request, so who counts refusals must be able to tell it.
func TestBlockIsInternal(t *testing.T) {
	w := newWorld(t)
	o := &internals{}
	w.limiter = halt.New(w.store, &halt.Options{Observers: []halt.Observer{o}})
	g := w.loginGuard()
	w.admit(g, failure, failure, failure, failure, failure)
	w.deny(g, failure, guard.QuotaExceeded)
	w.admit(g, &request{user: "bob", status: 401}) // the same pass again
	if o.internal != 1 || o.refused != 1 {
		t.Errorf("%d internal calls and %d refusals, want the one that blocks, and the one of a request", o.internal, o.refused)
	}
	w.quiet()
}

// internals counts calls that nobody asked for, and refusals of those that somebody did.
type internals struct{ internal, refused int }

func (*internals) Start(ctx context.Context, _ *halt.Event) context.Context { return ctx }

func (o *internals) End(_ context.Context, e *halt.Event) {
	switch {
	case e.Internal:
		o.internal++
	case !e.Decisions.Allowed():
		o.refused++
	}
}
