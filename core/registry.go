package halt

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// Registry holds policies by name, and lets them change while they are in use: the next request meets the new one.
// Reading it takes no lock. It is safe for concurrent use.
type Registry struct {
	mu       sync.Mutex // serialises writers
	policies atomic.Pointer[map[string]Policy]
}

// NewRegistry returns a registry of the policies. An invalid policy, or two of one name, is ErrInvalidPolicy.
func NewRegistry(ps ...Policy) (*Registry, error) {
	r := new(Registry)
	m := make(map[string]Policy, len(ps))
	for _, p := range ps {
		if err := p.Validate(); err != nil {
			return nil, err
		}
		if _, dup := m[p.Name]; dup {
			return nil, &InvalidError{Kind: ErrInvalidPolicy, Policy: p.Name, Faults: []Fault{{"Name", "unique in its registry"}}}
		}
		m[p.Name] = p
	}
	r.policies.Store(&m)
	return r, nil
}

// Get returns the policy of that name, or an error that matches ErrUnknownPolicy.
func (r *Registry) Get(name string) (Policy, error) {
	if m := r.policies.Load(); m != nil {
		if p, ok := (*m)[name]; ok {
			return p, nil
		}
	}
	return Policy{}, fmt.Errorf("%w %.80q", ErrUnknownPolicy, name)
}

// Set adds the policy, or replaces the one of its name. An invalid one is ErrInvalidPolicy, and changes nothing.
func (r *Registry) Set(p Policy) error {
	if err := p.Validate(); err != nil {
		return err
	}
	r.change(func(m map[string]Policy) { m[p.Name] = p })
	return nil
}

// Remove takes the policy of that name out; an unknown name does nothing. Rules that resolve it fail from then on, which
// admits unless they fail closed: to refuse everybody, Set a small limit instead.
func (r *Registry) Remove(name string) {
	r.change(func(m map[string]Policy) { delete(m, name) })
}

// Policies returns all policies, sorted by name.
func (r *Registry) Policies() []Policy {
	var ps []Policy
	if m := r.policies.Load(); m != nil {
		for _, name := range slices.Sorted(maps.Keys(*m)) {
			ps = append(ps, (*m)[name])
		}
	}
	return ps
}

func (r *Registry) change(f func(map[string]Policy)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := make(map[string]Policy)
	if old := r.policies.Load(); old != nil {
		maps.Copy(m, *old)
	}
	f(m)
	r.policies.Store(&m)
}
