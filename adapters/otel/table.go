package haltotel

import (
	"maps"
	"sync"
	"sync/atomic"
)

// table is a map that only grows, up to a bound, and is read without a lock: it is copied for each of its few entries.
// The zero value is an empty table.
type table[K comparable, V any] struct {
	mu sync.Mutex
	m  atomic.Pointer[map[K]*V]
}

// all returns the entries, not to be changed.
func (t *table[K, V]) all() map[K]*V {
	if m := t.m.Load(); m != nil {
		return *m
	}
	return nil
}

// get returns the entry of k, or nil.
func (t *table[K, V]) get(k K) *V { return t.all()[k] }

// full tells whether there are as many entries as most.
func (t *table[K, V]) full(most int) bool { return len(t.all()) >= most }

// add makes an entry of k and returns it: the one that there is, if somebody was faster, nil if the table is full.
func (t *table[K, V]) add(k K, most int, v *V) *V {
	t.mu.Lock()
	defer t.mu.Unlock()
	if there := t.get(k); there != nil {
		return there
	}
	if t.full(most) {
		return nil
	}
	m := maps.Clone(t.all())
	if m == nil {
		m = map[K]*V{}
	}
	m[k] = v
	t.m.Store(&m)
	return v
}
