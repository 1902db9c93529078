package guard

import "unsafe"

// memory is what a pass gives away: keys, and what an adapter puts into a response. The pieces are cut off blocks, no part
// of which is used twice: an allocation for each would cost as much as the decision's arithmetic. Who keeps a piece keeps its
// block, so those of keys, which a store may keep for good, are small.
type memory struct {
	keys, text block
	lines      []string
	used       int // of lines; a number, since a pointer costs more to write
}

const (
	keyBlock  = 64  // three or four keys
	textBlock = 512 // that of twenty requests
	lineBlock = 32  // those of sixteen
)

// Text returns b as a string of its own, as string(b) does at a higher cost. It is meant for what doesn't outlive the
// request by much.
func (p *Pass[R]) Text(b []byte) string { return p.memory.text.string(b, textBlock) }

// Lines returns n empty strings in memory that nobody else has, for the values of a response's fields. To append to them
// allocates.
func (p *Pass[R]) Lines(n int) []string {
	m := &p.memory
	if len(m.lines)-m.used < n {
		m.lines, m.used = make([]string, max(n, lineBlock)), 0
	}
	at := m.used
	m.used += n
	return m.lines[at:m.used:m.used]
}

// block is memory for strings.
type block struct {
	b    []byte
	used int
}

// string returns b as a string, in a block of that size if b is not more than half of one.
func (k *block) string(b []byte, size int) string {
	n := len(b)
	if n == 0 || n > size/2 {
		return string(b)
	}
	if len(k.b)-k.used < n {
		k.b, k.used = make([]byte, size), 0
	}
	at := k.used
	k.used += copy(k.b[at:], b)
	return unsafe.String(&k.b[at], n) // nobody writes these bytes again
}
