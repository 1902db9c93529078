package haltpostgres

import (
	"bytes"
	"encoding/hex"
	"slices"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/algorithm"
	"github.com/halt-dev/halt/core/combine"
)

// entry is a call on its way through a request.
type entry struct {
	charges   []halt.Charge
	decisions []halt.Decision
	keys      []int // of the request, one for each charge

	reset   bool                // it forgets the charges' budgets, and decides nothing
	waits   *combine.Call[bool] // who gets the answer; nil: whoever reads err
	err     error
	resent  bool // it was sent again although it may have run
	clashed bool // it was sent again since its edges were not those of the store's time
	locked  bool // it was sent again by itself, since a row was locked
}

// answer gives the caller its decisions, or the error.
func (e *entry) answer(err error) {
	e.err = err
	if e.waits != nil {
		e.waits.Answer(err)
		e.waits = nil
	}
}

// repeatable tells whether the call may run twice: it holds neither a Debit nor a Credit.
func (e *entry) repeatable() bool {
	return !slices.ContainsFunc(e.charges, func(c halt.Charge) bool { return c.Mode == halt.Debit || c.Mode == halt.Credit })
}

// request is the calls that one run of a function decides, or forgets the budgets of: either all are Resets or none is. All of
// its memory is used again.
type request struct {
	number  uint64 // of the requests that were made with this memory
	entries []*entry

	policies []policy // of this request and of earlier ones: what is known of them is worth keeping
	recent   int      // the policy that came last
	count    int      // of policies in this request

	keys   []key
	index  map[budget]int
	order  []int // the keys, sorted
	names  []byte
	counts []int64

	text    []byte
	states  []algorithm.State // of a call of several
	changed []bool
}

// budget is what a row's key is made of.
type budget struct{ key, policy string }

// key is one of a request's keys, with the state that its row had.
type key struct {
	from, to int // in names
	rank     int // among the sorted ones
	budget   budget
	policy   int // one that came with it: it tells the shape of the row
	mark     byte
	state    algorithm.State
}

const maxPolicies = 64 // whose memory is kept

func newRequest() *request { return &request{index: make(map[budget]int)} }

// build makes the request one of the entries.
func (r *request) build(entries []*entry) {
	r.reset()
	for _, e := range entries {
		r.entries = append(r.entries, e)
		e.keys = e.keys[:0]
		for i := range e.charges {
			c := &e.charges[i]
			p := r.policy(&c.Policy)
			e.keys = append(e.keys, r.key(c, p))
		}
	}
	r.order = r.order[:0]
	for i := range r.keys {
		r.order = append(r.order, i)
	}
	slices.SortFunc(r.order, func(a, b int) int { return bytes.Compare(r.name(a), r.name(b)) })
	for rank, i := range r.order {
		r.keys[i].rank = rank
	}
}

// reset empties the request.
func (r *request) reset() {
	r.number++
	clear(r.entries)
	clear(r.index)
	clear(r.keys)
	r.entries, r.keys, r.names, r.count = r.entries[:0], r.keys[:0], r.names[:0], 0
	if len(r.policies) > maxPolicies {
		clear(r.policies)
		r.policies = r.policies[:0]
	}
	const large = 1 << 18 // a rare size, which is not kept
	if cap(r.text) > large {
		r.text = nil
	}
}

// policy returns where p is among the policies, and makes it one of the request's.
func (r *request) policy(p *halt.Policy) int {
	at := r.recent
	if at >= len(r.policies) || r.policies[at].Policy != *p {
		at = slices.IndexFunc(r.policies, func(q policy) bool { return q.Policy == *p })
	}
	if at < 0 {
		at = len(r.policies)
		r.policies = append(r.policies, newPolicy(p))
	}
	if i := &r.policies[at]; i.request != r.number {
		i.request, i.index = r.number, r.count
		r.count++
	}
	r.recent = at
	return at
}

// key returns which of the request's keys the charge draws on.
func (r *request) key(c *halt.Charge, p int) int {
	b := budget{key: c.Key, policy: r.policies[p].identity(c.OnShadow())}
	if n := len(r.keys); n > 0 && r.keys[n-1].budget == b {
		return n - 1
	}
	if k, ok := r.index[b]; ok {
		return k
	}
	k := len(r.keys)
	r.index[b] = k
	from := len(r.names)
	r.names = appendKey(r.names, b.key, b.policy)
	r.keys = append(r.keys, key{from: from, to: len(r.names), budget: b, policy: p})
	return k
}

func (r *request) name(k int) []byte { return r.names[r.keys[k].from:r.keys[k].to] }

// The arguments are texts that PostgreSQL turns into arrays, which any mode of the protocol carries alike.

// keysText returns the keys as an array of bytea.
func (r *request) keysText() string {
	b := append(r.text[:0], '{')
	for _, k := range r.order {
		b = append(b, `"\\x`...)
		b = hex.AppendEncode(b, r.name(k))
		b = append(b, '"', ',')
	}
	return r.closed(b)
}

// policiesText returns the policies, in the order of their numbers.
func (r *request) policiesText(now halt.Instant) string {
	b := append(r.text[:0], '{')
	for index := range r.count {
		b = r.numbered(index).append(b, now)
	}
	return r.closed(b)
}

// callsText returns the charges of all calls. Calls of the same single charge that come in a row are one, which costs the
// function next to nothing.
func (r *request) callsText() string {
	b := append(r.text[:0], '{')
	for i := 0; i < len(r.entries); {
		e, many := r.entries[i], 1
		for i+many < len(r.entries) && e.same(r.entries[i+many]) {
			many++
		}
		i += many
		for j := range e.charges {
			c := &e.charges[j]
			p := &r.policies[r.policy(&c.Policy)]
			b = appendNumber(b, int64(r.keys[e.keys[j]].rank)+1) // SQL counts from 1
			b = appendNumber(b, int64(p.index*policyNumbers))
			b = appendNumber(b, int64(c.Mode))
			b = appendNumber(b, int64(len(e.charges)-1-j))
			b = appendNumber(b, int64(many))
			b = appendNumber(b, c.Cost)
			if c.Mode == halt.Credit {
				b = appendNumber(b, int64(c.At)/p.numbers.Tick)
				b = appendNumber(b, c.Taken)
			} else {
				b = append(b, "0,0,"...)
			}
		}
	}
	return r.closed(b)
}

// same tells whether the calls are the same single charge, and neither a Debit nor a Credit.
func (e *entry) same(f *entry) bool {
	return len(e.charges) == 1 && len(f.charges) == 1 && e.keys[0] == f.keys[0] && e.charges[0].Mode <= halt.Shadow &&
		e.charges[0].Mode == f.charges[0].Mode && e.charges[0].Cost == f.charges[0].Cost && e.charges[0].Policy == f.charges[0].Policy
}

// closed ends the text of an array, whose last element has a comma after it, and keeps its memory.
func (r *request) closed(b []byte) string {
	b[len(b)-1] = '}'
	r.text = b
	return string(b)
}

// numbered returns the request's policy of that number.
func (r *request) numbered(index int) *policy {
	for i := range r.policies {
		if p := &r.policies[i]; p.request == r.number && p.index == index {
			return p
		}
	}
	return nil // there is one for every number below count
}
