package stats

import (
	"hash/maphash"

	halt "github.com/halt-dev/halt/core"
)

const (
	recentKeys = 128
	batchKeys  = 32
)

// recent is where weights wait on their way to a sketch, with a stripe. A decision on a key that was just seen needs no
// more than an addition, and others take the sketch's lock once in batchKeys. Nothing is lost by it: the sketch gets the
// same weights in fewer pieces.
type recent struct {
	to        *sketch
	cells     [recentKeys]weight
	batch     [batchKeys]weight // on the way out
	n         int               // of the batch
	keys      []shownKey        // of the cells; nil: not kept
	batchKeys []shownKey
}

// weight is some weight of a key. If it is 0, the cell waits for the key's next.
type weight struct {
	hash   uint64
	weight int64
	policy int32
}

func (r *recent) init(to *sketch, keys bool) {
	r.to = to
	if keys {
		r.keys, r.batchKeys = make([]shownKey, recentKeys), make([]shownKey, batchKeys)
	}
}

// hash tells keys from one another, by policy: but for the odds of two 64-bit hashes meeting.
func (c *Collector) hash(p *policyCell, key string) uint64 {
	const golden = 0x9E3779B97F4A7C15
	return maphash.String(c.seed, key) ^ uint64(p.number)*golden
}

// note adds weight to the key of a charge.
func (c *Collector) note(r *recent, p *policyCell, ch *halt.Charge, w int64) {
	hash := c.hash(p, ch.Key)
	cell := &r.cells[hash%recentKeys]
	if cell.hash != hash {
		r.turn(cell, hash%recentKeys)
		cell.hash, cell.policy = hash, p.number
		if r.keys != nil {
			r.keys[hash%recentKeys].set(ch.Key)
		}
	}
	cell.weight = add(cell.weight, w)
}

// turn moves the weight of the i-th cell to the batch.
func (r *recent) turn(cell *weight, i uint64) {
	if cell.weight == 0 {
		return
	}
	r.batch[r.n] = *cell
	if r.keys != nil {
		r.batchKeys[r.n] = r.keys[i]
	}
	cell.weight = 0
	if r.n++; r.n == batchKeys {
		r.send()
	}
}

// send moves the batch to the sketch.
func (r *recent) send() {
	s := r.to
	s.mu.Lock()
	defer s.mu.Unlock()
	var key *shownKey
	for i := range r.batch[:r.n] {
		if r.keys != nil {
			key = &r.batchKeys[i]
		}
		w := &r.batch[i]
		s.add(w.hash, w.weight, w.policy, key)
	}
	r.n = 0
}

// flush moves all weights to the sketch.
func (r *recent) flush() {
	for i := range r.cells {
		r.turn(&r.cells[i], uint64(i))
	}
	r.send()
}
