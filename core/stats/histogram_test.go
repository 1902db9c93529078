package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestBuckets(t *testing.T) {
	last, before := 0, int64(-1)
	for v := int64(0); v >= 0; v += 1 + v/100 {
		b := bucketOf(v)
		if b < last || b > last+1 {
			t.Fatalf("%d is in bucket %d, after bucket %d", v, b, last)
		}
		if b == last+1 && (mostOf(last) < before || mostOf(last) >= v || bucketOf(mostOf(last)) != last) {
			t.Fatalf("%d is in bucket %d, whose largest is %d; %d is in the next", before, last, mostOf(last), v)
		}
		last, before = b, v
		if m := float64(middle(b)); b < len(histogram{})-1 && math.Abs(m-float64(v)) > float64(v)/16+0.5 {
			t.Fatalf("%d is in bucket %d, whose middle is %v", v, b, m)
		}
	}
	if last != buckets-1 || bucketOf(math.MaxInt64) != last || mostOf(last) != math.MaxInt64 {
		t.Errorf("the last bucket of %d is never used, %d is, up to %d", buckets, last, mostOf(last))
	}
	var h histogram
	h.observe(-1)
	h.observe(math.MaxInt64)
	if h[0] != 1 || h[len(h)-1] != 1 {
		t.Error("what is out of range is not counted at the ends")
	}
}

// TestQuantiles compares with exact quantiles.
func TestQuantiles(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for range 200 {
		var h histogram
		ds := make([]time.Duration, 1+r.IntN(3000))
		for i := range ds {
			ds[i] = time.Duration(math.Exp(r.Float64() * 25))
			h[bucketOf(int64(ds[i]))]++
		}
		slices.Sort(ds)
		l := h.latency()
		if l.Measured != int64(len(ds)) {
			t.Fatalf("%d of %d", l.Measured, len(ds))
		}
		for percent, got := range map[int]time.Duration{50: l.P50, 90: l.P90, 99: l.P99, 100: l.Max} {
			want := ds[(len(ds)*percent+99)/100-1]
			if d := (got - want).Abs(); float64(d) > float64(want)/16+0.5 {
				t.Fatalf("the %d. percentile of %d is %v, not %v", percent, len(ds), got, want)
			}
		}
	}
	if l := new(histogram).latency(); l != (Latency{}) {
		t.Errorf("of nothing: %+v", l)
	}
}
