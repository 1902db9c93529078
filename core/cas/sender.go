package cas

import (
	"context"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/algorithm"
	"github.com/halt-dev/halt/core/combine"
)

type call = combine.Call[struct{}]

// sender decides the calls of one queue: those on one key, or those of several charges. It keeps its memory from one batch to
// the next.
type sender struct {
	s     *Store
	calls []*call
	errs  []error // of each call: of what it met
	slots []slot
	index map[string]int // of slots, by key; for calls of several charges
	at    []int          // of each charge of each call: its slot

	states  []algorithm.State // of the charges of one call
	changed []bool
	swaps   []Swap
	likely  bool // the swaps whose outcome is unknown may well have happened
}

// slot is one budget that the calls draw on.
type slot struct {
	key    string
	policy halt.Policy // one of those under which it is used: they share the shape of the state
	entry  Entry       // what is there: a guess, until it is confirmed
	// confirmed: the entry was read after the calls had come.
	confirmed bool

	// What the last decision made of it.
	used     bool // by a call that is not answered yet
	changed  bool
	involved bool // changed, or part of a call that changed something: the swap verifies it
	err      error
	state    algorithm.State
	end      halt.Instant // when it is as one never seen
	next     []byte       // the value to replace the entry by
}

func newSender(s *Store) *sender { return &sender{s: s, index: make(map[string]int)} }

// Send implements combine.Sender.
func (f *sender) Send(ctx context.Context, queue string, calls []*call) {
	for len(calls) > 0 {
		n := f.gather(queue, calls)
		f.calls = append(f.calls[:0], calls[:n]...)
		f.settle(ctx)
		calls = calls[n:]
		f.clear()
	}
}

// clear lets go of what belongs to the calls.
func (f *sender) clear() {
	const most = 1024 // slots of which the memory is kept
	clear(f.calls)
	clear(f.errs)
	clear(f.slots)
	clear(f.index)
	clear(f.states[:cap(f.states)])
	clear(f.swaps[:cap(f.swaps)])
	f.calls, f.errs, f.slots, f.at = f.calls[:0], f.errs[:0], f.slots[:0], f.at[:0]
	if cap(f.slots) > most {
		f.slots, f.index = nil, make(map[string]int)
	}
}

// gather makes the slots of as many calls as go together, and returns how many these are.
func (f *sender) gather(queue string, calls []*call) int {
	if queue != together {
		f.open(queue, &calls[0].Charges[0])
		for range calls {
			f.at = append(f.at, 0)
		}
		return len(calls)
	}
	for n, w := range calls {
		if n > 0 && len(f.slots)+len(w.Charges) > MostSwaps {
			return n
		}
		for i := range w.Charges {
			key := halt.StorageKey(f.s.o.Prefix, w.Charges[i])
			at, ok := f.index[key]
			if !ok {
				at = len(f.slots)
				f.index[key] = at
				f.open(key, &w.Charges[i])
			}
			f.at = append(f.at, at)
		}
	}
	return len(calls)
}

// open adds the slot of the charge's budget.
func (f *sender) open(key string, c *halt.Charge) {
	f.slots = append(f.slots, slot{key: key, policy: c.Policy, entry: f.s.memory.get(key, f.s.now(key))})
}

// decide decides all calls, one after the other, upon what the slots' entries are.
func (f *sender) decide() {
	now := f.s.now(f.slots[0].key)
	for i := range f.slots {
		l := &f.slots[i]
		l.used, l.changed, l.involved, l.end = false, false, false, now
		l.state, l.err = decode(l.entry.Value, &l.policy)
	}
	f.errs = f.errs[:0]
	at := f.at
	for _, w := range f.calls {
		n := len(w.Charges)
		f.errs = append(f.errs, f.decideCall(w, at[:n], now))
		at = at[n:]
	}
}

// decideCall decides a call whose charges draw on the slots at.
func (f *sender) decideCall(w *call, at []int, now halt.Instant) (err error) {
	for _, i := range at {
		f.slots[i].used = true
		if f.slots[i].err != nil {
			err = f.slots[i].err
		}
	}
	if err != nil {
		return err
	}
	f.states, f.changed = f.states[:0], f.changed[:0]
	for _, i := range at {
		f.states, f.changed = append(f.states, f.slots[i].state), append(f.changed, false)
	}
	if len(at) == 1 {
		w.Decisions[0], f.changed[0] = algorithm.Decide(&w.Charges[0], &f.states[0], now)
	} else {
		algorithm.DecideAll(w.Charges, f.states, now, w.Decisions, f.changed)
	}
	writes := false
	for n, i := range at {
		l, d := &f.slots[i], &w.Decisions[n]
		l.state, l.changed = f.states[n], l.changed || f.changed[n]
		l.end = max(l.end, d.At+halt.Instant(d.ResetAfter/time.Microsecond))
		writes = writes || f.changed[n]
	}
	for _, i := range at {
		f.slots[i].involved = f.slots[i].involved || writes
	}
	return nil
}

// life returns how long the register is to keep the slot's entry. Before it forgets it, every clock must have passed its end.
func (l *slot) life(s *Store, now halt.Instant) time.Duration {
	return time.Duration(max(l.end-now, 0))*time.Microsecond + 2*s.o.Skew
}

// answer gives the calls their decisions, or the error, and remembers what is in the register.
func (f *sender) answer(err error) {
	for i := range f.slots {
		l := &f.slots[i]
		if err == nil && l.err == nil && !l.used {
			continue
		}
		f.s.memory.put(l.key, f.guess(l, err), l.end+halt.Instant(2*f.s.o.Skew/time.Microsecond))
	}
	f.likely = false
	for i, w := range f.calls {
		if err != nil {
			w.Answer(err)
		} else {
			w.Answer(f.errs[i])
		}
	}
	clear(f.calls)
	f.calls = f.calls[:0]
}

// guess is what the slot's entry probably is from now on; the zero Entry if it had better be read. Even of calls that fail
// something is kept: where a swap takes more than half of the Timeout, none would ever succeed that had to try twice.
func (f *sender) guess(l *slot, err error) Entry {
	switch {
	case l.err != nil:
		return Entry{}
	case err == nil:
		return l.entry
	case f.likely && l.changed && f.s.several != nil: // which goes by values: the new version is not known
		return Entry{Value: l.next}
	case f.likely && l.changed || !l.confirmed:
		return Entry{}
	}
	return l.entry
}

// abandon answers the calls that must not run twice, by the error that left it unknown whether they ran.
func (f *sender) abandon(err error) {
	calls, at := f.calls[:0], f.at[:0]
	rest := f.at
	for i, w := range f.calls {
		n := len(w.Charges)
		switch {
		case w.Repeatable():
			calls, at = append(calls, w), append(at, rest[:n]...)
		case f.errs[i] != nil:
			w.Answer(f.errs[i])
		default:
			w.Answer(err)
		}
		rest = rest[n:]
	}
	clear(f.calls[len(calls):])
	f.calls, f.at = calls, at
}
