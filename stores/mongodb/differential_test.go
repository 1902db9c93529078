package haltmongo

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/algorithm"
)

// The pipelines against the arithmetic that they repeat: random batches on random states, with limits, costs and clocks up to
// the largest there are, states from the future and from long ago among them. sender.update compares the document that the
// pipeline has written with what the arithmetic comes to; here it is compared with the states before and the decisions, too.
func TestDifferential(t *testing.T) {
	t.Parallel()
	seed, _ := strconv.ParseUint(os.Getenv("HALT_SEED"), 10, 64)
	const batches = 800
	d := &differential{t: t, s: newStore(t, &patient), rng: rand.New(rand.NewPCG(seed, 1))}
	d.s.now = func() halt.Instant { return d.now }
	calls := 0
	for range batches {
		calls += d.batch()
		if t.Failed() {
			break
		}
	}
	t.Logf("%d calls in %d batches, %d of which needed the long form (HALT_SEED=%d)", calls, batches, d.undecided, seed)
	if d.undecided == 0 {
		t.Error("the short form decided all")
	}
}

type differential struct {
	t         *testing.T
	s         *Store
	rng       *rand.Rand
	now       halt.Instant
	keys      int
	undecided int // how often the short form was
}

func pick[T any](rng *rand.Rand, from ...T) T { return from[rng.IntN(len(from))] }

// policy returns a valid policy.
func (d *differential) policy() halt.Policy {
	for {
		p := halt.Policy{
			Name: "p", Algorithm: halt.Algorithm(d.rng.IntN(5)),
			Window: pick(d.rng, time.Millisecond, 977*time.Millisecond, time.Second, time.Minute, time.Hour, 24*time.Hour, 24*time.Hour+time.Second,
				3650*24*time.Hour, time.Duration(1000+d.rng.Int64N(60_000_000))*time.Microsecond),
			Limit: pick(d.rng, 1, 2, 7, 100, 65536, 1<<32, 1<<40, 1<<52-1, 1+d.rng.Int64N(1<<52-1)),
		}
		switch {
		case p.Algorithm >= halt.SlidingWindow:
			p.Precision = pick(d.rng, 0, 1, 3, 10, 59, 60)
		case p.Algorithm <= halt.LeakyBucket:
			p.Burst = pick(d.rng, 0, 1, 5, p.Limit/2+1, 1<<20, 1+d.rng.Int64N(1<<50))
		case d.rng.IntN(2) == 0:
			p.Window = 0
			p.Period = halt.Period{Unit: halt.Unit(1 + d.rng.IntN(5)), Zone: pick(d.rng, "", "America/Sao_Paulo", "Australia/Lord_Howe")}
		}
		p.Block = pick(d.rng, 0, 0, p.Tick(), time.Hour, 3650*24*time.Hour)
		if p.Validate() == nil {
			return p
		}
	}
}

// upTo returns a number from 0 to n, often one of the ends, or small.
func (d *differential) upTo(n int64) int64 {
	return pick(d.rng, 0, n, max(0, n-1), min(n, 1), min(n, 2), n/2, d.rng.Int64N(n+1), min(n, d.rng.Int64N(100)))
}

// state returns a document as it may be met, and may not be there.
func (d *differential) state(h *shape) *document {
	if d.rng.IntN(6) == 0 {
		return nil
	}
	now := int64(d.now) / h.Tick
	span := max(h.Window, h.Ticks(time.Second))
	doc := &document{at: max(0, pick(d.rng, now, now-1, now+1, now-d.rng.Int64N(2*span), now-span, now-span+1, now+d.rng.Int64N(h.ahead()+1), now+h.ahead(),
		now+h.ahead()+1, now+d.rng.Int64N(2*span), 0, d.rng.Int64N(now+1), mostAt))}
	if h.Kind == algorithm.KindSliding {
		doc.at = now - d.rng.Int64N(2*span)
	}
	doc.at = min(max(doc.at, 0), mostAt)
	doc.blocked = min(pick(d.rng, 0, 0, 0, 1, d.rng.Int64N(2*span), h.longestBlock()), h.longestBlock())
	if h.Kind != algorithm.KindSliding {
		doc.used = pick(d.rng, d.upTo(h.full), d.upTo(h.full), algorithm.Most, d.upTo(algorithm.Most))
		return doc
	}
	left := pick(d.rng, h.full, h.full, algorithm.Most)
	for age := range h.Counts {
		n := pick(d.rng, 0, d.upTo(left), left/h.Counts)
		if doc.at/h.Sub < age { // before the epoch
			n = 0
		}
		left -= n
		doc.counts = append(doc.counts, n)
	}
	return doc
}

func (d *differential) charge(p halt.Policy, h *shape) halt.Charge {
	c := p.Charge("k"+strconv.Itoa(d.keys), pick(d.rng, 0, 1, 1, 2, d.upTo(h.Capacity), h.Capacity/3+1, h.Capacity+1, 1<<52, 1<<63-1))
	switch n := d.rng.IntN(12); {
	case n < 7:
	case n < 8:
		c.Mode = halt.Peek
	case n < 9:
		c.Mode = halt.Debit
	default:
		w := max(halt.Instant(h.Window*h.Tick), 1)
		c.Mode, c.Taken = halt.Credit, max(c.Cost, d.upTo(h.Capacity))
		c.At = max(0, pick(d.rng, d.now, d.now-d.now%w, d.now-d.now%w+w, d.now-d.now%w-1, d.now-halt.Instant(d.rng.Int64N(int64(2*w))), d.now-w/2, 0, 1<<53))
	}
	return c
}

// batch decides a batch, and compares. It returns how many calls there were.
func (d *differential) batch() int {
	ctx := context.Background()
	d.keys++
	d.now = halt.Instant(pick(d.rng, 1_773_500_966_535, 0, 1, 59_999, d.rng.Int64N(4_000_000_000_000), 4_102_444_800_000)) * 1000
	p := d.policy()
	h := newShape(&p)
	before := d.state(&h)
	sample := p.Charge("k"+strconv.Itoa(d.keys), 0)
	id := newDocumentID(&sample)
	state := algorithm.State{}
	if before != nil {
		state = before.state(&h)
		raw := bson.D{field(fieldID, id.value()), field(fieldAt, before.at), field(fieldUsed, before.used), field(fieldBlocked, before.blocked)}
		if h.Kind == algorithm.KindSliding {
			raw = append(raw, field(fieldCounts, before.counts))
		}
		if _, err := d.s.collection.InsertOne(ctx, raw); err != nil {
			d.t.Fatal(err)
		}
	}
	b := &batch{shape: h}
	few := d.charge(p, &h)
	for range pick(d.rng, 1, 1, 2, 5, 30) {
		c := d.charge(p, &h)
		if d.rng.IntN(2) == 0 {
			c = few
		}
		b.calls = append(b.calls, &call{Charges: []halt.Charge{c}, Decisions: make([]halt.Decision, 1)})
	}
	b.order(d.now)
	raw, err := d.s.send(ctx, id, b)
	if err != nil {
		d.t.Errorf("%v on %+v\n%+v\n%+v", err, before, p, describe(b))
		return 0
	}
	_, v := b.decide(raw)
	if v == undecided {
		d.undecided++
		b.long = true
		b.nonce++
		if raw, err = d.s.send(ctx, id, b); err != nil {
			d.t.Errorf("%v on %+v\n%+v\n%+v", err, before, p, describe(b))
			return 0
		}
		_, v = b.decide(raw)
	}
	if v != decided {
		d.t.Errorf("verdict %d: %+v, wanted %+v\n%v\non %+v at %d\n%+v\n%s", v, b.after, b.reached, raw, before, d.now, p, describe(b))
		return 0
	}
	for _, w := range b.calls {
		want, _ := algorithm.Decide(&w.Charges[0], &state, d.now)
		round(&want)
		if w.Decisions[0] != want {
			d.t.Errorf("%+v on %+v: %+v, want %+v", w.Charges[0], before, w.Decisions[0], want)
		}
	}
	d.expires(raw, b)
	return len(b.calls)
}

// expires wants the document to stay until its key is as one never seen.
func (d *differential) expires(raw bson.Raw, b *batch) {
	at, ok := raw.Lookup(fieldExpires).DateTimeOK()
	peek := b.shape.policy.Charge("k", 0)
	peek.Mode = halt.Peek
	state := b.after.state(&b.shape)
	p, _ := algorithm.Decide(&peek, &state, d.now)
	_, changed := raw.Lookup(fieldBefore).DocumentOK()
	if end := d.now.Time().Add(p.ResetAfter); changed && (!ok || time.UnixMilli(at).Before(end)) {
		d.t.Errorf("it expires at %v and matters until %v: %v", time.UnixMilli(at), end, raw)
	}
}

func describe(b *batch) string {
	s := ""
	for _, w := range b.calls {
		c := w.Charges[0]
		s += fmt.Sprintf("%s %d (at %d, taken %d)\n", c.Mode, c.Cost, c.At, c.Taken)
	}
	return s + fmt.Sprint(slices.Collect(slices.Values(b.runs)), b.credits)
}
