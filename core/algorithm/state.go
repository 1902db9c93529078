package algorithm

import (
	"encoding/binary"
	"fmt"

	halt "github.com/halt-dev/halt/core"
)

// State is what a store keeps of a key. The zero State is that of a key never seen.
//
// Its numbers are in ticks and units of the policy that it was made under, and never negative. It belongs to one storage
// key: another Algorithm, Window, Period or Precision must not meet it.
type State struct {
	At     int64   // tick of the last change
	Used   int64   // buckets: the debt, in 1/W units; FixedWindow: what was spent in its window
	Window int64   // FixedWindow: the tick at which the window starts; SlidingWindow, InFlight: the newest sub-window
	Until  int64   // tick until which the key is blocked; 0: it is not
	Counts []int64 // SlidingWindow, InFlight: what was spent in each of Precision+1 sub-windows, j's at j modulo their number
}

// version of the binary form, its first byte.
const version = 1

// Append appends the state's binary form to b: the version, At, Used, Window and Until, then the number of Counts and
// each of them, all as unsigned varints (encoding/binary). A bucket's takes about 18 bytes.
func (s *State) Append(b []byte) []byte {
	b = append(b, version)
	for _, v := range [...]int64{s.At, s.Used, s.Window, s.Until, int64(len(s.Counts))} {
		b = binary.AppendUvarint(b, uint64(v))
	}
	for _, v := range s.Counts {
		b = binary.AppendUvarint(b, uint64(v))
	}
	return b
}

// Parse reads a state's binary form as that of a key under p. What is not one, to the last byte, is an error that
// matches halt.ErrCorrupt.
func Parse(b []byte, p *halt.Policy) (State, error) {
	if len(b) == 0 || b[0] != version {
		return State{}, corrupt("no state of version %d", version)
	}
	b = b[1:]
	var v [5]int64
	for i := range v {
		if v[i], b = number(b); v[i] < 0 {
			return State{}, corrupt("field %d is no number below 2^53", i)
		}
	}
	s := State{At: v[0], Used: v[1], Window: v[2], Until: v[3]}
	want := 0
	if p.Algorithm == halt.SlidingWindow || p.Algorithm == halt.InFlight {
		want = p.SubWindows() + 1
	}
	if v[4] != int64(want) {
		return State{}, corrupt("%d counts, not %d", v[4], want)
	}
	if want > 0 {
		s.Counts = make([]int64, want)
	}
	sum := int64(0)
	for i := range s.Counts {
		if s.Counts[i], b = number(b); s.Counts[i] < 0 {
			return State{}, corrupt("count %d is no number below 2^53", i)
		}
		sum += s.Counts[i]
	}
	// No block is longer than a decade; one that seems to be would lock the key.
	if sum > most || s.Used > most || len(b) != 0 || s.Until > s.At+int64(decade/p.Tick()) {
		return State{}, corrupt("more than a state")
	}
	return s, nil
}

// number cuts an unsigned varint below 2^53 off b, or returns -1.
func number(b []byte) (int64, []byte) {
	v, n := binary.Uvarint(b)
	if n <= 0 || v >= 1<<53 {
		return -1, nil
	}
	return int64(v), b[n:]
}

func corrupt(format string, args ...any) error {
	return &halt.StoreError{Kind: halt.ErrCorrupt, Cause: fmt.Errorf("halt: "+format, args...)}
}
