package stats

import (
	"math/bits"
	"time"
)

const (
	fine    = 8               // buckets per doubling: a bucket's bounds are at most 1/8 apart
	octaves = 34              // up to 2^37 ns, over two minutes
	buckets = (60 + 1) * fine // for any int64
)

// histogram counts durations in buckets whose width grows with them.
type histogram [(octaves + 1) * fine]int64

func (h *histogram) observe(d time.Duration) { h[min(bucketOf(int64(d)), len(h)-1)]++ }

// bucketOf returns the bucket of a number: below 8 one each, then 8 per doubling.
func bucketOf(v int64) int {
	n := uint64(max(v, 0))
	if n < fine {
		return int(n)
	}
	octave := bits.Len64(n) - 4 // n >> octave is 8 to 15
	return (octave+1)*fine + int(n>>octave) - fine
}

// mostOf returns the largest number of a bucket.
func mostOf(bucket int) int64 {
	if bucket < fine {
		return int64(bucket)
	}
	return (int64(bucket%fine)+fine+1)<<(bucket/fine-1) - 1
}

// middle returns a duration that is at most 1/16 from all those of a bucket.
func middle(bucket int) time.Duration {
	if bucket < fine {
		return time.Duration(bucket)
	}
	octave := bucket/fine - 1
	return time.Duration(fine+bucket%fine)<<octave + time.Duration(1)<<octave/2
}

func (h *histogram) add(o *histogram) {
	for i, n := range o {
		h[i] += n
	}
}

// latency returns the quantiles.
func (h *histogram) latency() Latency {
	var l Latency
	for _, n := range h {
		l.Measured += n
	}
	if l.Measured == 0 {
		return l
	}
	l.P50, l.P90, l.P99 = h.quantile(l.Measured, 50), h.quantile(l.Measured, 90), h.quantile(l.Measured, 99)
	l.Max = h.quantile(l.Measured, 100)
	return l
}

// quantile returns the smallest duration that percent of all n are at most as long as.
func (h *histogram) quantile(n int64, percent int64) time.Duration {
	rank := (n/100)*percent + (n%100*percent+99)/100
	for i, c := range h {
		if rank -= c; rank <= 0 {
			return middle(i)
		}
	}
	return middle(len(h) - 1)
}
