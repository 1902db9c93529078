package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"time"
)

// A footprint is what a contender holds once it has seen many keys: measured in a process of its own, so that nobody's
// heap is in another's way.
type footprint struct {
	Alloc float64 // bytes per key of live heap objects, what the keys themselves keep alive included
	Inuse float64 // bytes per key of the heap's spans in use
	GC    float64 // ms that one runtime.GC takes above that of the empty heap
}

// weigh fills a contender with so many keys. It runs in the child.
func weigh(d decider, keys int) (footprint, error) {
	empty := collect()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)

	t, closer := d.New(ruleOnce, keys)
	defer closer()
	for i := range keys {
		if !t(key(i)) { // a string of its own, as a request's: whoever keeps it pays for it
			return footprint{}, fmt.Errorf("%s: refused the first request of key %d", d.Name, i)
		}
	}

	full := collect()
	runtime.ReadMemStats(&after)
	f := footprint{
		Alloc: perKey(before.HeapAlloc, after.HeapAlloc, keys),
		Inuse: perKey(before.HeapInuse, after.HeapInuse, keys),
		GC:    (full - empty).Seconds() * 1000,
	}
	t(key(0)) // alive until here
	if f.Alloc < 8 {
		return f, fmt.Errorf("%s: holds %.1f bytes a key: it has forgotten them", d.Name, f.Alloc)
	}
	return f, nil
}

func perKey(before, after uint64, keys int) float64 {
	return (float64(after) - float64(before)) / float64(keys)
}

// collect is how long one garbage collection takes: the median of eleven, after two that clear away what is dead.
func collect() time.Duration {
	var s series
	for i := range 13 {
		start := time.Now()
		runtime.GC()
		if i >= 2 {
			s = append(s, float64(time.Since(start)))
		}
	}
	return time.Duration(s.median())
}

// child weighs the contender of that name and writes the footprint for the parent.
func child(name string, keys int, out io.Writer) error {
	for _, d := range deciders() {
		if d.Name == name {
			f, err := weigh(d, keys)
			if err != nil {
				return err
			}
			return json.NewEncoder(out).Encode(f)
		}
	}
	return fmt.Errorf("no contender is called %q", name)
}

// weighAll weighs all contenders, interleaved, each in a child of its own.
func weighAll(ds []decider, keys int, o options) (map[string][]footprint, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	all := map[string][]footprint{}
	for pass := range o.passes {
		for _, i := range rotated(len(ds), pass) {
			name := ds[i].Name
			if name == loopName {
				continue
			}
			cmd := exec.Command(self, "-child", name, "-keys", strconv.Itoa(keys))
			cmd.Stderr = os.Stderr
			b, err := cmd.Output()
			if err != nil {
				return nil, fmt.Errorf("weighing %s: %w", name, err)
			}
			var f footprint
			if err := json.Unmarshal(b, &f); err != nil {
				return nil, fmt.Errorf("weighing %s: %w", name, err)
			}
			all[name] = append(all[name], f)
			o.log("pass %d, memory: %s %.0f bytes a key, GC %+.2f ms", pass+1, name, f.Alloc, f.GC)
		}
	}
	return all, nil
}

// footprints is one figure of a contender's footprints as a series.
func footprints(fs []footprint, get func(footprint) float64) series {
	var s series
	for _, f := range fs {
		s = append(s, get(f))
	}
	return s
}
