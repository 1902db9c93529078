package memory

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/algorithm"
)

// tablePolicies are one of each size of record: none, and of several words.
var tablePolicies = []halt.Policy{
	{Algorithm: halt.TokenBucket},
	{Algorithm: halt.FixedWindow},
	{Algorithm: halt.SlidingWindow, Precision: 1},
	{Algorithm: halt.SlidingWindow, Precision: 7},
	{Algorithm: halt.InFlight, Precision: 60},
}

// kept is an entry of the model: what a table should hold for a fingerprint.
type kept struct {
	policy *halt.Policy
	reset  int64
	state  algorithm.State
}

// machine plays operations to a table and to a map, and compares the two.
type machine struct {
	t *testing.T
	table
	model map[uint64]kept
}

func newMachine(t *testing.T) *machine {
	m := &machine{t: t, model: map[uint64]kept{}}
	m.init()
	return m
}

// put saves a state made from n, of a key whose policy its fingerprint tells.
func (m *machine) put(fp uint64, n int64, blocked bool) {
	p := &tablePolicies[fp%uint64(len(tablePolicies))]
	k := kept{policy: p, reset: n%1000 + 1}
	counts := countsOf(p)
	for i := range counts {
		k.state.Counts = append(k.state.Counts, n+int64(i))
	}
	switch {
	case counts > 0:
		k.state.Window = n
	case p.Algorithm == halt.FixedWindow:
		k.state.At, k.state.Window, k.state.Used = n, n, n+1
	default:
		k.state.At, k.state.Used = n, n+1
	}
	if blocked {
		k.state.Until = n + 2
	}
	st := k.state
	i, found := m.find(fp)
	if _, want := m.model[fp]; found != want {
		m.t.Fatalf("%x: found %v, want %v", fp, found, want)
	}
	var s *slot
	if found {
		s = &m.slots[i]
		var old algorithm.State
		if m.load(&old, s, p, counts); counts > 0 && n%2 == 0 { // changed in place, as Decide does
			copy(old.Counts, st.Counts)
			st.Counts = old.Counts
		}
	} else {
		s = m.insert(fp, k.reset<<2)
	}
	m.save(s, &st, p, counts, k.reset)
	m.model[fp] = k
}

func (m *machine) removeFP(fp uint64) {
	i, found := m.find(fp)
	if _, want := m.model[fp]; found != want {
		m.t.Fatalf("%x: found %v, want %v", fp, found, want)
	}
	if found {
		m.remove(i)
		delete(m.model, fp)
	}
}

// sweepTo sweeps, and checks that only what is expired left, or else the one that had to.
func (m *machine) sweepTo(now int64, n int, makeRoom bool) {
	before := len(m.model)
	removed := m.sweep(now, n, makeRoom)
	gone := 0
	for fp, k := range m.model {
		if _, found := m.find(fp); !found {
			if k.reset > now && (!makeRoom || removed != 1) {
				m.t.Fatalf("%x left at %d, before its reset at %d", fp, now, k.reset)
			}
			delete(m.model, fp)
			gone++
		}
	}
	if gone != removed || makeRoom && before > 0 && removed == 0 || removed > max(n, 1) {
		m.t.Fatalf("%d are gone and %d counted of %d", gone, removed, before)
	}
}

// check compares everything.
func (m *machine) check() {
	t := m.t
	t.Helper()
	if m.n != len(m.model) {
		t.Fatalf("%d entries, want %d", m.n, len(m.model))
	}
	if s := m.slots[len(m.slots)-1]; s != (slot{}) {
		t.Fatal("the last slot is taken")
	}
	for i := range m.slots {
		s := &m.slots[i]
		if s.reset == 0 {
			if *s != (slot{}) {
				t.Fatal("a free slot isn't empty")
			}
			continue
		}
		for j := m.home(s.fp); j < i; j++ {
			if m.slots[j].reset == 0 || m.slots[j].fp >= s.fp {
				t.Fatal("a slot is out of order")
			}
		}
		if s.recorded() && m.owner(s.b) != s.fp {
			t.Fatal("a record is another's")
		}
	}
	recorded := 0
	for fp, want := range m.model {
		i, found := m.find(fp)
		if !found {
			t.Fatalf("%x is lost", fp)
		}
		s := &m.slots[i]
		var got algorithm.State
		m.load(&got, s, want.policy, countsOf(want.policy))
		if string(got.Append(nil)) != string(want.state.Append(nil)) || s.expired(want.reset-1) || !s.expired(want.reset) {
			t.Fatalf("%x: %+v until %d, want %+v", fp, got, s.reset>>2, want)
		}
		if s.recorded() {
			recorded++
		}
	}
	for i := range m.piles {
		recorded -= m.piles[i].n
		if pages, used := len(m.piles[i].pages), (m.piles[i].n+m.piles[i].perPage-1)/m.piles[i].perPage; pages > used+1 {
			t.Fatalf("%d pages where %d would do", pages, used)
		}
	}
	if recorded != 0 {
		t.Fatalf("%d records too few", recorded)
	}
}

// do plays one operation, as coded in the bytes.
func (m *machine) do(op byte, fp uint64, n int64) {
	switch {
	case op < 150:
		m.put(fp, n, op%3 == 0)
	case op < 235:
		m.removeFP(fp)
	default:
		m.sweepTo(n%1000, int(op%16)+1, op%4 == 0)
	}
}

func TestTableEqualsMap(t *testing.T) {
	for name, fp := range map[string]func(*rand.Rand) uint64{
		"random":    func(r *rand.Rand) uint64 { return r.Uint64() >> 54 * 0x9e3779b97f4a7c15 },
		"many":      func(r *rand.Rand) uint64 { return r.Uint64() >> 50 * 0x9e3779b97f4a7c15 },
		"the first": func(r *rand.Rand) uint64 { return r.Uint64N(100) },
		"the last":  func(r *rand.Rand) uint64 { return -r.Uint64N(100) },
		"clusters":  func(r *rand.Rand) uint64 { return r.Uint64N(4)<<62 + r.Uint64N(40) - 20 },
	} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(5, 6))
			m := newMachine(t)
			for range 30 {
				grow := r.IntN(2) == 0
				for range 300 {
					op := byte(r.UintN(256))
					if grow {
						op %= 180
					}
					m.do(op, fp(r), r.Int64N(1<<50))
				}
				m.check()
			}
			m.sweepTo(1<<50, m.n, false)
			m.check()
		})
	}
}

func FuzzTable(f *testing.F) {
	r := rand.New(rand.NewPCG(7, 8))
	seed := make([]byte, 1100)
	for i := range seed {
		seed[i] = byte(r.UintN(256))
	}
	f.Add(seed)
	f.Add(bytes.Repeat([]byte{0, 255, 255, 9, 9, 0, 255, 254, 3, 3, 160, 255, 255, 0, 0}, 30))
	f.Fuzz(func(t *testing.T, ops []byte) {
		m := newMachine(t)
		for ; len(ops) >= 5; ops = ops[5:] {
			// Both ends of the range and its middle, where runs meet the end and each other.
			at := binary.LittleEndian.Uint16(ops[1:])
			fp := uint64(at&3)<<62 + uint64(at>>2) - 1<<13
			m.do(ops[0], fp, int64(binary.LittleEndian.Uint16(ops[3:])))
		}
		m.check()
	})
}

// Memory follows the entries: a table that grew and was emptied is small again, and records' pages are given back.
func TestTableShrinks(t *testing.T) {
	m := newMachine(t)
	r := rand.New(rand.NewPCG(9, 10))
	for range 20_000 {
		m.put(r.Uint64(), r.Int64N(1<<40), r.IntN(2) == 0)
	}
	m.check()
	for len(m.model) > 0 {
		m.sweepTo(1000, 500, false)
	}
	m.put(1, 1, false)
	m.check()
	words := 0
	for _, p := range m.pages {
		words += len(p.words)
	}
	for range 50 {
		m.sweepTo(0, 1, false)
	}
	if len(m.slots) > 100 || words > 2*len(m.piles)*pageWords {
		t.Errorf("%d slots and %d words of records for one entry", len(m.slots), words)
	}
}

// A key whose fingerprint is another's meets that key's numbers, or none where they can't be its own. Nothing panics, and the table
// stays sound.
func TestCollisionOfShapes(t *testing.T) {
	now := halt.InstantOf(time.Now())
	for i := range tablePolicies {
		for j := range tablePolicies {
			for _, blocked := range []bool{false, true} {
				m := newMachine(t)
				m.put(uint64(i), int64(now), blocked)
				c := tablePolicies[j].Charge("key", 1)
				c.Policy.Limit, c.Policy.Window = 10, time.Second
				counts := countsOf(&c.Policy)
				at, _ := m.find(uint64(i))
				st := algorithm.State{}
				m.load(&st, &m.slots[at], &c.Policy, counts)
				if counts > 0 && st.Counts == nil {
					st.Counts = make([]int64, counts)
				}
				algorithm.Decide(&c, &st, now)
				m.save(&m.slots[at], &st, &c.Policy, counts, int64(now))

				var got algorithm.State
				m.load(&got, &m.slots[at], &c.Policy, counts)
				if len(got.Counts) != counts || got.Until != st.Until {
					t.Errorf("%v over %v: saved %+v, loaded %+v", &tablePolicies[j], &tablePolicies[i], st, got)
				}
			}
		}
	}
}

// Shards don't share cache lines.
func TestShardIsPadded(t *testing.T) {
	if size := unsafe.Sizeof(shard{}); size%128 != 0 && unsafe.Sizeof(size) == 8 {
		t.Errorf("a shard takes %d bytes", size)
	}
}
