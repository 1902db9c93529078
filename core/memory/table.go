package memory

import "math/bits"

const (
	// A table that is more than tight/32 full grows by a sixth, so an entry's 32 bytes come to 38 to 45 with what is free.
	// One that is less than loose/32 full shrinks.
	tight, loose = 27, 8
	// least is the capacity of a table's first slots.
	least = 8
	// spill is how many slots follow the last one that anything takes when slots are made, so that the ends of runs fit.
	spill = 8
)

// table maps fingerprints to entries. It is an open-addressing hash table with linear probing that keeps its slots in the
// order of their fingerprints: a search starts where the fingerprint's entry belongs, and a free slot or a larger fingerprint
// ends it; growing is a single pass. So it may be rather full, its memory is near what the entries need, and most searches
// touch one cache line, or two side by side.
//
// Nothing in a table points anywhere, so the garbage collector has nothing to scan but the list of the records' pages. An
// index is valid until the next insert or remove. A table is not safe for concurrent use.
type table struct {
	slots    []slot // the last one is free
	capacity int    // of the slots, those where searches start
	n        int    // entries
	hand     int    // the slot at which the next sweep starts
	records
}

var noSlots [1]slot // of an empty table; free, and never written

func (t *table) init() { t.slots = noSlots[:] }

// home returns where the search for a fingerprint starts. It never falls as the fingerprint rises.
func (t *table) home(fp uint64) int {
	hi, _ := bits.Mul64(fp, uint64(t.capacity))
	return int(hi)
}

// find returns the index of a fingerprint's entry, or else of the slot that it would take.
func (t *table) find(fp uint64) (i int, ok bool) {
	for i = t.home(fp); ; i++ {
		s := &t.slots[i]
		if s.reset == 0 {
			return i, false
		}
		if s.fp >= fp {
			return i, s.fp == fp
		}
	}
}

// insert adds an entry for a fingerprint that the table doesn't hold. It has the reset given, and is to be filled in.
func (t *table) insert(fp uint64, reset int64) *slot {
	if 32*(t.n+1) > tight*t.capacity {
		t.resize(t.larger())
	}
	for {
		i, _ := t.find(fp)
		end := i
		for t.slots[end].reset != 0 {
			end++
		}
		if end+1 == len(t.slots) { // a run has come to the end
			t.resize(t.capacity)
			continue
		}
		copy(t.slots[i+1:end+1], t.slots[i:end])
		t.slots[i] = slot{fp: fp, reset: reset}
		t.n++
		return &t.slots[i]
	}
}

// remove removes the entry at i. The one that followed it may be there then.
func (t *table) remove(i int) {
	t.discard(&t.slots[i])
	end := i + 1
	for t.slots[end].reset != 0 && t.home(t.slots[end].fp) < end {
		end++
	}
	copy(t.slots[i:], t.slots[i+1:end])
	t.slots[end-1] = slot{}
	t.n--
}

// shrink gives back memory that has become too much.
func (t *table) shrink() {
	if 32*t.n < loose*t.capacity && t.capacity > 2*least {
		t.resize(t.capacity / 2)
	}
}

// larger returns the next capacity. Large slots fill the allocator's pages of 8 KiB: it would waste the rest of the last.
func (t *table) larger() int {
	const whole = 8 << 10 / 32
	n := t.capacity + t.capacity/6 + 1
	if n <= 4*whole {
		return max(n, least)
	}
	return max((n+spill)/whole*whole-spill, t.capacity+whole)
}

// resize gives the table new slots.
func (t *table) resize(capacity int) {
	old := t.slots
	t.capacity = capacity
	last := -1
	for i := range old {
		if old[i].reset != 0 {
			last = max(last+1, t.home(old[i].fp))
		}
	}
	t.slots = make([]slot, max(capacity, last+1)+spill)
	t.hand = 0
	next := 0
	for i := range old {
		if old[i].reset != 0 {
			next = max(next, t.home(old[i].fp))
			t.slots[next] = old[i]
			next++
		}
	}
}
