package castest_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/halt-dev/halt/core/cas"
	"github.com/halt-dev/halt/core/cas/castest"
)

// database is a map with a lock and a clock.
type database struct {
	mu      sync.Mutex
	m       map[string]record
	version uint64
	clock   func() time.Duration
	calls   atomic.Int64
	done    chan struct{} // closed when the test is over
}

type record struct {
	entry cas.Entry
	end   time.Duration
}

// register is a connection to a database. It is right in every respect, unless it is given a flaw.
type register struct {
	*database
	kind kind
	flaw flaw

	cached sync.Map   // of the flaw that reads it
	own    sync.Mutex // likewise
}

// kind is how a register that is right may be.
type kind struct{ versions, tells bool }

// flaw is what a register gets wrong. What is nil or false, it gets right.
type flaw struct {
	key      func(key string) string
	life     func(life time.Duration) time.Duration
	end      func(was record, end time.Duration) time.Duration
	value    func(value []byte) []byte // what is kept of a value
	returned func(value []byte) []byte // what is returned of a value
	holds    func(is cas.Entry, old cas.Entry, value []byte) (holds, decided bool)
	load     func(r *register, ctx context.Context, key string) (cas.Entry, error)
	swap     func(r *register, ctx context.Context, key string, old cas.Entry, value []byte, life time.Duration) (cas.Result, error)
	result   func(r *register, key string, res *cas.Result)
	swapAll  func(r *register, ctx context.Context, swaps []cas.Swap) (bool, error)
	racy     bool // between comparing and writing others run
	far      bool // no flaw: others may run before and after a call, as where the database is on a network
}

// travel takes some time.
func (r *register) travel() {
	if r.flaw.far && rand.IntN(2) == 0 {
		runtime.Gosched()
	}
}

func (r *register) key(key string) string {
	if r.flaw.key != nil {
		return r.flaw.key(key)
	}
	return key
}

// get returns what is there. The lock is held.
func (r *register) get(key string) cas.Entry {
	rec, ok := r.m[r.key(key)]
	if ok && rec.end <= r.clock() {
		return cas.Entry{}
	}
	e := rec.entry
	if r.flaw.returned != nil {
		e.Value = r.flaw.returned(e.Value)
	}
	return e // its own memory, which it never changes
}

// set writes. The lock is held.
func (r *register) set(key string, value []byte, life time.Duration) cas.Entry {
	key = r.key(key)
	was := r.m[key]
	if value == nil {
		delete(r.m, key)
		return cas.Entry{}
	}
	if r.flaw.life != nil {
		life = r.flaw.life(life)
	}
	if r.flaw.value != nil {
		value = r.flaw.value(value)
	} else {
		value = append([]byte{}, value...)
	}
	e := cas.Entry{Value: value}
	if r.kind.versions {
		r.version++
		e.Version, e.Epoch = r.version, 1
	}
	end := r.clock() + min(life, math.MaxInt64-r.clock())
	if r.flaw.end != nil {
		end = r.flaw.end(was, end)
	}
	r.m[key] = record{e, end}
	return e
}

func (r *register) holds(key string, old cas.Entry, value []byte) bool {
	is := r.get(key)
	if r.flaw.holds != nil {
		if holds, decided := r.flaw.holds(is, old, value); decided {
			return holds
		}
	}
	if r.kind.versions {
		return is.Version == old.Version && is.Epoch == old.Epoch
	}
	return bytes.Equal(is.Value, old.Value) && (is.Value == nil) == (old.Value == nil)
}

func (r *register) Load(ctx context.Context, key string) (cas.Entry, error) {
	if r.flaw.load != nil {
		return r.flaw.load(r, ctx, key)
	}
	return r.doLoad(ctx, key)
}

func (r *register) doLoad(ctx context.Context, key string) (cas.Entry, error) {
	r.travel()
	defer r.travel()
	if err := ctx.Err(); err != nil {
		return cas.Entry{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.get(key), nil
}

func (r *register) CompareAndSwap(ctx context.Context, key string, old cas.Entry, value []byte, life time.Duration) (cas.Result, error) {
	if r.flaw.swap != nil {
		return r.flaw.swap(r, ctx, key, old, value, life)
	}
	return r.doSwap(ctx, key, old, value, life)
}

func (r *register) doSwap(ctx context.Context, key string, old cas.Entry, value []byte, life time.Duration) (res cas.Result, err error) {
	r.travel()
	defer r.travel()
	if err := ctx.Err(); err != nil {
		return cas.Result{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.flaw.result != nil {
		defer func() { r.flaw.result(r, key, &res) }()
	}
	if !r.holds(key, old, value) {
		if r.kind.tells {
			return cas.Result{Found: true, Entry: r.get(key)}, nil
		}
		return cas.Result{}, nil
	}
	r.others()
	e := r.set(key, value, life)
	e.Value = nil
	return cas.Result{Swapped: true, Entry: e}, nil
}

// others lets others run, if the register is racy.
func (r *register) others() {
	if r.flaw.racy {
		r.mu.Unlock()
		<-time.After(time.Duration(rand.IntN(200)) * time.Microsecond)
		r.mu.Lock()
	}
}

// transactions is a register that can swap several entries.
type transactions struct{ *register }

func (r transactions) SwapAll(ctx context.Context, swaps []cas.Swap) (bool, error) {
	if r.flaw.swapAll != nil {
		return r.flaw.swapAll(r.register, ctx, swaps)
	}
	return r.doSwapAll(ctx, swaps)
}

func (r *register) doSwapAll(ctx context.Context, swaps []cas.Swap) (bool, error) {
	r.travel()
	defer r.travel()
	if err := ctx.Err(); err != nil {
		return false, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range swaps {
		if !r.holds(w.Key, w.Old, w.Value) {
			return false, nil
		}
	}
	for _, w := range swaps {
		if !checks(w) {
			r.set(w.Key, w.Value, w.Life)
		}
	}
	return true, nil
}

// checks tells whether a swap only checks.
func checks(w cas.Swap) bool {
	return bytes.Equal(w.Value, w.Old.Value) && (w.Value == nil) == (w.Old.Value == nil)
}

// harness describes registers of a kind with a flaw, or with none, and a clock of their own.
func harness(k kind, several bool, f flaw) castest.Harness {
	as := func(r *register) cas.Register {
		if several {
			return transactions{r}
		}
		return r
	}
	of := func(r cas.Register) *register {
		if t, ok := r.(transactions); ok {
			return t.register
		}
		return r.(*register)
	}
	clocks := make(map[*database]*atomic.Int64)
	return castest.Harness{
		New: func(tb testing.TB) cas.Register {
			clock := new(atomic.Int64)
			d := &database{
				m: make(map[string]record), clock: func() time.Duration { return time.Duration(clock.Load()) }, done: make(chan struct{}),
			}
			tb.Cleanup(func() { close(d.done) })
			clocks[d] = clock
			return as(&register{database: d, kind: k, flaw: f})
		},
		Another: func(_ testing.TB, r cas.Register) cas.Register {
			return as(&register{database: of(r).database, kind: k, flaw: f})
		},
		Advance: func(_ testing.TB, r cas.Register, d time.Duration) { clocks[of(r).database].Add(int64(d)) },
	}
}

// realTime makes the harness's registers end lives by package time's clock.
func realTime(h castest.Harness) castest.Harness {
	made := h.New
	h.Advance = nil
	h.New = func(tb testing.TB) cas.Register {
		r := made(tb)
		d := r.(transactions).database
		begun := time.Now()
		d.clock = func() time.Duration { return time.Since(begun) }
		return r
	}
	return h
}

var errLost = errors.New("connection reset by peer")
