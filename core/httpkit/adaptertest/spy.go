package adaptertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// spy is a store that fails for policies whose names begin with "down", and an observer that remembers what the limiter
// was asked: the strings as they came, so that one which aliases a framework's buffer will show.
type spy struct {
	halt.Store
	mu      sync.Mutex
	changed chan struct{} // closed and replaced when something was decided
	seen    []sighting
}

// sighting is a charge as the observer saw it, with a copy made then of what it said.
type sighting struct {
	halt.Charge
	route   string
	allowed bool
	copied  string
}

func (s *sighting) text() string { return strings.Join([]string{s.Policy.Name, s.Key, s.route}, " ") }

func newSpy(s halt.Store) *spy { return &spy{Store: s, changed: make(chan struct{})} }

func (s *spy) Take(ctx context.Context, cs []halt.Charge, ds []halt.Decision) error {
	for i := range cs {
		if strings.HasPrefix(cs[i].Policy.Name, "down") {
			return errors.New(secret + " connection refused")
		}
	}
	return s.Store.Take(ctx, cs, ds)
}

func (s *spy) Start(ctx context.Context, _ *halt.Event) context.Context { return ctx }

func (s *spy) End(_ context.Context, e *halt.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range e.Charges {
		g := sighting{Charge: c, route: e.Route, allowed: e.Err == nil && e.Decisions.Allowed()}
		g.copied = strings.Clone(g.text())
		s.seen = append(s.seen, g)
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// charges returns all that was seen so far.
func (s *spy) charges() ([]sighting, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clip(s.seen), s.changed
}

// await waits until a charge of that mode under the policy was seen n times.
func (s *spy) await(policy string, mode halt.Mode, n int, patience time.Duration) error {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		seen, changed := s.charges()
		found := 0
		for i := range seen {
			if seen[i].Policy.Name == policy && seen[i].Mode == mode {
				found++
			}
		}
		if found >= n {
			return nil
		}
		select {
		case <-changed:
		case <-deadline.C:
			return fmt.Errorf("within %v the store saw %d of %d charges of mode %v under policy %q", patience, found, n, mode, policy)
		}
	}
}
