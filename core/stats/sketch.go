package stats

import "sync"

const (
	sketchKeys = 2048           // what the error is bounded by
	sketchRoom = 2 * sketchKeys // entries
	tableSize  = 8 * sketchRoom // a power of two; so many that two keys seldom meet
	keyBytes   = 48             // kept of a key
)

// sketch finds the keys of the largest weight in a stream, in fixed memory. It is Space-Saving with weights (Metwally,
// Agrawal, El Abbadi: Efficient Computation of Frequent and Top-k Elements in Data Streams, ICDT 2005), but evicts in
// batches, as in Anderson et al.: A High-Performance Algorithm for Identifying Frequent Items in Data Streams, IMC 2017:
// a newcomer needs no heap, only room, and when there is none the smaller half goes at once.
//
// Nothing that was evicted had a count above the floor, and a newcomer starts from there. So a count is the key's true
// weight or more, by at most the floor of then, the entry's err; and a key that is not held weighs at most the floor.
//
// The floor is at most 9/8 of the stream's weight / sketchKeys: an eviction that raises it by d takes d from the part above
// the floor of each entry that stays, and 8/9 d or more from the largest of those that go (they share a bucket of the
// histogram), more than sketchKeys in all; and what is above the floor in sum is at most the stream's weight.
type sketch struct {
	mu      sync.Mutex
	n       int // entries in use
	floor   int64
	total   int64
	entries [sketchRoom]entry
	table   [tableSize]uint16 // number of an entry + 1, by linear probing
	keys    []shownKey        // by number of an entry; nil: not kept
}

type entry struct {
	id    identity
	count int64
	err   int64
}

// slot is where to look for a key in the table first.
func (id identity) slot() int {
	const golden = 0x9E3779B97F4A7C15
	return int(uint64(id) * golden >> 40 % tableSize)
}

func (s *sketch) init(keys bool) {
	if keys {
		s.keys = make([]shownKey, sketchRoom)
	}
}

// add adds weights of keys. keys are as many, and ignored by a sketch that keeps none.
func (s *sketch) add(ws []weight, keys []shownKey) {
next:
	for i := range ws {
		w := &ws[i]
		s.total = add(s.total, w.weight)
		slot := w.id.slot()
		for ; s.table[slot] != 0; slot = (slot + 1) % tableSize {
			if e := &s.entries[s.table[slot]-1]; e.id == w.id {
				e.count = add(e.count, w.weight)
				continue next
			}
		}
		s.entries[s.n] = entry{id: w.id, count: add(s.floor, w.weight), err: s.floor}
		if s.keys != nil {
			s.keys[s.n] = keys[i]
		}
		s.n++
		s.table[slot] = uint16(s.n)
		if s.n == sketchRoom {
			s.evict()
		}
	}
}

// evict takes out the smaller entries, so that at most sketchKeys remain.
func (s *sketch) evict() {
	// How many entries have what above the floor. Most have about the same, and a counter that is counted up waits for the time
	// before: so there are two.
	var above, others [buckets]uint16
	for i := 0; i < len(s.entries); i += 2 {
		above[bucketOf(s.entries[i].count-s.floor)]++
		others[bucketOf(s.entries[i+1].count-s.floor)]++
	}
	for i, n := range others {
		above[i] += n
	}
	last, kept := len(above), 0
	for kept+int(above[last-1]) <= sketchKeys {
		last--
		kept += int(above[last])
	}
	most := add(s.floor, mostOf(last-1)) // of those that go
	s.n = 0
	s.table = [tableSize]uint16{}
	for i := range s.entries {
		e := &s.entries[i]
		if e.count <= most {
			s.floor = max(s.floor, e.count)
			continue
		}
		s.entries[s.n] = *e
		if s.keys != nil {
			s.keys[s.n] = s.keys[i]
		}
		s.n++
		slot := e.id.slot()
		for s.table[slot] != 0 {
			slot = (slot + 1) % tableSize
		}
		s.table[slot] = uint16(s.n)
	}
}

// shownKey is a key as it is shown, in memory of its own.
type shownKey struct {
	n uint8 // 255: it is longer than what is kept
	b [keyBytes]byte
}

func (k *shownKey) set(key string) {
	n := copy(k.b[:], key)
	k.n = uint8(n)
	if len(key) > n {
		k.n = 255
	}
}

func (k *shownKey) String() string {
	if k.n == 255 {
		return whole(string(k.b[:])) + "…"
	}
	return string(k.b[:k.n])
}
