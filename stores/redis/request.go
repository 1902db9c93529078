package haltredis

import (
	"github.com/redis/go-redis/v9"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/algorithm"
)

// request is the calls that one run of the script decides. All of its memory is used again.
type request struct {
	calls   []*call
	charges []drawn // of the calls, one after the other
	several []int   // the calls of several charges

	policies []policy // of this request and of earlier ones: what is known of them is worth keeping
	recent   int      // the policy that came last

	keys  []key
	index map[budget]uint16 // of keys, if there are several
	names []byte            // the keys, one after the other

	payload arg
	numKeys int
	args    []any

	counts  []int64
	states  []algorithm.State // of a call of several
	changed []bool
}

// drawn is a charge's place in the request.
type drawn struct {
	call   int
	key    uint16
	policy int
	next   int // the next that is all of its call, on the same key; 0: there is none
}

// budget is what a key of Redis is made of.
type budget struct{ key, policy string }

// key is one of a request's keys, with the state that it had.
type key struct {
	arg         arg
	end         int // where it ends in names
	budget      budget
	policy      int  // one that came with it: it tells the shape of the value
	first, last int  // charges, plus 1, that are all of their calls: next leads from one to the other
	shared      bool // a call of several charges draws on it
	mark        byte
	state       algorithm.State
}

const maxPolicies = 64 // whose memory is kept

func newRequest() *request { return &request{index: make(map[budget]uint16)} }

// reset empties the request.
func (r *request) reset() {
	clear(r.calls)
	if len(r.keys) > 1 {
		clear(r.index)
	}
	clear(r.keys)
	r.calls, r.charges, r.several, r.keys, r.names = r.calls[:0], r.charges[:0], r.several[:0], r.keys[:0], r.names[:0]
	if len(r.policies) > maxPolicies {
		clear(r.policies)
		r.policies = r.policies[:0]
	}
	const large = 1 << 16 // a rare size, which is not kept
	if cap(r.names) > large {
		r.names = nil
	}
}

// add adds a call.
func (r *request) add(s *Store, w *call) {
	at := len(r.calls)
	r.calls = append(r.calls, w)
	if len(w.Charges) > 1 {
		r.several = append(r.several, len(r.charges))
	}
	for i := range w.Charges {
		c := &w.Charges[i]
		p := r.policy(&c.Policy)
		k := r.key(s, c, p)
		r.charges = append(r.charges, drawn{call: at, key: k, policy: p})
		on, n := &r.keys[k], len(r.charges)
		switch {
		case len(w.Charges) > 1:
			on.shared = true
			continue
		case on.first == 0:
			on.first = n
		default:
			r.charges[on.last-1].next = n
		}
		on.last = n
	}
}

// policy returns where p is among the policies, to which it is added.
func (r *request) policy(p *halt.Policy) int {
	at := -1
	if r.recent < len(r.policies) && r.policies[r.recent].Policy == *p {
		at = r.recent
	} else {
		for i := range r.policies {
			if r.policies[i].Policy == *p {
				at = i
				break
			}
		}
	}
	if at < 0 {
		at = len(r.policies)
		r.policies = append(r.policies, newPolicy(p))
	}
	r.recent = at
	return at
}

// key returns which of the request's keys the charge draws on.
func (r *request) key(s *Store, c *halt.Charge, p int) uint16 {
	b := budget{key: c.Key, policy: r.policies[p].identity(c.OnShadow())}
	if n := len(r.keys); n > 0 && r.keys[n-1].budget == b {
		return uint16(n - 1)
	}
	k := uint16(len(r.keys))
	switch k {
	case 0:
	case 1:
		r.index[r.keys[0].budget] = 0
		fallthrough
	default:
		if k, ok := r.index[b]; ok {
			return k
		}
		r.index[b] = k
	}
	r.names = s.appendKey(r.names, b.key, b.policy)
	r.keys = append(r.keys, key{end: len(r.names), budget: b, policy: p})
	return k
}

// command returns the command that runs the request at a server: by the script's name, or by its text.
func (r *request) command(s *Store, byText bool) once {
	r.write(s.clock.Now)
	r.args = r.args[:0]
	if byText {
		r.args = append(r.args, "eval", &s.script.source)
	} else {
		r.args = append(r.args, "evalsha", &s.script.sha)
	}
	r.numKeys = len(r.keys)
	r.args = append(r.args, &r.numKeys)
	from := 0
	for i := range r.keys {
		k := &r.keys[i]
		k.arg = r.names[from:k.end]
		from = k.end
		r.args = append(r.args, &k.arg)
	}
	r.args = append(r.args, &r.payload)
	if s.now != nil {
		r.args = append(r.args, int64(s.now()))
	}
	return once{redis.NewCmd(background, r.args...)}
}
