package cas

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	halt "github.com/halt-dev/halt/core"
)

const (
	mostConflicts = 100 // of a batch, until it gives up
	triesAtOnce   = 4   // until it pauses
	mostSendings  = 3   // of the same swap, while it is unknown whether it happened
)

// errContention is what calls get whose key others kept writing.
var errContention error = &halt.StoreError{Kind: halt.ErrContention}

// errLate is what calls get if a swap from a wrong guess has taken most of their time. Nothing was written.
var errLate error = &halt.StoreError{Kind: halt.ErrDeadline, Cause: errors.New("halt/cas: there is no time left for another swap")}

// settle decides and swaps until all calls are answered.
func (f *sender) settle(ctx context.Context) {
	// What others do is no reason to be late: callers are to hear of it while they still listen.
	until := time.Now().Add(f.s.o.Timeout * 3 / 4)
	for conflicts := 0; ; {
		f.decide()
		if unread := f.unread(); len(unread) > 0 {
			if err := f.load(ctx, unread); err != nil {
				f.answer(err)
				return
			}
			continue
		}
		n := f.s.nonces.next()
		if !f.prepare(n) {
			f.answer(nil)
			return
		}
		sent := time.Now()
		outcome, err := f.swap(ctx, n)
		switch outcome {
		case swapped, failed:
			f.answer(err)
			return
		case unknown:
			if f.abandon(err); len(f.calls) == 0 {
				return
			}
		case conflict:
		}
		conflicts++
		paused, err := pause(ctx, conflicts, time.Since(sent), until)
		if err == nil && paused { // what was found is old by now
			err = f.load(ctx, f.involved())
		}
		if err != nil {
			f.answer(err)
			return
		}
	}
}

// unread returns the slots that must be read before the calls can be answered: nothing that a decision is based on may be a
// guess that no swap verifies.
func (f *sender) unread() (slots []*slot) {
	for i := range f.slots {
		if l := &f.slots[i]; l.used && !l.confirmed && (!l.involved || l.err != nil) {
			slots = append(slots, l)
		}
	}
	return slots
}

// prepare makes the swaps, and tells whether there are any.
func (f *sender) prepare(n nonce) bool {
	f.swaps = f.swaps[:0]
	now := f.s.now(f.slots[0].key)
	for i := range f.slots {
		l := &f.slots[i]
		if !l.involved {
			continue
		}
		l.next = l.entry.Value
		if l.changed {
			l.next = encode(n, &l.state)
		}
		f.swaps = append(f.swaps, Swap{Key: l.key, Old: l.entry, Value: l.next, Life: l.life(f.s, now)})
	}
	return len(f.swaps) > 0
}

// outcome is what became of a swap.
type outcome int

const (
	swapped  outcome = iota
	conflict         // it did not happen, others wrote; the slots have what they wrote
	unknown          // it may have happened, before others wrote; the slots have what they wrote
	failed           // all calls are to be told the error
)

// swap sends the swaps, again if it has to, and finds out what became of them. The nonce is theirs.
func (f *sender) swap(ctx context.Context, n nonce) (outcome, error) {
	var doubt error // why it is unknown whether an earlier sending swapped
	for range mostSendings {
		done, found, err := f.send(ctx)
		switch {
		case done:
			return swapped, nil
		case err != nil && (isNotDone(err) || ctx.Err() != nil):
			f.likely = doubt != nil || !isNotDone(err)
			return failed, cmp.Or(doubt, typed(err)) // that nothing was written is true of this sending only
		case err != nil:
			doubt = typed(err)
		}
		if !found {
			if err := f.load(ctx, f.involved()); err != nil {
				f.likely = doubt != nil
				return failed, cmp.Or(doubt, err)
			}
		}
		switch mine, moved := f.look(n); {
		case mine:
			return swapped, nil
		case doubt == nil:
			return conflict, nil
		case moved:
			// Though other entries are as before: they were not read at the same moment, and the swap may have come in between.
			return unknown, doubt
		}
		// Nothing happened so far. A sending that is still on its way may yet swap, but then this one won't.
	}
	f.likely = true
	return failed, doubt
}

// look looks for the swaps' traces in what was found: the nonce, or an entry that others wrote.
func (f *sender) look(n nonce) (mine, moved bool) {
	k := 0
	for i := range f.slots {
		l := &f.slots[i]
		if !l.involved {
			continue
		}
		w := &f.swaps[k]
		k++
		same := bytes.Equal(w.Old.Value, l.entry.Value) && (w.Old.Value == nil) == (l.entry.Value == nil)
		mine = mine || bears(l.entry.Value, n)
		moved = moved || !same
		w.Old = l.entry // if it is sent again
	}
	return mine, moved
}

func (f *sender) involved() (slots []*slot) {
	for i := range f.slots {
		if f.slots[i].involved {
			slots = append(slots, &f.slots[i])
		}
	}
	return slots
}

// send sends the swaps once, and tells whether they were carried out, and if not, whether the slot has what was found.
func (f *sender) send(ctx context.Context) (done, found bool, err error) {
	defer func() {
		if r := recover(); r != nil {
			done, found, err = false, false, panicked(r)
		}
	}()
	if len(f.swaps) > 1 {
		done, err = f.s.several.SwapAll(ctx, f.swaps)
		if err != nil || !done {
			return false, false, err
		}
		for _, l := range f.involved() {
			l.entry = Entry{Value: l.next}
		}
		return true, false, nil
	}
	w := &f.swaps[0]
	r, err := f.s.reg.CompareAndSwap(ctx, w.Key, w.Old, w.Value, w.Life)
	if err != nil {
		return false, false, err
	}
	l := f.involved()[0]
	if r.Swapped {
		l.entry = Entry{Value: l.next, Version: r.Entry.Version, Epoch: r.Entry.Epoch}
		return true, false, nil
	}
	if r.Found {
		l.entry, l.confirmed = r.Entry, true
	}
	return false, r.Found, nil
}

// load reads the slots' entries, all at once.
func (f *sender) load(ctx context.Context, slots []*slot) error {
	if len(slots) == 1 {
		return f.s.load(ctx, slots[0])
	}
	errs := make([]error, len(slots))
	var wg sync.WaitGroup
	for i, l := range slots {
		wg.Go(func() { errs[i] = f.s.load(ctx, l) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) load(ctx context.Context, l *slot) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = typed(panicked(r))
		}
	}()
	if l.entry, err = s.reg.Load(ctx, l.key); err != nil {
		return typed(err)
	}
	l.confirmed = true
	return nil
}

func panicked(r any) error { return fmt.Errorf("halt/cas: the register panicked: %v", r) }

// pause waits after every few conflicts, the longer the more there were: some of the time that a swap takes, or many times
// that. In between it is best to try at once upon what was found: each conflict is somebody's swap, and who hesitates loses
// to those who don't. Its error is errContention if it would wait beyond until, or if there were too many; but one conflict
// alone, which a wrong guess makes, is no contention: then it is errLate.
func pause(ctx context.Context, conflicts int, took time.Duration, until time.Time) (paused bool, err error) {
	wait := time.Duration(0)
	if conflicts%triesAtOnce == 0 {
		wait = rand.N(min(max(took, 20*time.Microsecond), 20*time.Millisecond) << min(conflicts/triesAtOnce, 4))
	}
	if conflicts > mostConflicts || time.Now().Add(wait).After(until) {
		if conflicts == 1 {
			return false, errLate
		}
		return false, errContention
	}
	if wait == 0 {
		return false, typed(ctx.Err())
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return true, typed(ctx.Err())
	case <-t.C:
		return true, nil
	}
}
