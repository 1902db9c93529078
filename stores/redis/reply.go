package haltredis

import (
	"encoding/binary"
	"math"
	"slices"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/algorithm"
)

// What the script tells of a key instead of what it held.
const (
	markMissing   = '-'
	markCorrupt   = '?'
	markUncovered = '@'
	markFailed    = '!'
)

// decide makes the decisions of the request's calls from the script's answer: it repeats in integers what the script did,
// from the states that the keys had. The calls that are to be sent again, since the edges of their periods were not those of
// the store's time, are appended to again; all others are answered. An error is about all calls, none of which is answered.
func (r *request) decide(s *Store, answer string, again []*call) ([]*call, error) {
	now, admitted, err := r.read(answer)
	if err != nil {
		return again, err
	}
	s.clock.Learn(now)
	got, whole := int64(0), true
	r.each(func(w *call, charges []drawn) {
		if r.replay(w, charges, now) {
			got++
		}
	})
	for i := range r.keys {
		whole = whole && r.keys[i].mark != markFailed
	}
	if whole && got != admitted {
		return again, errReply("is not the one that follows from the keys")
	}
	charges := r.charges
	for i, w := range r.calls {
		r.calls[i] = nil
		mark := r.worst(charges[:len(w.Charges)])
		charges = charges[len(w.Charges):]
		switch mark {
		case markCorrupt:
			w.Answer(errCorrupt)
		case markFailed:
			w.Answer(errWrite)
		case markUncovered:
			if w.Of.clashed {
				w.Answer(errClock)
			} else {
				w.Of.clashed = true
				again = append(again, w)
			}
		default:
			w.Answer(nil)
		}
	}
	return again, nil
}

// worst returns the mark that decides what becomes of a call of those charges, or 0.
func (r *request) worst(charges []drawn) (mark byte) {
	for i := range charges {
		switch m := r.keys[charges[i].key].mark; m {
		case markCorrupt:
			return m
		case markFailed, markUncovered:
			mark = max(mark, m)
		}
	}
	return mark
}

// replay decides a call on the states of its keys as the calls before it left them, and tells whether it was admitted.
func (r *request) replay(w *call, charges []drawn, now halt.Instant) bool {
	if r.worst(charges) != 0 {
		return false
	}
	if len(charges) == 1 {
		w.Decisions[0], _ = algorithm.Decide(&w.Charges[0], &r.keys[charges[0].key].state, now)
		return w.Decisions[0].Allowed
	}
	r.states, r.changed = r.states[:0], slices.Grow(r.changed[:0], len(charges))[:len(charges)]
	clear(r.changed)
	for i := range charges {
		r.states = append(r.states, r.keys[charges[i].key].state)
	}
	algorithm.DecideAll(w.Charges, r.states, now, w.Decisions, r.changed)
	for i := range charges {
		r.keys[charges[i].key].state = r.states[i]
	}
	return halt.Decisions(w.Decisions).Allowed()
}

// read reads the script's answer into the keys.
func (r *request) read(answer string) (now halt.Instant, admitted int64, err error) {
	at, answer, ok1 := number(answer)
	n, answer, ok2 := number(answer)
	if !ok1 || !ok2 {
		return 0, 0, errReply("is cut off")
	}
	total := 0
	for i := range r.keys {
		total += int(r.policies[r.keys[i].policy].numbers.Counts)
	}
	r.counts = slices.Grow(r.counts[:0], total)[:total]
	clear(r.counts)
	counts := r.counts
	for i := range r.keys {
		k := &r.keys[i]
		p := &r.policies[k.policy]
		own := counts[:p.numbers.Counts:p.numbers.Counts]
		counts = counts[p.numbers.Counts:]
		if answer == "" {
			return 0, 0, errReply("is cut off")
		}
		switch mark := answer[0]; mark {
		case markMissing:
			answer = answer[1:]
			k.state = algorithm.State{Counts: own}
		case markCorrupt, markUncovered, markFailed:
			answer = answer[1:]
			k.mark = mark
		default:
			if answer, ok1 = p.parse(&k.state, answer, own); !ok1 {
				return 0, 0, errReply("holds what is no state")
			}
		}
		if p.numbers.Counts == 0 {
			k.state.Counts = nil
		}
	}
	if answer != "" {
		return 0, 0, errReply("is too long")
	}
	return halt.Instant(at), n, nil
}

// parse cuts a state off the answer: the script has checked it.
func (p *policy) parse(s *algorithm.State, b string, counts []int64) (rest string, ok bool) {
	tag := b[0]
	b = b[1:]
	var lives int64
	var fields [4]*int64
	read := append(fields[:0], &s.At)
	if tag < 'a' {
		read = append(read, &s.Until)
		tag += 'a' - 'A'
	}
	switch {
	case tag == 'b' && p.numbers.Kind <= algorithm.KindLeaky:
		read = append(read, &s.Used, &lives)
	case tag == 'f' && (p.numbers.Kind == algorithm.KindFixed || p.numbers.Kind == algorithm.KindPeriod):
		read = append(read, &s.Used, &s.Window)
	case tag == 's' && p.numbers.Kind == algorithm.KindSliding:
	default:
		return b, false
	}
	for _, f := range read {
		if *f, b, ok = number(b); !ok {
			return b, false
		}
	}
	if p.numbers.Kind != algorithm.KindSliding {
		return b, true
	}
	if len(b) == 0 {
		return b, false
	}
	width := int(b[0])
	b = b[1:]
	if width < 1 || width > 7 || len(b) < width*len(counts) {
		return b, false
	}
	s.Window, s.Counts = s.At/p.numbers.Sub, counts
	size := int64(len(counts))
	for age := range size {
		n := int64(0)
		for i := width - 1; i >= 0; i-- {
			n = n<<8 | int64(b[i])
		}
		b = b[width:]
		if j := s.Window - age; j >= 0 {
			counts[j%size] = n
		}
	}
	return b, true
}

// number cuts a double off b that is an integer from 0 to 2^53.
func number(b string) (n int64, rest string, ok bool) {
	if len(b) < 8 {
		return 0, b, false
	}
	var raw [8]byte
	copy(raw[:], b)
	f := math.Float64frombits(binary.LittleEndian.Uint64(raw[:]))
	if !(f >= 0 && f <= 1<<53 && f == math.Trunc(f)) {
		return 0, b, false
	}
	return int64(f), b[8:], true
}
