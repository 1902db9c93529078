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

// weight is some weight of a key under a policy. If it is 0, the cell waits for the key's next.
type weight struct {
	id     identity
	weight int64
}

// identity tells keys from one another, by policy: 56 bits of the key's hash, and the number of the policy, which fits into
// the other 8. All that there is of a key fits into two words then, and four of them into a cache line.
type identity uint64

const policyBits = 8 // more than maxPolicies needs

func (c *Collector) identity(p *policyCell, key string) identity {
	return identity(maphash.String(c.seed, key)&^(1<<policyBits-1) | uint64(p.number))
}

// policy is the policy's number.
func (id identity) policy() int { return int(id & (1<<policyBits - 1)) }

// cell is where a stripe counts it: not where it counts the same key under another policy.
func (id identity) cell() int { return int((id + id>>policyBits) % recentKeys) }

func (r *recent) init(to *sketch, keys bool) {
	r.to = to
	if keys {
		r.keys, r.batchKeys = make([]shownKey, recentKeys), make([]shownKey, batchKeys)
	}
}

// note adds weight to the key of a charge.
func (c *Collector) note(r *recent, p *policyCell, ch *halt.Charge, w int64) {
	id := c.identity(p, ch.Key)
	i := id.cell()
	cell := &r.cells[i]
	if cell.id != id {
		r.turn(i)
		cell.id = id
		if r.keys != nil {
			r.keys[i].set(ch.Key)
		}
	}
	cell.weight = add(cell.weight, w)
}

// turn moves the weight of the i-th cell to the batch.
func (r *recent) turn(i int) {
	cell := &r.cells[i]
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
	r.to.mu.Lock()
	defer r.to.mu.Unlock()
	r.to.add(r.batch[:r.n], r.batchKeys)
	r.n = 0
}

// flush moves all weights to the sketch.
func (r *recent) flush() {
	for i := range r.cells {
		r.turn(i)
	}
	r.send()
}
