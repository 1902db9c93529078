package algorithm_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/algorithm"
)

// shapes are one policy for each shape that a state can have.
var shapes = []halt.Policy{
	{Name: "p", Limit: 10, Window: time.Second},
	{Name: "p", Limit: 10, Window: time.Second, Algorithm: halt.SlidingWindow, Precision: 1},
	{Name: "p", Limit: 10, Window: time.Hour, Algorithm: halt.InFlight},
	{Name: "p", Limit: 10, Window: day * 9, Algorithm: halt.SlidingWindow, Precision: 60},
	{Name: "p", Limit: 10, Window: day * 9, Algorithm: halt.FixedWindow},
}

func TestStateRoundTrip(t *testing.T) {
	t.Parallel()
	forAlgorithms(t, func(t *testing.T, a halt.Algorithm) {
		forSeeds(t, 200, func(t *testing.T, rng *rand.Rand) {
			p := anyPolicy(rng, a)
			w := &world{now: epoch}
			w.take(p, 1)
			for range 10 {
				w.wander(rng, p, 2)
				c := halt.Charge{Policy: p, Key: "k", Cost: 1, Mode: halt.Debit}
				decide(&c, w)
				b := w.s.Append([]byte("prefix"))[len("prefix"):]
				got, err := algorithm.Parse(b, &p)
				if err != nil || !reflect.DeepEqual(got, w.s) {
					t.Fatalf("%s: %+v became %+v, %v", describe(&p), w.s, got, err)
				}
				if a == halt.TokenBucket && !w.fork().peek(p, 0).Blocked && len(b) > 25 {
					t.Fatalf("a bucket's state takes %d bytes", len(b))
				}
			}
		})
	})
}

// TestParseState: what is not a state, to the last byte, is an error.
func TestParseState(t *testing.T) {
	t.Parallel()
	for _, p := range shapes {
		w := &world{now: epoch}
		w.take(p, 3)
		good := w.s.Append(nil)
		for n := range good {
			wantCorrupt(t, good[:n], &p)
		}
		wantCorrupt(t, append(bytes.Clone(good), 0), &p)
		wantCorrupt(t, nil, &p)
		wantCorrupt(t, []byte("OK"), &p)
		wantCorrupt(t, []byte(`{"tokens":3}`), &p)
		for i := range good {
			b := bytes.Clone(good)
			b[i] ^= 0xff
			_, _ = algorithm.Parse(b, &p) // never panics
		}
		for _, other := range shapes {
			if want := len(w.s.Counts) != len(stateOf(&other).Counts); want {
				wantCorrupt(t, good, &other)
			}
		}
	}
	p := &shapes[0]
	for _, v := range []uint64{1 << 53, 1<<63 + 1, 1<<64 - 1} {
		for field := range 5 {
			b := []byte{1}
			for i := range 5 {
				if i == field {
					b = binary.AppendUvarint(b, v)
				} else {
					b = append(b, 0)
				}
			}
			wantCorrupt(t, b, p)
		}
	}
	wantCorrupt(t, []byte{1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0, 0, 0, 0}, p)
	// Counts that are each a number and together too many.
	s := stateOf(&shapes[1])
	s.Counts[0], s.Counts[1] = 1<<52, 1<<52
	wantCorrupt(t, s.Append(nil), &shapes[1])
	s = algorithm.State{Used: 1<<52 + 1}
	wantCorrupt(t, s.Append(nil), p)
	// No policy blocks for as long.
	s = algorithm.State{At: int64(epoch), Until: int64(epoch+micros(3650*day)) + 1}
	wantCorrupt(t, s.Append(nil), p)
}

func stateOf(p *halt.Policy) algorithm.State {
	w := &world{now: epoch}
	w.take(*p, 1)
	return w.s
}

func wantCorrupt(t *testing.T, b []byte, p *halt.Policy) {
	t.Helper()
	s, err := algorithm.Parse(b, p)
	if !errors.Is(err, halt.ErrCorrupt) {
		t.Errorf("%s: %x became %+v, %v", p.Algorithm, b, s, err)
	}
}

func FuzzParseState(f *testing.F) {
	for i, p := range shapes {
		s := stateOf(&p)
		f.Add(s.Append(nil), uint8(i))
		f.Add(s.Append(nil)[1:], uint8(i))
	}
	f.Add([]byte{}, uint8(0))
	f.Add([]byte{1, 0, 0, 0, 0, 0}, uint8(0))
	f.Add([]byte("\x01000\xe2\xe2\xe2\xe2\xe2\xe20\v00000000000"), uint8(2)) // blocked for thousands of years
	f.Add([]byte{1, 0x80, 0, 0, 0, 0, 0}, uint8(0))
	f.Add([]byte{1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 0, 0, 0, 0}, uint8(4))
	f.Fuzz(func(t *testing.T, b []byte, shape uint8) {
		p := shapes[int(shape)%len(shapes)]
		s, err := algorithm.Parse(b, &p)
		if err != nil {
			if !errors.Is(err, halt.ErrCorrupt) {
				t.Fatalf("%v does not match ErrCorrupt", err)
			}
			return
		}
		again, err := algorithm.Parse(s.Append(nil), &p)
		if err != nil || !reflect.DeepEqual(s, again) {
			t.Fatalf("%+v became %+v, %v", s, again, err)
		}
		// Whatever was parsed, Decide computes with it, soon, and leaves a state behind.
		for _, now := range []halt.Instant{1, epoch, 1 << 52} {
			w := &world{s: clone(s), now: now}
			for _, m := range []halt.Mode{halt.Peek, halt.Take, halt.Debit, halt.Credit} {
				c := halt.Charge{Policy: p, Key: "k", Cost: 3, Taken: 3, At: now, Mode: m}
				sane(t, &c, w)
			}
		}
	})
}

// sane wants a decision that makes sense, and a state that can be kept.
func sane(t *testing.T, c *halt.Charge, w *world) {
	t.Helper()
	d := decide(c, w)
	if d.Remaining < 0 || d.Remaining > c.Policy.Capacity() || d.ResetAfter < 0 || d.RetryAfter < 0 || d.Delay < 0 || d.At < 0 ||
		d.Allowed != (d.RetryAfter == 0) || d.Blocked && d.Remaining != 0 {
		t.Fatalf("%s of %d under %s: %+v; the state is %+v", c.Mode, c.Cost, describe(&c.Policy), d, w.s)
	}
	if _, err := algorithm.Parse(w.s.Append(nil), &c.Policy); err != nil && !reflect.DeepEqual(w.s, algorithm.State{}) {
		t.Fatalf("%s of %d under %s leaves the state %+v: %v", c.Mode, c.Cost, describe(&c.Policy), w.s, err)
	}
}
