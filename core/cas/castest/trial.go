package castest

import (
	"bytes"
	"context"
	cryptorand "crypto/rand"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/halt-dev/halt/core/cas"
)

const (
	// long is a life that no case outlasts.
	long = 24 * time.Hour
	// tries is how often a swap that is free to happen may be declined.
	tries = 10
)

// trial is one case's go at a register, and what has to be in it.
type trial struct {
	tb      testing.TB
	h       *Harness
	ctx     context.Context
	reg     cas.Register
	several cas.TransactionRegister // reg, if it is one
	rng     *rand.Rand
	prefix  string
	number  atomic.Uint64     // of the last value
	is      map[string][]byte // what is in the register, by key; what has no entry is not there

	// scribbles: slices that the register was given are written over after each call.
	scribbles bool
}

func newTrial(tb testing.TB, h *Harness) *trial {
	tb.Helper()
	seed, _ := strconv.ParseUint(os.Getenv("HALT_SEED"), 10, 64)
	e := &trial{
		tb: tb, h: h, ctx: tb.Context(), reg: h.New(tb), rng: rand.New(rand.NewPCG(seed, 11)),
		prefix: "castest:" + cryptorand.Text()[:16] + ":", is: make(map[string][]byte),
	}
	if e.reg == nil {
		fail("New returned no register")
	}
	e.several, _ = e.reg.(cas.TransactionRegister)
	return e
}

// key returns a key of the trial's own.
func (e *trial) key(name string) string { return e.prefix + name }

// value returns a value that nobody has written. It can be told from the others at its front and at its end.
func (e *trial) value() []byte {
	n := e.number.Add(1)
	v := binary.BigEndian.AppendUint64([]byte{1}, n)
	v = append(v, e.prefix...)
	return binary.BigEndian.AppendUint64(v, n)
}

// same tells whether two values are the same. nil is nothing, and not an empty value.
func same(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }

// given is a slice that a register is given.
type given struct{ slice, was []byte }

// give returns a copy of v for a register.
func give(v []byte) given {
	if v == nil {
		return given{}
	}
	return given{append(make([]byte, 0, len(v)), v...), v}
}

// back looks at the slice after the call.
func (g given) back(e *trial) {
	if !bytes.Equal(g.slice, g.was) {
		fail("a call changed a slice that it was given from %s to %s", show(g.was), show(g.slice))
	}
	if e.scribbles {
		for i := range g.slice {
			g.slice[i] = 0xA5
		}
	}
}

// send calls CompareAndSwap.
func (e *trial) send(ctx context.Context, r cas.Register, key string, old cas.Entry, value []byte, life time.Duration) (cas.Result, error) {
	o, v := give(old.Value), give(value)
	old.Value = o.slice
	res, err := r.CompareAndSwap(ctx, key, old, v.slice, life)
	o.back(e)
	v.back(e)
	return res, err
}

// sendAll calls SwapAll.
func (e *trial) sendAll(ctx context.Context, r cas.TransactionRegister, swaps []cas.Swap) (bool, error) {
	all := make([]cas.Swap, len(swaps))
	slices := make([]given, 0, 2*len(swaps))
	for i, w := range swaps {
		o, v := give(w.Old.Value), give(w.Value)
		w.Old.Value, w.Value = o.slice, v.slice
		all[i] = w
		slices = append(slices, o, v)
	}
	swapped, err := r.SwapAll(ctx, all)
	for i, w := range all {
		if w.Key != swaps[i].Key || w.Life != swaps[i].Life || !same(w.Old.Value, slices[2*i].slice) || !same(w.Value, slices[2*i+1].slice) {
			fail("SwapAll changed the slice of the swaps")
		}
	}
	for _, g := range slices {
		g.back(e)
	}
	if e.scribbles {
		clear(all)
	}
	return swapped, err
}

// after returns the entry that a swap by value made, as a cas.Store knows it.
func after(res cas.Result, value []byte) cas.Entry {
	return cas.Entry{Value: value, Version: res.Entry.Version, Epoch: res.Entry.Epoch}
}

// load reads what is under the key, which has to be what the trial put there.
func (e *trial) load(key string) cas.Entry {
	got, err := e.reg.Load(e.ctx, key)
	if err != nil {
		fail("Load of %s: %v", short(key), err)
	}
	if !same(got.Value, e.is[key]) {
		fail("Load of %s found %s; there should be %s", short(key), show(got.Value), show(e.is[key]))
	}
	return got
}

// put swaps old, which is what is there, for value, and returns the entry then.
func (e *trial) put(key string, old cas.Entry, value []byte, life time.Duration) cas.Entry {
	for range tries {
		res, err := e.send(e.ctx, e.reg, key, old, value, life)
		switch {
		case err != nil:
			fail("a swap of %s, which is there, for %s: %v", show(old.Value), show(value), err)
		case res.Swapped:
			e.is[key] = value
			return after(res, value)
		}
		e.found(key, res)
	}
	fail("%d times a swap of %s, which is there, for %s was refused", tries, show(old.Value), show(value))
	return cas.Entry{}
}

// fresh puts a new value under a key that has nothing.
func (e *trial) fresh(key string) cas.Entry { return e.put(key, cas.Entry{}, e.value(), long) }

// refused tries to swap old, which is not what is there, for value. It returns what was found.
func (e *trial) refused(what, key string, old cas.Entry, value []byte) cas.Result {
	res, err := e.send(e.ctx, e.reg, key, old, value, long)
	switch {
	case err != nil:
		fail("%s: a swap of %s for %s, where %s is: %v", what, show(old.Value), show(value), show(e.is[key]), err)
	case res.Swapped:
		fail("%s: it swapped %s for %s, although %s was there", what, show(old.Value), show(value), show(e.is[key]))
	}
	e.found(key, res)
	e.load(key)
	return res
}

// found checks what a swap that did not happen found.
func (e *trial) found(key string, res cas.Result) {
	if res.Found && !same(res.Entry.Value, e.is[key]) {
		fail("a swap that did not happen found %s in its way, and %s was there", show(res.Entry.Value), show(e.is[key]))
	}
}

// putAll carries out swaps of what is there.
func (e *trial) putAll(swaps ...cas.Swap) {
	for range tries {
		swapped, err := e.sendAll(e.ctx, e.several, swaps)
		if err != nil {
			fail("a SwapAll of what is there: %v", err)
		}
		if swapped {
			for _, w := range swaps {
				e.is[w.Key] = w.Value
			}
			return
		}
	}
	fail("%d times a SwapAll of what is there was refused", tries)
}

// refusedAll tries swaps of which one is not of what is there.
func (e *trial) refusedAll(what string, swaps ...cas.Swap) {
	swapped, err := e.sendAll(e.ctx, e.several, swaps)
	if err != nil {
		fail("%s: a SwapAll of what is no more: %v", what, err)
	}
	for _, w := range swaps {
		got, err := e.reg.Load(e.ctx, w.Key)
		if err != nil {
			fail("Load: %v", err)
		}
		if !same(got.Value, e.is[w.Key]) {
			fail("%s: of a SwapAll with an entry that is no more, this was written: %s in place of %s", what, show(got.Value), show(e.is[w.Key]))
		}
	}
	if swapped {
		fail("%s: SwapAll says that it swapped all, although one entry was another", what)
	}
}

// check fails the trial unless ok.
func (e *trial) check(ok bool, format string, args ...any) {
	if !ok {
		fail(format, args...)
	}
}

// wait blocks for d of the test process's own time.
func wait(d time.Duration) { <-time.After(d) }

func show(v []byte) string {
	switch {
	case v == nil:
		return "nothing"
	case len(v) > 64:
		return fmt.Sprintf("%q... (%d bytes)", v[:24], len(v))
	}
	return fmt.Sprintf("%q", v)
}

func short(key string) string {
	if len(key) > 60 {
		return fmt.Sprintf("%q... (%d bytes)", key[:60], len(key))
	}
	return strconv.Quote(key)
}
