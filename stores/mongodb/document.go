package haltmongo

import (
	"crypto/sha256"

	"go.mongodb.org/mongo-driver/v2/bson"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/algorithm"
)

// The fields of a document. All numbers are int64; times are in ticks of the policy.
const (
	fieldID      = "_id" // the budget, as binary: keys are any bytes
	fieldAt      = "a"   // the tick of the last change
	fieldUsed    = "u"   // the debt or count; 0 if there are counts
	fieldBlocked = "b"   // for how many ticks from then on the key is blocked
	fieldCounts  = "c"   // of sliding windows and what is in flight, the youngest sub-window first
	fieldExpires = "e"   // a date, from which on the key is as one never seen
	// What the last update leaves for its sender: the number that it was sent with, the time at which it was decided, and the
	// state before, if that changed.
	fieldNonce  = "n"
	fieldTime   = "t"
	fieldBefore = "p"
)

// mostAt is the largest tick of a sound document, as of algorithm.Parse.
const mostAt = int64(1)<<53 - 1

// longestID is how many bytes of a budget's name are its document's _id as they are. Longer names are hashed: a caller who
// makes up long keys must not fill the index.
const longestID = 512

// documentID identifies the document of a budget, and no other has it. The zero value is no document's.
type documentID struct {
	bytes  string // the budget's storage key, or its SHA-256
	hashed bool
}

// newDocumentID returns the id of the document of the budget that the charge draws on.
func newDocumentID(c *halt.Charge) documentID {
	name := halt.StorageKey("", *c)
	if len(name) <= longestID {
		return documentID{bytes: name}
	}
	sum := sha256.Sum256([]byte(name))
	return documentID{bytes: string(sum[:]), hashed: true}
}

// value returns the _id. The subtype of a hash is another, so that no name equals one.
func (id documentID) value() bson.Binary {
	const plain, user = 0x00, 0x80
	b := bson.Binary{Subtype: plain, Data: []byte(id.bytes)}
	if id.hashed {
		b.Subtype = user
	}
	return b
}

// document is what is held of a budget.
type document struct {
	at, used, blocked int64
	counts            []int64
}

// read reads the fields of a document, and tells whether it is sound.
func (d *document) read(raw bson.Raw, p *shape) bool {
	var ok [3]bool
	d.at, ok[0] = number(raw, fieldAt, mostAt)
	d.used, ok[1] = number(raw, fieldUsed, algorithm.Most)
	d.blocked, ok[2] = number(raw, fieldBlocked, p.longestBlock())
	if ok != [3]bool{true, true, true} {
		return false
	}
	d.counts = d.counts[:0]
	if p.Counts == 0 {
		return true
	}
	values, isArray := raw.Lookup(fieldCounts).ArrayOK()
	if !isArray {
		return false
	}
	elements, err := values.Values()
	if err != nil || len(elements) != int(p.Counts) {
		return false
	}
	sum := int64(0)
	for _, e := range elements {
		n, isLong := e.Int64OK()
		if !isLong || n < 0 || n > algorithm.Most {
			return false
		}
		sum += n
		d.counts = append(d.counts, n)
	}
	return sum <= algorithm.Most
}

func number(raw bson.Raw, field string, most int64) (int64, bool) {
	n, ok := raw.Lookup(field).Int64OK()
	return n, ok && n >= 0 && n <= most
}

// state returns the document as the arithmetic has it.
func (d *document) state(p *shape) algorithm.State {
	s := algorithm.State{At: d.at, Used: d.used}
	if d.blocked > 0 {
		s.Until = d.at + d.blocked
	}
	switch p.Kind {
	case algorithm.KindToken, algorithm.KindLeaky: // which have none
	case algorithm.KindFixed:
		s.Window = d.at - d.at%p.Window
	case algorithm.KindPeriod:
		s.Window = int64(p.policy.Period.Edges(halt.Instant(d.at * p.Tick))[1]) / p.Tick
	case algorithm.KindSliding:
		s.Window = d.at / p.Sub
		s.Counts = make([]int64, p.Counts)
		for age := range p.Counts {
			if j := s.Window - age; j >= 0 {
				s.Counts[j%p.Counts] = d.counts[age]
			}
		}
	}
	return s
}

// set makes the document that of a state.
func (d *document) set(s *algorithm.State, p *shape) {
	d.at, d.used, d.blocked = s.At, s.Used, max(0, s.Until-s.At)
	d.counts = d.counts[:0]
	if p.Kind != algorithm.KindSliding {
		return
	}
	for age := range p.Counts {
		n := int64(0)
		if j := s.Window - age; j >= 0 && s.Counts != nil {
			n = s.Counts[j%p.Counts]
		}
		d.counts = append(d.counts, n)
	}
}

// equals tells whether both documents hold the same.
func (d *document) equals(o *document) bool {
	if d.at != o.at || d.used != o.used || d.blocked != o.blocked || len(d.counts) != len(o.counts) {
		return false
	}
	for i := range d.counts {
		if d.counts[i] != o.counts[i] {
			return false
		}
	}
	return true
}
