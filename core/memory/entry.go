package memory

import (
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/algorithm"
)

// A slot is an entry of a table, or free: then all of it is zero.
type slot struct {
	fp uint64 // the fingerprint of the entry's storage key
	// reset is four times the instant, in µs, from which the key is as one never seen; plus 1 if b is the place of a record;
	// plus 2 if the last change left nothing to spend.
	reset int64
	// a and b are the key's state: At and Used of a bucket, Window and Used of a fixed window, Window and a record of the
	// others. While the key is blocked its Used is in a record too. A record holds Counts or Used, then Until if blocked.
	//
	// At can be left out of windows: they need it only where the clock steps back, and it doesn't here.
	a, b int64
}

func (s *slot) expired(now int64) bool { return s.reset>>2 <= now }
func (s *slot) recorded() bool         { return s.reset&1 != 0 }
func (s *slot) spent() bool            { return s.reset&2 != 0 }

// resetOf returns the instant, in µs, from which the decision's key is as one never seen.
func resetOf(d *halt.Decision) int64 { return int64(d.At) + int64(d.ResetAfter/time.Microsecond) }

// countsOf returns how many Counts a state under p has.
func countsOf(p *halt.Policy) int {
	if p.Algorithm == halt.SlidingWindow || p.Algorithm == halt.InFlight {
		return p.SubWindows() + 1
	}
	return 0
}

// load sets st to what the table keeps in s, for a policy of so many counts. Counts are then the table's own: Decide changes
// them in place. What can't be such a policy's state belongs to a key whose fingerprint happens to be the same; it is none.
func (t *table) load(st *algorithm.State, s *slot, p *halt.Policy, counts int) {
	used := s.b
	if s.recorded() {
		r := t.record(s.b)
		n := max(counts, 1)
		if len(r) != n && len(r) != n+1 {
			return
		}
		if len(r) > n {
			st.Until = r[n]
		}
		if counts > 0 {
			st.Counts = r[:n:n]
		} else {
			used = r[0]
		}
	} else if counts > 0 {
		return
	}
	switch {
	case counts > 0:
		st.At, st.Window = 0, s.a
	case p.Algorithm == halt.FixedWindow:
		st.At, st.Window, st.Used = s.a, s.a, used
	default:
		st.At, st.Used = s.a, used
	}
}

// save writes a state that is not as one never seen to the entry at s.
func (t *table) save(s *slot, st *algorithm.State, p *halt.Policy, counts int, reset int64) {
	need := counts
	if st.Until != 0 {
		need = max(counts, 1) + 1
	}
	s.a = st.At
	if p.Algorithm != halt.TokenBucket && p.Algorithm != halt.LeakyBucket {
		s.a = st.Window
	}
	if need == 0 {
		t.discard(s)
		s.reset, s.b = reset<<2, st.Used
		return
	}
	var r []int64
	if s.recorded() {
		r = t.record(s.b)
	}
	place := s.b
	if len(r) != need {
		place = t.add(s.fp, need)
		r = t.record(place)
	}
	switch {
	case counts == 0:
		r[0] = st.Used
	case &r[0] != &st.Counts[0]: // it is new, or they were apart from the start
		copy(r, st.Counts)
	}
	if st.Until != 0 {
		r[need-1] = st.Until
	}
	if place != s.b {
		t.discard(s)
	}
	s.reset, s.b = reset<<2|1, place
}

// discard takes an entry's record away, if it has one.
func (t *table) discard(s *slot) {
	if !s.recorded() {
		return
	}
	if moved, ok := t.cut(s.b); ok {
		i, _ := t.find(moved)
		t.slots[i].b = s.b
	}
}
