package storetest

import (
	"fmt"
	"slices"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/algorithm"
)

// replica follows a store, and knows what it had to answer at the instants at which it did.
type replica struct {
	resolution time.Duration
	atomic     bool
	entries    map[string]*entry
	setBack    bool // the clock was, some time
}

// entry is a budget's state, and what decides how long a store keeps it: for its ResetAfter from when it was written.
type entry struct {
	state algorithm.State
	life  time.Duration
	end   halt.Instant
	limit int64
	// How much time has been made to pass since it was written, and how much at most where the clock was set back since.
	passed, peak time.Duration
}

func newReplica(resolution time.Duration, atomic bool) *replica {
	return &replica{resolution: resolution, atomic: atomic, entries: make(map[string]*entry)}
}

// passed tells that the clock was moved.
func (r *replica) passed(d time.Duration) {
	r.setBack = r.setBack || d < 0
	for _, e := range r.entries {
		e.passed += d
		e.peak = max(e.peak, e.passed)
	}
}

// state returns what is kept for the charge's budget.
func (r *replica) state(c *halt.Charge) algorithm.State {
	if e := r.entries[halt.StorageKey("", *c)]; e != nil {
		return e.state
	}
	return algorithm.State{}
}

func (r *replica) forget(p halt.Policy, key string) {
	for _, c := range budgets(p, key) {
		delete(r.entries, halt.StorageKey("", c))
	}
}

// follow repeats the call, each charge at the instant at which the store decided it, and returns in what the store
// differs. The budgets in again are to be reset: whether the store still had to remember them can't be told.
func (r *replica) follow(cs []halt.Charge, got halt.Decisions) (again []halt.Charge, err error) {
	want := make(halt.Decisions, len(cs))
	next := make([]algorithm.State, len(cs))
	changed := make([]bool, len(cs))
	for i := range cs {
		if r.unsure(&cs[i], got[i].At) {
			return cs, nil
		}
	}
	decide := func(i int, spend bool) {
		next[i] = r.state(&cs[i])
		next[i].Counts = slices.Clone(next[i].Counts)
		want[i], changed[i] = decideIn(cs[i], &next[i], got[i].At, spend)
	}
	admitted := true
	for i := range cs {
		if cs[i].Mode.Binds() {
			decide(i, false)
			admitted = admitted && want[i].Allowed
		}
	}
	for i := range cs {
		if !cs[i].Mode.Binds() || admitted && cs[i].Mode == halt.Take {
			decide(i, true)
		}
	}
	for i := range cs {
		was := r.state(&cs[i])
		if err := r.differ(&cs[i], &was, got[i], want[i]); err != nil {
			return nil, err
		}
	}
	if err := r.oneInstant(cs, got); r.atomic && err != nil {
		return nil, err
	}
	for i := range cs {
		if changed[i] {
			r.entries[halt.StorageKey("", cs[i])] = &entry{
				state: next[i], limit: cs[i].Policy.Limit, life: want[i].ResetAfter,
				end: want[i].At + halt.Instant(want[i].ResetAfter.Microseconds()),
			}
		}
	}
	return nil, nil
}

// decideIn decides a charge of a call: if the call was refused, a Take that fits reads as a Peek, and one that does not
// may leave its block.
func decideIn(c halt.Charge, s *algorithm.State, now halt.Instant, spend bool) (halt.Decision, bool) {
	if c.Mode == halt.Take && !spend {
		p := c
		p.Mode = halt.Peek
		if d, _ := algorithm.Decide(&p, s, now); d.Allowed {
			d.Mode = halt.Take
			return d, false
		}
	}
	return algorithm.Decide(&c, s, now)
}

// unsure tells whether the charge meets an entry whose time has come, and would find out whether it is still there: since
// the clock was set back, or the policy drains more slowly than when the entry was written. Stores may keep such an
// entry or not.
func (r *replica) unsure(c *halt.Charge, at halt.Instant) bool {
	e := r.entries[halt.StorageKey("", *c)]
	if e == nil || at < e.end && (!r.setBack || e.peak+r.resolution < e.life) {
		return false
	}
	return at < e.end || c.Policy.Algorithm <= halt.LeakyBucket && c.Policy.Limit < e.limit
}

// differ compares a decision to the field.
func (r *replica) differ(c *halt.Charge, was *algorithm.State, got, want halt.Decision) error {
	want.RetryAfter, want.ResetAfter = r.round(want.RetryAfter), r.round(want.ResetAfter)
	if got == want {
		return nil
	}
	fields := ""
	say := func(name string, got, want any) {
		if got != want {
			fields += fmt.Sprintf("; %s is %v, should be %v", name, got, want)
		}
	}
	say("Mode", got.Mode, want.Mode)
	say("Allowed", got.Allowed, want.Allowed)
	say("Blocked", got.Blocked, want.Blocked)
	say("Limit", got.Limit, want.Limit)
	say("Remaining", got.Remaining, want.Remaining)
	say("ResetAfter", got.ResetAfter, want.ResetAfter)
	say("RetryAfter", got.RetryAfter, want.RetryAfter)
	say("Delay", got.Delay, want.Delay)
	say("At", got.At, want.At)
	return fmt.Errorf("the decision on %s differs from the model's%s (it was decided at %d, upon %+v)", show([]halt.Charge{*c}), fields, got.At, *was)
}

// round rounds a duration up to the resolution of the store's clock.
func (r *replica) round(d time.Duration) time.Duration {
	if r.resolution <= 0 || d == halt.Never || d%r.resolution == 0 {
		return d
	}
	return d - d%r.resolution + r.resolution
}

// oneInstant tells whether one reading of the clock explains the At of all decisions: each is that reading to the tick
// of its policy, unless the state's was later.
func (r *replica) oneInstant(cs []halt.Charge, got halt.Decisions) error {
	var from halt.Instant
	var to halt.Instant = 1 << 62
	for i := range cs {
		tick := halt.Instant(max(cs[i].Policy.Tick(), r.resolution).Microseconds())
		to = min(to, got[i].At+tick)
		was := r.state(&cs[i])
		if halt.Instant(was.At*cs[i].Policy.Tick().Microseconds()) != got[i].At {
			from = max(from, got[i].At)
		}
	}
	if from >= to {
		return fmt.Errorf("an atomic store decided the charges of one call at different instants: %s", show(cs))
	}
	return nil
}
