package storetest

import (
	"context"
	"sync"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/algorithm"
)

// Model is the reference [halt.Store]: a map from storage keys to states, a lock, and algorithm.DecideAll. All charges of
// a call are decided at one instant, atomically. It forgets nothing by itself, so it is for tests.
type Model struct {
	clock  func() halt.Instant
	mu     sync.Mutex
	states map[string]algorithm.State
}

// NewModel returns an empty model that reads the time from clock, such as a [Clock]'s Now. A nil clock is the system's.
func NewModel(clock func() halt.Instant) *Model {
	if clock == nil {
		clock = func() halt.Instant { return halt.InstantOf(time.Now()) }
	}
	return &Model{clock: clock, states: make(map[string]algorithm.State)}
}

// Name is how events call the store.
func (m *Model) Name() string { return "model" }

// Take implements [halt.Store]. Its only error is that of an ended ctx, and then nothing was spent.
func (m *Model) Take(ctx context.Context, cs []halt.Charge, ds []halt.Decision) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	keys := make([]string, len(cs))
	states := make([]algorithm.State, len(cs))
	changed := make([]bool, len(cs))
	for i := range cs {
		keys[i] = halt.StorageKey("", cs[i])
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, key := range keys {
		states[i] = m.states[key]
	}
	algorithm.DecideAll(cs, states, m.clock(), ds, changed)
	for i, key := range keys {
		if changed[i] {
			m.states[key] = states[i]
		}
	}
	return nil
}

// One decides a single charge, as a call of its own: what [halt.TakeEach] needs.
func (m *Model) One(ctx context.Context, c halt.Charge) (halt.Decision, error) {
	var d [1]halt.Decision
	err := m.Take(ctx, []halt.Charge{c}, d[:])
	return d[0], err
}

// Reset implements [halt.Store].
func (m *Model) Reset(ctx context.Context, p halt.Policy, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range budgets(p, key) {
		delete(m.states, halt.StorageKey("", c))
	}
	return nil
}

// Forget empties the model: what a store's restart does.
func (m *Model) Forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.states)
}

// Len returns how many budgets have ever been used and not been reset since.
func (m *Model) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.states)
}

// budgets returns a charge on each of the two budgets that key has under p: the real one and its shadow's.
func budgets(p halt.Policy, key string) [2]halt.Charge {
	return [2]halt.Charge{{Policy: p, Key: key}, {Policy: p, Key: key, Mode: halt.Shadow}}
}
