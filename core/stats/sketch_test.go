package stats

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// streams returns weights by key, in the order in which they come.
func streams(r *rand.Rand) map[string]func(yield func(key uint64, weight int64) bool) {
	const n = 200_000
	zipf := rand.NewZipf(r, 1.1, 1, 1_000_000)
	return map[string]func(func(uint64, int64) bool){
		"zipf": func(yield func(uint64, int64) bool) {
			for range n {
				if !yield(zipf.Uint64(), 1) {
					return
				}
			}
		},
		"weighted": func(yield func(uint64, int64) bool) {
			for range n {
				if !yield(zipf.Uint64(), 1+r.Int64N(1000)) {
					return
				}
			}
		},
		"distinct": func(yield func(uint64, int64) bool) {
			for i := range uint64(n) {
				if !yield(i, 1) {
					return
				}
			}
		},
		"few": func(yield func(uint64, int64) bool) {
			for i := range uint64(n) {
				if !yield(i%sketchKeys, 1+int64(i)) {
					return
				}
			}
		},
		// The worst for an order of eviction: each key comes again just after it was forgotten.
		"round": func(yield func(uint64, int64) bool) {
			for i := range uint64(n) {
				if !yield(i%(sketchRoom+1), 1) {
					return
				}
			}
		},
		"bytes": func(yield func(uint64, int64) bool) { // more keys than fit are far above what a latency can be, and some farther
			for range n {
				if !yield(zipf.Uint64()%(3*sketchKeys), 1<<40+r.Int64N(1<<44)) {
					return
				}
			}
		},
		"huge": func(yield func(uint64, int64) bool) {
			for i := range uint64(3 * sketchRoom) {
				if !yield(i, math.MaxInt64/int64(1+i%7)) {
					return
				}
			}
		},
	}
}

// TestSketchBounds compares the sketch with exact counts: what it promises of every key, held or not.
func TestSketchBounds(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for name, stream := range streams(r) {
		t.Run(name, func(t *testing.T) {
			var s sketch
			s.init(true)
			truth := map[uint64]int64{}
			total := int64(0)
			scramble := func(key uint64) identity { return identity(key * 0x9E3779B97F4A7C15) }
			for key, w := range stream {
				var k shownKey
				k.set(fmt.Sprint(key))
				s.add([]weight{{scramble(key), w}}, []shownKey{k})
				truth[key] = add(truth[key], w)
				total = add(total, w)
			}
			if s.total != total {
				t.Errorf("the total is %d, not %d", s.total, total)
			}
			if bound := total / sketchKeys / 8 * 9; total < math.MaxInt64 && s.floor > bound+9 {
				t.Errorf("a floor of %d is above the bound, %d", s.floor, bound)
			}
			held := map[identity]*entry{}
			for i := range s.entries[:s.n] {
				held[s.entries[i].id] = &s.entries[i]
				if got := s.keys[i].String(); scramble(parse(t, got)) != s.entries[i].id {
					t.Fatalf("entry %d has the key of another, %s", i, got)
				}
			}
			if len(held) != s.n || s.n >= sketchRoom {
				t.Errorf("%d entries of %d keys", s.n, len(held))
			}
			for key, true := range truth {
				e := held[scramble(key)]
				switch {
				case e == nil && true > s.floor:
					t.Fatalf("key %d of %d was forgotten, and the floor is %d", key, true, s.floor)
				case e != nil && (e.count < true || e.count-e.err > true || e.err > s.floor):
					t.Fatalf("key %d of %d: count %d, error %d", key, true, e.count, e.err)
				}
			}
		})
	}
}

func parse(t *testing.T, s string) (n uint64) {
	t.Helper()
	if _, err := fmt.Sscan(s, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestShownKey(t *testing.T) {
	long := "ключ:" + string(make([]byte, 100))
	for _, test := range []struct{ key, want string }{
		{"", ""},
		{"user:42", "user:42"},
		{long[:keyBytes], long[:keyBytes]},
		{long, long[:keyBytes] + "…"},
		{long[:keyBytes-1] + "é", long[:keyBytes-1] + "…"}, // no half a character
	} {
		var k shownKey
		k.set(test.key)
		if got := k.String(); got != test.want {
			t.Errorf("%q is shown as %q, not %q", test.key, got, test.want)
		}
	}
}

// TestRecentLosesNothing sends weights through the cells and batches of several stripes.
func TestRecentLosesNothing(t *testing.T) {
	c := New(nil)
	p := &policyCell{number: 1}
	truth := map[string]int64{}
	for i := range 50_000 {
		key := fmt.Sprint(i * i % 997)
		s := &c.stripes[i%len(c.stripes)]
		c.note(&s.spending, p, charge(key), int64(i))
		truth[key] += int64(i)
	}
	for i := range c.stripes {
		c.stripes[i].spending.flush()
	}
	if c.spending.n != len(truth) {
		t.Errorf("%d keys, not %d", c.spending.n, len(truth))
	}
	for i := range c.spending.entries[:c.spending.n] {
		e := &c.spending.entries[i]
		for key, true := range truth {
			if c.identity(p, key) == e.id && e.count != true {
				t.Errorf("key %s: %d, not %d", key, e.count, true)
			}
		}
	}
}
