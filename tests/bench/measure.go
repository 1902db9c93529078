package main

import (
	"math"
	"runtime"
	"slices"
	"sync"
	"time"
)

// A sample is one measurement: the cost of one operation.
type sample struct {
	NS     float64 // wall time; with several workers, that of one operation of all of them together
	Allocs float64
	Bytes  float64 // allocated
}

// A body is what one worker runs: it does operations until they took d, and tells how many it did and how long they took.
// Only the operations count as that time, so a body may prepare things between them.
type body func(worker int, d time.Duration) (ops int64, busy time.Duration)

// measure runs the body on so many workers at once for about d.
func measure(workers int, d time.Duration, run body) sample {
	ops := make([]int64, workers)
	busy := make([]time.Duration, workers)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	if workers == 1 {
		ops[0], busy[0] = run(0, d)
	} else {
		var wg sync.WaitGroup
		start := make(chan struct{})
		for w := range workers {
			wg.Go(func() {
				<-start
				ops[w], busy[w] = run(w, d)
			})
		}
		close(start)
		wg.Wait()
	}
	runtime.ReadMemStats(&after)

	var total int64
	var perNS float64 // throughput
	for w := range workers {
		total += ops[w]
		perNS += float64(ops[w]) / float64(max(busy[w], 1))
	}
	return sample{
		NS:     1 / perNS,
		Allocs: float64(after.Mallocs-before.Mallocs) / float64(total),
		Bytes:  float64(after.TotalAlloc-before.TotalAlloc) / float64(total),
	}
}

// A series is what several passes measured of one thing.
type series []float64

// median is the middle of the series, NaN if it is empty.
func (s series) median() float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	v := slices.Clone(s)
	slices.Sort(v)
	mid := len(v) / 2
	if len(v)%2 == 1 {
		return v[mid]
	}
	return (v[mid-1] + v[mid]) / 2
}

// spread is how far the series strays from its median at most, as a part of it.
func (s series) spread() float64 {
	m := s.median()
	if len(s) == 0 || m == 0 {
		return 0
	}
	return max(slices.Max(s)-m, m-slices.Min(s)) / math.Abs(m)
}

// minus is the series less another, pass by pass.
func (s series) minus(t series) series {
	var d series
	for i := range min(len(s), len(t)) {
		d = append(d, s[i]-t[i])
	}
	return d
}

// rotated is the order of n contenders in a pass: each begins another, so that none always follows the same warm-up.
func rotated(n, pass int) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = (i + pass) % n
	}
	return order
}

// results holds the samples of every contender by scenario, in the order of the passes.
type results map[string]map[string][]sample

func (r results) add(scenario, contender string, s sample) {
	if r[scenario] == nil {
		r[scenario] = map[string][]sample{}
	}
	r[scenario][contender] = append(r[scenario][contender], s)
}

func (r results) of(scenario, contender string, get func(sample) float64) series {
	var s series
	for _, v := range r[scenario][contender] {
		s = append(s, get(v))
	}
	return s
}

func getNS(s sample) float64     { return s.NS }
func getAllocs(s sample) float64 { return s.Allocs }
func getBytes(s sample) float64  { return s.Bytes }
