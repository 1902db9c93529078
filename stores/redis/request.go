package haltredis

import (
	"encoding/binary"

	"github.com/redis/go-redis/v9"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/algorithm"
)

// request is the calls that one run of the script decides. All of its memory is used again.
type request struct {
	number uint64 // of the requests that were made with this memory
	calls  []*call

	policies []policy // of this request and of earlier ones: what is known of them is worth keeping
	recent   int      // the policy that came last
	count    uint16   // of policies in this request

	keys    []key
	index   map[budget]uint16
	names   []byte // the keys, one after the other
	counts  []int64
	header  []byte
	records []byte
	run     run

	payload arg
	numKeys int
	args    []any
	states  []algorithm.State // of a call of several
	changed []bool
}

// budget is what a key of Redis is made of.
type budget struct{ key, policy string }

// key is one of a request's keys, with the state that it had.
type key struct {
	arg    arg
	end    int // where it ends in names
	budget budget
	policy int // one that came with it: it tells the shape of the value
	mark   byte
	state  algorithm.State
}

// run is the last record, if its call may come again: the same charge, which costs the script next to nothing.
type run struct {
	at     int // where its number stands in records; 0: none
	times  uint16
	key    uint16
	policy uint16
	mode   halt.Mode
	cost   int64
}

const maxPolicies = 64 // whose memory is kept

func newRequest() *request { return &request{index: make(map[budget]uint16)} }

// reset empties the request.
func (r *request) reset() {
	r.number++
	clear(r.calls)
	clear(r.index)
	clear(r.keys)
	r.calls, r.keys, r.names, r.records, r.run, r.count = r.calls[:0], r.keys[:0], r.names[:0], r.records[:0], run{}, 0
	if len(r.policies) > maxPolicies {
		clear(r.policies)
		r.policies = r.policies[:0]
	}
	const large = 1 << 16 // a rare size, which is not kept
	if cap(r.names) > large {
		r.names = nil
	}
}

// add adds a call. What is written of the policies later depends on the time.
func (r *request) add(s *Store, w *call) {
	r.calls = append(r.calls, w)
	if len(w.charges) == 1 {
		w.keys = w.oneKey[:]
		r.addOne(s, w)
		return
	}
	w.manyKeys = w.manyKeys[:0]
	for i := range w.charges {
		c := &w.charges[i]
		p := r.policy(&c.Policy)
		k := r.key(s, c, p)
		w.manyKeys = append(w.manyKeys, k)
		r.record(c, k, r.policies[p].index, len(w.charges)-1-i)
	}
	w.keys = w.manyKeys
	r.run = run{}
}

// addOne adds a call of one charge.
func (r *request) addOne(s *Store, w *call) {
	c := &w.charges[0]
	p := r.policy(&c.Policy)
	k := r.key(s, c, p)
	w.keys[0] = k
	index := r.policies[p].index
	last := &r.run
	if last.at > 0 && last.key == k && last.policy == index && last.mode == c.Mode && last.cost == c.Cost {
		last.times++
		binary.LittleEndian.PutUint16(r.records[last.at:], last.times)
		return
	}
	at := len(r.records) + 7
	r.record(c, k, index, 0)
	r.run = run{}
	if c.Mode <= halt.Shadow {
		r.run = run{at: at, times: 1, key: k, policy: index, mode: c.Mode, cost: c.Cost}
	}
}

// record appends a charge, after which more of its call follow.
func (r *request) record(c *halt.Charge, k, policy uint16, more int) {
	b := binary.LittleEndian.AppendUint16(r.records, k+1) // Lua counts from 1
	b = binary.LittleEndian.AppendUint16(b, policy+1)
	b = append(b, byte(c.Mode))
	b = binary.LittleEndian.AppendUint16(b, uint16(more))
	b = binary.LittleEndian.AppendUint16(b, 1)
	b = appendNumber(b, c.Cost)
	if c.Mode == halt.Credit {
		tick := int64(c.Policy.Tick().Microseconds())
		b = appendNumber(b, int64(c.At)/tick)
		b = appendNumber(b, c.Taken)
	}
	r.records = b
}

// policy returns where p is among the policies, and makes it one of the request's.
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
	if i := &r.policies[at]; i.request != r.number {
		i.request, i.index = r.number, r.count
		r.count++
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
	if k, ok := r.index[b]; ok {
		return k
	}
	k := uint16(len(r.keys))
	r.index[b] = k
	r.names = s.appendKey(r.names, b.key, b.policy)
	r.keys = append(r.keys, key{end: len(r.names), budget: b, policy: p})
	return k
}

// command returns the command that runs the request at a server: by the script's name, or by its text.
func (r *request) command(s *Store, byText bool) once {
	b := binary.LittleEndian.AppendUint64(r.payload[:0], 0)
	copy(b, appendNumber(r.header[:0], int64(s.testClock())))
	b = binary.LittleEndian.AppendUint16(b, r.count)
	now := s.serverNow()
	for index := range r.count { // in the order of their numbers
		b = r.numbered(index).append(b, now)
	}
	r.payload = append(b, r.records...)

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
	return once{redis.NewCmd(background, r.args...)}
}

// numbered returns the request's policy of that number.
func (r *request) numbered(index uint16) *policy {
	for i := range r.policies {
		if p := &r.policies[i]; p.request == r.number && p.index == index {
			return p
		}
	}
	return nil // there is one for every number below count
}
