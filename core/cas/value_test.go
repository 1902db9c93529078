package cas

import (
	"bytes"
	"errors"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/algorithm"
)

// What decode accepts is what encode writes, byte by byte; the rest is an error of its own.
func FuzzDecode(f *testing.F) {
	n := nonce{1, 2, 3}
	f.Add([]byte{}, uint8(0))
	f.Add(encode(n, &algorithm.State{At: 1_773_500_966_535_897, Used: 7}), uint8(halt.TokenBucket))
	f.Add(encode(n, &algorithm.State{At: 1 << 40, Used: 7, Window: 1 << 39, Until: 1<<40 + 5}), uint8(halt.FixedWindow))
	f.Add(encode(n, &algorithm.State{At: 1 << 40, Window: 77, Counts: make([]int64, 11)}), uint8(halt.SlidingWindow))
	f.Fuzz(func(t *testing.T, b []byte, a uint8) {
		p := halt.Policy{Name: "p", Algorithm: halt.Algorithm(a % 5), Limit: 3, Window: time.Hour}
		s, err := decode(b, &p)
		if err != nil {
			if !errors.Is(err, halt.ErrCorrupt) || b == nil {
				t.Errorf("%v", err)
			}
			return
		}
		if b == nil {
			return
		}
		if again := encode(nonce(b[1:]), &s); !bytes.Equal(again, b) && len(again) >= len(b) {
			t.Errorf("%x is read as %x", b, again) // a varint may be longer than it had to be, and only that
		}
		if !bears(b, nonce(b[1:])) {
			t.Errorf("%x does not bear its nonce", b)
		}
	})
}

func TestValue(t *testing.T) {
	p := halt.Policy{Name: "p", Limit: 3, Window: time.Hour}
	s := algorithm.State{At: 5, Used: 7}
	var n nonces
	n.start()
	one, two := n.next(), n.next()
	b := encode(one, &s)
	if got, err := decode(b, &p); err != nil || !reflect.DeepEqual(got, s) {
		t.Errorf("%+v, %v", got, err)
	}
	if !bears(b, one) || bears(b, two) || bears(nil, one) || bears(b[:10], one) {
		t.Error("a nonce is not recognised, or a wrong one is")
	}
	if got, err := decode(nil, &p); err != nil || !reflect.DeepEqual(got, algorithm.State{}) {
		t.Errorf("nothing: %+v, %v", got, err)
	}
	var other nonces
	other.start()
	if other.next() == one {
		t.Error("two stores give the same nonces")
	}
}

// A memory is bounded, and forgets first what was not used.
func TestMemory(t *testing.T) {
	var m memory
	m.start(100)
	e := Entry{Value: []byte("v")}
	m.put("used", e, 10)
	for i := range 1000 {
		m.put(strconv.Itoa(i), e, 10)
		if m.get("used", 9).Value == nil {
			t.Fatalf("what is used is forgotten after %d others", i)
		}
		if n := len(m.young) + len(m.old); n > 100 {
			t.Fatalf("it has %d entries", n)
		}
	}
	if m.get("0", 9).Value != nil || m.get("999", 9).Value == nil {
		t.Error("it remembers the wrong entries")
	}
	if m.get("used", 10).Value != nil {
		t.Error("it tells of what the register may have forgotten")
	}
	m.put("used", Entry{}, 10)
	m.put(strings.Repeat("k", longestRemembered+1), e, 10)
	m.forget("999")
	for _, key := range []string{"used", "999", strings.Repeat("k", longestRemembered+1)} {
		if m.get(key, 9).Value != nil {
			t.Errorf("it remembers %.9s", key)
		}
	}
}

// What an entry takes is as documented, however long its key is and however large its state.
func TestMemorySize(t *testing.T) {
	const entries, most = 1 << 14, 1300
	s := algorithm.State{At: 1 << 51, Used: 1 << 51, Window: 1 << 51, Until: 1 << 51, Counts: make([]int64, 61)}
	for i := range s.Counts {
		s.Counts[i] = 1 << 46
	}
	for _, length := range []int{longestRemembered, 1 << 10} {
		m := new(memory)
		m.start(entries)
		before := heap()
		for i := range entries {
			key := strconv.Itoa(entries + i)
			m.put(key+strings.Repeat("k", length-len(key)), Entry{Value: encode(nonce{}, &s)}, 10)
		}
		each := (heap() - before) / entries
		t.Logf("an entry with a key of %d bytes takes %d", length, each)
		if each > most {
			t.Errorf("an entry with a key of %d bytes takes %d, more than %d", length, each, most)
		}
		runtime.KeepAlive(m)
	}
}

// heap returns how much memory is in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// What is remembered of a budget ends with it.
func TestRememberedUntil(t *testing.T) {
	s, r, clock := made(t)
	c := halt.Policy{Name: "p", Limit: 3, Window: time.Minute}.Charge("k", 3)
	d := take(t, s, c)
	clock.Advance(d.ResetAfter + 2*s.o.Skew)
	r.counts()
	if d := take(t, s, c); !d.Allowed {
		t.Errorf("after its reset: %+v", d)
	}
	if loads, swaps := r.counts(); loads != 0 || swaps != 1 {
		t.Errorf("a budget that the register has forgotten took %d loads and %d swaps", loads, swaps)
	}
}
