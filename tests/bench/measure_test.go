package main

import (
	"math"
	"slices"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		s            series
		want, spread float64
	}{
		{series{3}, 3, 0},
		{series{9, 1, 3}, 3, 2},
		{series{4, 1, 2, 3}, 2.5, 0.6},
		{series{-2, -1, -3}, -2, 0.5},
		{series{0, 0}, 0, 0},
	} {
		if got := tt.s.median(); got != tt.want {
			t.Errorf("median of %v = %v, want %v", tt.s, got, tt.want)
		}
		if got := tt.s.spread(); math.Abs(got-tt.spread) > 1e-12 {
			t.Errorf("spread of %v = %v, want %v", tt.s, got, tt.spread)
		}
	}
	if got := (series{}).median(); !math.IsNaN(got) {
		t.Errorf("median of nothing = %v, want NaN", got)
	}
	s := series{9, 1, 3}
	s.median()
	if !slices.Equal(s, series{9, 1, 3}) {
		t.Error("median changed the order of the passes")
	}
}

func TestMinusIsPassByPass(t *testing.T) {
	if got := (series{10, 20, 30}).minus(series{1, 2, 4}); !slices.Equal(got, series{9, 18, 26}) {
		t.Errorf("got %v", got)
	}
}

func TestRotated(t *testing.T) {
	first := map[int]bool{}
	for pass := range 3 {
		order := rotated(3, pass)
		first[order[0]] = true
		slices.Sort(order)
		if !slices.Equal(order, []int{0, 1, 2}) {
			t.Errorf("pass %d: not every contender once: %v", pass, order)
		}
	}
	if len(first) != 3 {
		t.Errorf("in three passes only %d of three contenders came first", len(first))
	}
}

// What measure returns follows from what the body says, not from the wall clock.
func TestMeasure(t *testing.T) {
	one := measure(1, 0, func(int, time.Duration) (int64, time.Duration) { return 1000, 50 * time.Microsecond })
	if one.NS != 50 {
		t.Errorf("1000 operations in 50 µs: %v ns, want 50", one.NS)
	}
	two := measure(2, 0, func(w int, _ time.Duration) (int64, time.Duration) {
		return []int64{1000, 500}[w], 50 * time.Microsecond // 50 ns and 100 ns: 30 a µs together
	})
	if math.Abs(two.NS-1000.0/30) > 1e-9 {
		t.Errorf("two workers: %v ns, want %v", two.NS, 1000.0/30)
	}
	var keep [][]byte
	s := measure(1, 0, func(int, time.Duration) (int64, time.Duration) {
		for range 1000 {
			keep = append(keep[:0], make([]byte, 64))
		}
		return 1000, time.Millisecond
	})
	if n := whole(s.Allocs); n < 1 || n > 1.05 || s.Bytes < 64 || s.Bytes > 70 {
		t.Errorf("one allocation of 64 bytes an operation: measured %v of %v bytes; kept %d", s.Allocs, s.Bytes, len(keep))
	}
}
