package memory

import "math"

const (
	// reclaimed is how many entries an insert looks at for expired ones. At 4 the hand is round after a quarter as many
	// inserts as there are entries.
	reclaimed = 4
	// sampled is how many entries an insert at the bound chooses its victim from.
	sampled = 16
)

// sweep looks at the next n entries, round and round, and removes those that are expired. If there are none and it has to
// make room, it removes the one that is nearest to its reset, of those that are not exhausted if there are any. It returns how many it removed.
func (t *table) sweep(now int64, n int, makeRoom bool) (removed int) {
	victim, nearest := uint64(0), int64(math.MaxInt64)
	for range len(t.slots) + n { // once round, although what is removed keeps the hand where it is
		if t.hand >= len(t.slots) {
			t.hand = 0
		}
		s := &t.slots[t.hand]
		switch {
		case s.reset == 0:
			t.hand++
			continue
		case s.expired(now):
			t.remove(t.hand) // and look at what takes its place
			removed++
		default:
			reset := s.reset
			if s.spent() {
				reset += math.MaxInt64 / 2 // after all others
			}
			if reset < nearest {
				victim, nearest = s.fp, reset
			}
			t.hand++
		}
		if n--; n == 0 {
			break
		}
	}
	if makeRoom && removed == 0 && nearest != math.MaxInt64 {
		i, _ := t.find(victim)
		t.remove(i)
		removed = 1
	}
	t.shrink()
	return removed
}
