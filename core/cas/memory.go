package cas

import (
	"sync"

	halt "github.com/halt-dev/halt/core"
)

// longestRemembered is the longest key that a memory holds, in bytes: its bound is a number of entries, and a caller of the store
// may let its clients choose their keys' length. The longest of a guard's is within it, by the default prefix.
const longestRemembered = 384

// memory is what the entries of some keys were last. It has two generations: when the young one is full it becomes the old
// one, whose entries are forgotten unless they have been used meanwhile.
type memory struct {
	mu         sync.Mutex
	each       int // of either generation
	young, old map[string]remembered
}

type remembered struct {
	entry Entry
	until halt.Instant // from then on the register may have forgotten it
}

func (m *memory) start(most int) {
	m.each = max(most/2, 1)
	m.young = make(map[string]remembered)
}

// get returns what is remembered of key, as a guess; the zero Entry if it is nothing.
func (m *memory) get(key string, now halt.Instant) Entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.young[key]
	if !ok {
		if r, ok = m.old[key]; ok {
			m.keep(key, r)
		}
	}
	if r.until <= now {
		return Entry{}
	}
	return r.entry
}

// put remembers an entry; the zero Entry is forgotten.
func (m *memory) put(key string, e Entry, until halt.Instant) {
	if e.Value == nil || len(key) > longestRemembered {
		m.forget(key)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keep(key, remembered{e, until})
}

func (m *memory) keep(key string, r remembered) {
	if _, ok := m.young[key]; !ok && len(m.young) >= m.each {
		m.old, m.young = m.young, make(map[string]remembered)
	}
	m.young[key] = r
}

func (m *memory) forget(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.young, key)
	delete(m.old, key)
}
