package castest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/halt-dev/halt/core/cas"
)

// registers returns the registers on the trial's database: one, or three.
func (e *trial) registers() []cas.Register {
	rs := []cas.Register{e.reg}
	if e.h.Another == nil {
		return rs
	}
	for range 2 {
		r := e.h.Another(e.tb, e.reg)
		if r == nil {
			fail("Another returned no register")
		}
		rs = append(rs, r)
	}
	return rs
}

// rush runs f in n goroutines at the same time, and fails the trial with their errors.
func (e *trial) rush(n int, f func(g int, rng *rand.Rand) error) {
	done := make(chan error, n)
	begin := make(chan struct{})
	for g := range n {
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
	for range n {
		select {
		case err := <-done:
			if err != nil && !slices.ContainsFunc(errs, func(e error) bool { return e.Error() == err.Error() }) {
				errs = append(errs, err)
			}
		case <-late.C:
			fail("concurrent calls hang, or none of them gets anywhere")
		}
	}
	if err := errors.Join(errs...); err != nil {
		fail("%v", err)
	}
}

// surely repeats a call whose answers may get lost.
func (e *trial) surely(r cas.Register, key string) cas.Entry {
	for n := 0; ; n++ {
		got, err := r.Load(e.ctx, key)
		if err == nil {
			return got
		}
		if !e.h.LosesReplies || n == 100 {
			fail("Load: %v", err)
		}
	}
}

// firmly creates an entry, though answers may get lost.
func (e *trial) firmly(key string, value []byte) {
	for range 10 * tries {
		_, err := e.send(e.ctx, e.reg, key, cas.Entry{}, value, long)
		if err != nil && !e.h.LosesReplies {
			fail("a swap: %v", err)
		}
		if same(e.surely(e.reg, key).Value, value) {
			return
		}
	}
	fail("creating an entry, again and again: it is not there")
}

// history is what became of the swaps of one key.
type history struct {
	mu       sync.Mutex
	sent     map[string]bool   // values
	refused  map[string]bool   // values whose swap did not happen
	replaced map[string]string // values, by the value that an acknowledged swap replaced them by
	seen     map[string]bool   // what was found
}

// newHistory begins with an entry.
func newHistory(is cas.Entry) *history {
	return &history{
		sent: map[string]bool{string(is.Value): true}, refused: map[string]bool{}, replaced: map[string]string{}, seen: map[string]bool{},
	}
}

// load reads what is there now, though answers may get lost.
func (h *history) load(e *trial, r cas.Register, key string) cas.Entry {
	is := e.surely(r, key)
	h.mu.Lock()
	defer h.mu.Unlock()
	if is.Value != nil {
		h.seen[string(is.Value)] = true
	}
	return is
}

// swap sends a swap, and tells whether it happened, may have happened, and what is there then, if that is told.
func (h *history) swap(e *trial, r cas.Register, key string, old cas.Entry, value []byte) (swapped, unknown bool, now *cas.Entry, err error) {
	h.mu.Lock()
	h.sent[string(value)] = true
	h.mu.Unlock()
	res, err := e.send(e.ctx, r, key, old, value, long)
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err != nil && e.h.LosesReplies:
		return false, true, nil, nil
	case err != nil:
		return false, false, nil, fmt.Errorf("a swap: %w", err)
	case res.Swapped:
		if by, ok := h.replaced[string(old.Value)]; ok && old.Value != nil {
			return false, false, nil, fmt.Errorf("two swaps of %s were acknowledged: for %s and for %s", show(old.Value), show([]byte(by)), show(value))
		}
		if old.Value != nil {
			h.replaced[string(old.Value)] = string(value)
		}
		is := after(res, value)
		if value == nil {
			is = cas.Entry{}
		}
		return true, false, &is, nil
	}
	if value != nil {
		h.refused[string(value)] = true
	}
	if !res.Found {
		return false, false, nil, nil
	}
	if res.Entry.Value != nil {
		h.seen[string(res.Entry.Value)] = true
	}
	return false, false, &res.Entry, nil
}

// check compares what was seen with what was written.
func (h *history) check(e *trial) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for v := range h.seen {
		e.check(h.sent[v], "what nobody wrote was found: %s", show([]byte(v)))
		e.check(!h.refused[v], "a swap for %s was refused, and yet the value was found", show([]byte(v)))
	}
}

// contend lets a crowd swap the same entry, that each register calls old, and checks that one did.
func (e *trial) contend(key string, rs []cas.Register, olds []cas.Entry, value func(g int) []byte) {
	h := newHistory(olds[0])
	var mu sync.Mutex
	var winners [][]byte
	unsure := false
	e.rush(crowd, func(g int, _ *rand.Rand) error {
		r, old := rs[g%len(rs)], olds[g%len(rs)]
		for range tries {
			v := value(g)
			swapped, unknown, _, err := h.swap(e, r, key, old, v)
			if err != nil {
				return err
			}
			mu.Lock()
			if unsure = unsure || unknown; swapped {
				winners = append(winners, v)
			}
			mu.Unlock()
			// It may be declined, but not always, while the entry is still there.
			if swapped || unknown || !same(h.load(e, r, key).Value, old.Value) {
				return nil
			}
		}
		return fmt.Errorf("%d times a swap was refused, and yet the entry was there", tries)
	})
	is := h.load(e, e.reg, key)
	h.check(e)
	e.check(len(winners) == 1 || unsure && len(winners) == 0, "%d of %d swaps of the same entry were acknowledged", len(winners), crowd)
	if len(winners) == 1 {
		e.check(same(is.Value, winners[0]), "a swap for %s was acknowledged, and %s is there", show(winners[0]), show(is.Value))
	}
}

// warmUp reads the key by each register: one may want to know something of the database before its first swap.
func (e *trial) warmUp(rs []cas.Register, key string) {
	for _, r := range rs {
		e.surely(r, key)
	}
}
