package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// crowd is how many goroutines call at once.
const crowd = 64

// patience is how long a crowd may take.
var patience = 2 * time.Minute

var concurrentCases = []testCase{
	{
		name: "ConcurrentLimit", run: concurrentLimit,
		rule: "However many call at once, one key admits exactly the policy's capacity: no check-then-act.",
	},
	{
		name: "ConcurrentCosts", run: concurrentCosts,
		rule: "However many call at once with whatever costs, what was admitted and what Remains add up to the capacity.",
	},
	{
		name: "ConcurrentKeys", run: concurrentKeys,
		rule: "Calls on many keys at once do not disturb one another.",
	},
	{
		name: "ConcurrentCalls", run: concurrentCalls,
		rule: "Calls of several charges in any order never deadlock, never admit more than any of their budgets, and leave nothing spent " +
			"that was refused.",
	},
	{
		name: "ConcurrentInFlight", run: concurrentInFlight,
		rule: "At most Limit are inside at once, and all places are free when all have left.",
	},
	{
		name: "ConcurrentTime", run: concurrentTime,
		rule: "While time passes, no interval admits more than the algorithm's theorem says, however many call at once.",
	},
}

// rush runs f in a crowd of goroutines, and fails the trial with their errors.
func (e *trial) rush(f func(g int, rng *rand.Rand) error) {
	done := make(chan error, crowd)
	begin := make(chan struct{})
	for g := range crowd {
		rng := rand.New(rand.NewPCG(uint64(g), e.rng.Uint64()))
		go func() {
			<-begin
			done <- caught(func() error { return f(g, rng) })
		}()
	}
	close(begin)
	late := time.NewTimer(patience)
	defer late.Stop()
	var errs []error
	for range crowd {
		select {
		case err := <-done:
			if err != nil && !slices.ContainsFunc(errs, func(e error) bool { return e.Error() == err.Error() }) {
				errs = append(errs, err)
			}
		case <-late.C:
			fail("concurrent calls hang")
		}
	}
	if err := errors.Join(errs...); err != nil {
		fail("%v", err)
	}
}

// raw makes a call that nobody repeats on the model. It tells whether it was answered, as every call has to be unless
// replies get lost.
func (e *trial) raw(cs ...halt.Charge) (ds halt.Decisions, ok bool, err error) {
	ds = make(halt.Decisions, len(cs))
	if err = e.store.Take(e.ctx, cs, ds); err != nil {
		if e.h.LosesReplies {
			return nil, false, nil
		}
		return nil, false, fmt.Errorf("take of %s: %w", show(cs), err)
	}
	return ds, true, nil
}

// left returns what a budget has, without the replica, which does not know of raw calls.
func (e *trial) left(p halt.Policy, key string) (int64, bool) {
	for range 100 {
		ds, ok, err := e.raw(halt.Charge{Policy: p, Key: key, Mode: halt.Peek})
		if err != nil {
			fail("%v", err)
		}
		if ok {
			return ds[0].Remaining, true
		}
	}
	return 0, false
}

func concurrentLimit(e *trial) {
	for _, a := range algorithms {
		p := e.still(a, 3*crowd)
		var admitted atomic.Int64
		e.rush(func(int, *rand.Rand) error {
			for range 5 {
				ds, ok, err := e.raw(p.Charge("k", 1))
				if err != nil {
					return err
				}
				if ok && ds[0].Allowed {
					admitted.Add(1)
				}
			}
			return nil
		})
		n := admitted.Load()
		e.check(n <= p.Capacity(), "%s admitted %d to %d callers at once, %d too many", showPolicy(&p), n, crowd, n-p.Capacity())
		e.check(e.h.LosesReplies || n == p.Capacity(), "%s admitted %d to %d callers at once, %d too few", showPolicy(&p), n, crowd, p.Capacity()-n)
	}
}

func concurrentCosts(e *trial) {
	for _, a := range algorithms {
		p := e.still(a, 4000)
		var spent, taken atomic.Int64
		e.rush(func(_ int, rng *rand.Rand) error {
			for range 6 {
				c := p.Charge("k", rng.Int64N(20))
				switch rng.IntN(6) {
				case 0:
					c.Mode = halt.Peek
				case 1:
					c.Mode = halt.Debit
				case 2:
					c.Mode = halt.Shadow
				}
				ds, ok, err := e.raw(c)
				if err != nil {
					return err
				}
				if ok && ds[0].Allowed && (c.Mode == halt.Take || c.Mode == halt.Debit) {
					spent.Add(c.Cost)
				}
				if ok && ds[0].Allowed && c.Mode == halt.Take {
					taken.Add(c.Cost)
				}
			}
			return nil
		})
		left, ok := e.left(p, "k")
		n := spent.Load()
		e.check(taken.Load() <= p.Capacity(), "%s admitted %d", showPolicy(&p), taken.Load())
		if ok && n <= p.Capacity() { // Debits may overdraw it
			e.check(left <= p.Capacity()-n, "%s: %d spent and %d left", showPolicy(&p), n, left)
			e.check(left == p.Capacity()-n || e.h.LosesReplies, "%s: %d spent and %d left", showPolicy(&p), n, left)
		}
	}
}

func concurrentKeys(e *trial) {
	ps := e.mixed(4)
	e.rush(func(g int, rng *rand.Rand) error {
		for _, i := range rng.Perm(len(ps)) {
			admitted := 0
			for range 6 {
				ds, ok, err := e.raw(ps[i].Charge(fmt.Sprint("own", g), 1))
				if err != nil {
					return err
				}
				if ok && ds[0].Allowed {
					admitted++
				}
			}
			if admitted > 4 || admitted < 4 && !e.h.LosesReplies {
				return fmt.Errorf("%s admitted %d to the only caller of a key, not 4", showPolicy(&ps[i]), admitted)
			}
		}
		return nil
	})
}

func concurrentCalls(e *trial) {
	const limit = 2 * crowd
	budgets := make([]halt.Charge, 0, 10)
	for i, p := range e.mixed(limit) {
		budgets = append(budgets, p.Charge("shared", 1), p.Charge(fmt.Sprint("shared", i), 2))
	}
	spent := make([]atomic.Int64, len(budgets))
	var refused sync.Map // of the index of a budget to true, if a call that had it was refused
	e.rush(func(_ int, rng *rand.Rand) error {
		for range 4 {
			order := rng.Perm(len(budgets))[:5]
			cs := make([]halt.Charge, 0, 5)
			for _, i := range order {
				cs = append(cs, budgets[i])
			}
			ds, ok, err := e.raw(cs...)
			if err != nil {
				return err
			}
			if ok && ds.Allowed() {
				for _, i := range order {
					spent[i].Add(budgets[i].Cost)
				}
			} else if ok {
				refused.Store(fmt.Sprint(order), order)
			}
		}
		return nil
	})
	remaining := make([]int64, len(budgets))
	for i, c := range budgets {
		n := spent[i].Load()
		e.check(n <= limit, "%s admitted %d of %d in calls of several", showPolicy(&c.Policy), n, limit)
		left, ok := e.left(c.Policy, c.Key)
		if remaining[i] = left; !ok {
			return
		}
		e.check(left <= limit-n, "%s: %d spent and %d of %d left", showPolicy(&c.Policy), n, left, limit)
		// What a call gave back that was not one step, a leaky bucket keeps, and a token bucket may keep a trifle of.
		gaps := e.h.LosesReplies || !e.h.Atomic && c.Policy.Algorithm <= halt.LeakyBucket
		e.check(left == limit-n || gaps, "%s: %d spent and only %d of %d left: refused calls were spent", showPolicy(&c.Policy), n, left, limit)
	}
	if !e.h.Atomic || e.h.LosesReplies {
		return
	}
	refused.Range(func(_, v any) bool {
		for _, i := range v.([]int) {
			if remaining[i] < budgets[i].Cost {
				return true
			}
		}
		fail("a call was refused although each of its budgets has enough left")
		return false
	})
}

func concurrentInFlight(e *trial) {
	p := e.still(halt.InFlight, 5)
	var inside atomic.Int64
	e.rush(func(_ int, rng *rand.Rand) error {
		for range 5 {
			c := p.Charge("room", 1+rng.Int64N(2))
			ds, ok, err := e.raw(c)
			if err != nil {
				return err
			}
			if !ok || !ds[0].Allowed {
				continue
			}
			if n := inside.Add(c.Cost); n > 5 {
				return fmt.Errorf("%d were inside, of 5", n)
			}
			wait(time.Duration(rng.IntN(200)) * time.Microsecond) // so that others are inside too
			inside.Add(-c.Cost)
			if _, _, err := e.raw(credit(c, ds[0], c.Cost)); err != nil {
				return err
			}
		}
		return nil
	})
	if left, ok := e.left(p, "room"); ok && !e.h.LosesReplies {
		e.check(left == 5, "all have left, and %d places of 5 are free", left)
	}
}

// concurrentTime checks the theorems by brute force: between any two events of what was admitted.
func concurrentTime(e *trial) {
	for _, a := range []halt.Algorithm{halt.TokenBucket, halt.FixedWindow, halt.SlidingWindow} {
		p := halt.Policy{Name: e.name(), Algorithm: a, Limit: 20, Window: 5 * time.Millisecond}
		var mu sync.Mutex
		var at []halt.Instant
		e.rush(func(g int, _ *rand.Rand) error {
			for n := range 8 {
				if g == 0 && n > 0 && e.h.Advance != nil {
					e.h.Advance(e.tb, e.store, 700*time.Microsecond)
				} else if e.h.Bubble {
					time.Sleep(300 * time.Microsecond) //nolint:forbidigo // in a bubble, where it takes no time
				}
				ds, ok, err := e.raw(p.Charge("k", 1))
				if err != nil {
					return err
				}
				if ok && ds[0].Allowed {
					mu.Lock()
					at = append(at, ds[0].At)
					mu.Unlock()
				}
			}
			return nil
		})
		slices.Sort(at)
		w := halt.Instant(p.Window.Microseconds())
		for i := range at {
			for j := i; j < len(at); j++ {
				n, t := int64(j-i+1), at[j]-at[i]
				switch {
				case a == halt.TokenBucket && (n-p.Limit)*int64(w) > int64(t)*p.Limit,
					a == halt.FixedWindow && at[i]/w == at[j]/w && n > p.Limit,
					a == halt.SlidingWindow && t < w && n > p.Limit:
					fail("%s admitted %d within %d µs", showPolicy(&p), n, t+1)
				}
			}
		}
	}
}
