package haltpostgres

import (
	"slices"
	"strings"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/algorithm"
)

// What the function tells of a key instead of what its row held.
const (
	markMissing   = '-'
	markCorrupt   = '?'
	markUncovered = '@'
	markLocked    = '~'
)

// decide makes the decisions of the request's calls from the function's answer: it repeats what the function did, from the
// states that the rows had. The calls that are to be sent again are appended to again; all others are answered. An error is
// about all calls, none of which is answered.
func (r *request) decide(s *Store, answer string, again []*entry) ([]*entry, error) {
	now, admitted, ok := r.read(answer)
	if !ok {
		return again, errReply
	}
	s.clock.Learn(now)
	got := int64(0)
	for _, e := range r.entries {
		if r.replay(e, now) {
			got++
		}
	}
	if got != admitted {
		return again, errReply
	}
	return r.answer(again), nil
}

// forget answers the request's Resets from the function's marks, one for each key, as decide does.
func (r *request) forget(marks string, again []*entry) ([]*entry, error) {
	if len(marks) != len(r.order) {
		return again, errReply
	}
	for rank, i := range r.order {
		r.keys[i].mark = marks[rank]
	}
	return r.answer(again), nil
}

// answer answers the calls by the marks of their keys, but for those that are to be sent again, which it appends to again.
func (r *request) answer(again []*entry) []*entry {
	for _, e := range r.entries {
		switch mark := r.worst(e); {
		case mark == markCorrupt:
			e.answer(errCorrupt)
		case mark == markLocked && e.locked:
			e.answer(errLocked)
		case mark == markLocked:
			e.locked = true
			again = append(again, e)
		case mark == markUncovered && e.clashed:
			e.answer(errClock)
		case mark == markUncovered:
			e.clashed = true
			again = append(again, e)
		default:
			e.answer(nil)
		}
	}
	return again
}

// worst returns the mark that decides what becomes of a call, or 0.
func (r *request) worst(e *entry) (mark byte) {
	for _, k := range e.keys {
		switch m := r.keys[k].mark; m {
		case markCorrupt:
			return m
		case markLocked, markUncovered:
			mark = max(mark, m)
		}
	}
	return mark
}

// replay decides a call on the states as the calls before it left them, and tells whether it was admitted.
func (r *request) replay(e *entry, now halt.Instant) bool {
	if r.worst(e) != 0 {
		return false
	}
	if len(e.charges) == 1 {
		d, _ := algorithm.Decide(&e.charges[0], &r.keys[e.keys[0]].state, now)
		e.decisions[0] = d
		return d.Allowed
	}
	r.states, r.changed = r.states[:0], slices.Grow(r.changed[:0], len(e.charges))[:len(e.charges)]
	clear(r.changed)
	for _, k := range e.keys {
		r.states = append(r.states, r.keys[k].state)
	}
	algorithm.DecideAll(e.charges, r.states, now, e.decisions, r.changed)
	for i, k := range e.keys {
		r.keys[k].state = r.states[i]
	}
	return halt.Decisions(e.decisions).Allowed()
}

// read reads the function's answer into the keys: "instant admitted key;key;key", where a key is a mark or the numbers of
// its row, with commas between them.
func (r *request) read(answer string) (now halt.Instant, admitted int64, ok bool) {
	at, rest, found1 := strings.Cut(answer, " ")
	n, rest, found2 := strings.Cut(rest, " ")
	us, ok1 := number(at)
	admitted, ok2 := number(n)
	if !found1 || !found2 || !ok1 || !ok2 {
		return 0, 0, false
	}
	total := 0
	for i := range r.keys {
		total += int(r.policies[r.keys[i].policy].numbers.Counts)
	}
	r.counts = slices.Grow(r.counts[:0], total)[:total]
	clear(r.counts)
	counts := r.counts
	for rank, i := range r.order {
		k := &r.keys[i]
		p := &r.policies[k.policy]
		own := counts[:p.numbers.Counts:p.numbers.Counts]
		counts = counts[p.numbers.Counts:]
		row, after, more := strings.Cut(rest, ";")
		if more != (rank < len(r.order)-1) {
			return 0, 0, false
		}
		rest = after
		if p.numbers.Counts > 0 {
			k.state.Counts = own
		}
		switch row {
		case string(markMissing):
		case string(markCorrupt), string(markUncovered), string(markLocked):
			k.mark = row[0]
		default:
			if !p.parse(&k.state, row) {
				return 0, 0, false
			}
		}
	}
	return halt.Instant(us), admitted, true
}

// parse reads a row, which the function has checked.
func (p *policy) parse(s *algorithm.State, row string) bool {
	for _, to := range [...]*int64{&s.At, &s.Used, &s.Window, &s.Until} {
		if row == "" {
			return false
		}
		var ok bool
		var field string
		field, row, _ = strings.Cut(row, ",")
		if *to, ok = number(field); !ok {
			return false
		}
	}
	for i := range s.Counts {
		var ok bool
		var field string
		field, row, _ = strings.Cut(row, ",")
		if s.Counts[i], ok = number(field); !ok {
			return false
		}
	}
	if p.numbers.Kind == algorithm.KindSliding {
		s.Window = s.At / p.numbers.Sub
	}
	return row == ""
}

// number reads a number from 0 to 2^53.
func number(text string) (n int64, ok bool) {
	if len(text) == 0 || len(text) > 16 {
		return 0, false
	}
	for i := range len(text) {
		c := text[i] - '0'
		if c > 9 {
			return 0, false
		}
		n = n*10 + int64(c)
	}
	return n, n <= 1<<53
}
