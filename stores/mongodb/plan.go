package haltmongo

import (
	"bytes"
	"encoding/binary"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// plan is what a batch sends, in BSON, but for the document's _id and the update's number. Most batches are one run of equal
// Takes, or only look, and are the same again and again: making their BSON anew would be most of the client's work.
type plan struct {
	filter bson.Raw // without _id
	stages stages
}

// stages are an array in BSON.
type stages []byte

// MarshalBSONValue implements bson.ValueMarshaler.
func (s stages) MarshalBSONValue() (kind byte, data []byte, err error) {
	return byte(bson.TypeArray), s, nil
}

// planKey is what the plan of a batch of at most one run, and of nothing else that changes anything, depends on.
type planKey struct {
	shape shape
	edges [4]int64
	run   run
	long  bool
}

// plans keeps plans for the next use. It is safe for concurrent use.
type plans struct {
	mu   sync.Mutex
	kept map[planKey]*plan
}

// mostPlans is how many plans are kept: of 1 to 3 kB each.
const mostPlans = 1000

// spareNonce stands in a plan for the update's number. No number of a policy or charge is as large in a pipeline.
const spareNonce = int64(0x5b1e_93c7_2d86_fa41)

// of returns the filter and the stages of a batch.
func (p *plans) of(b *batch, id documentID, c clock) (bson.Raw, stages, error) {
	made, err := p.plan(b, c)
	if err != nil {
		return nil, nil, err
	}
	filter := made.withID(id)
	update := stages(bytes.Clone(made.stages))
	// Not in the _id, which may hold the spare number's bytes, too: its end is the caller's key.
	setNonce(filter[len(filter)-len(made.filter):], b.nonce)
	setNonce(update, b.nonce)
	return filter, update, nil
}

// plan returns the plan of a batch, one that is kept if it can.
func (p *plans) plan(b *batch, c clock) (*plan, error) {
	if len(b.runs) > 1 || len(b.credits) > 0 || b.debit > 0 || c != serverClock {
		return newPlan(b, c)
	}
	key := planKey{shape: b.shape, edges: b.edges, long: b.long}
	if len(b.runs) == 1 {
		key.run = b.runs[0]
	}
	p.mu.Lock()
	made := p.kept[key]
	p.mu.Unlock()
	if made != nil {
		return made, nil
	}
	made, err := newPlan(b, c)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.kept) >= mostPlans || p.kept == nil { // costs may be anybody's choice
		p.kept = make(map[planKey]*plan)
	}
	p.kept[key] = made
	return made, nil
}

func newPlan(b *batch, c clock) (*plan, error) {
	filter, err := bson.Marshal(b.filter(spareNonce))
	if err != nil {
		return nil, err
	}
	_, update, err := bson.MarshalValue(b.pipeline(c, spareNonce))
	return &plan{filter: filter, stages: update}, err
}

// withID returns the filter with the document's _id before the rest.
func (p *plan) withID(id documentID) bson.Raw {
	const length, kind = 4, 1 // bytes of a document's length, and of an element's type
	v := id.value()
	rest := p.filter[length:]
	size := length + kind + len(fieldID) + 1 + length + 1 + len(v.Data) + len(rest)
	b := binary.LittleEndian.AppendUint32(make([]byte, 0, size), uint32(size))
	b = append(b, byte(bson.TypeBinary))
	b = append(b, fieldID...)
	b = append(b, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(v.Data)))
	b = append(b, v.Subtype)
	b = append(b, v.Data...)
	return append(b, rest...)
}

// setNonce puts the update's number where the spare one is.
func setNonce(b []byte, nonce int64) {
	spare := binary.LittleEndian.AppendUint64(nil, uint64(spareNonce))
	for {
		i := bytes.Index(b, spare)
		if i < 0 {
			return
		}
		binary.LittleEndian.PutUint64(b[i:], uint64(nonce))
		b = b[i+len(spare):]
	}
}
