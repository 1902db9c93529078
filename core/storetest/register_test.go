package storetest_test

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/algorithm"
	"github.com/halt-dev/halt/core/storetest"
)

// register is a store over a map of bytes, as a networked one is over its server. It is right in every respect, unless
// it is given a flaw.
type register struct {
	tb     testing.TB
	clock  func() halt.Instant
	coarse time.Duration // resolution of its clock
	mu     sync.Mutex
	m      map[string]record
	flaw   flaw
	calls  atomic.Int64
}

type record struct {
	value []byte
	end   halt.Instant
}

// flaw is what a store gets wrong. What is nil or false, it gets right.
type flaw struct {
	key      func(c halt.Charge) string
	charge   func(c *halt.Charge)
	state    func(c *halt.Charge, s *algorithm.State, now halt.Instant)
	now      func(c *halt.Charge, s *algorithm.State, now halt.Instant) halt.Instant
	decision func(c *halt.Charge, d *halt.Decision)
	written  func(c *halt.Charge, s *algorithm.State, d *halt.Decision)
	life     func(c *halt.Charge, d *halt.Decision) time.Duration
	take     func(ctx context.Context, r *register, cs []halt.Charge, ds []halt.Decision) error
	corrupt  func(r *register, c *halt.Charge, cause error) error // nil: as if there were no value
	reset    func(r *register, p halt.Policy, key string)

	racy, unrounded bool
}

func storageKey(c halt.Charge) string { return halt.StorageKey("test:", c) }

func (r *register) key(c halt.Charge) string {
	if r.flaw.key != nil {
		return r.flaw.key(c)
	}
	return storageKey(c)
}

func (r *register) Take(ctx context.Context, cs []halt.Charge, ds []halt.Decision) error {
	if err := ctx.Err(); err != nil && r.flaw.take == nil {
		return err
	}
	if r.flaw.take != nil {
		return r.flaw.take(ctx, r, cs, ds)
	}
	return r.take(cs, ds)
}

func (r *register) One(_ context.Context, c halt.Charge) (halt.Decision, error) {
	var d [1]halt.Decision
	err := r.take([]halt.Charge{c}, d[:])
	return d[0], err
}

// take reads, decides and writes, under the lock unless it is racy.
func (r *register) take(cs []halt.Charge, ds []halt.Decision) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls.Add(1)
	now := r.now()
	states := make([]algorithm.State, len(cs))
	changed := make([]bool, len(cs))
	own := append([]halt.Charge(nil), cs...)
	for i := range own {
		if r.flaw.charge != nil {
			r.flaw.charge(&own[i])
		}
		rec, ok := r.m[r.key(cs[i])]
		if ok && rec.end <= now {
			delete(r.m, r.key(cs[i]))
		} else if ok {
			s, err := algorithm.Parse(rec.value, &cs[i].Policy)
			if err != nil && r.flaw.corrupt != nil {
				err = r.flaw.corrupt(r, &cs[i], err)
			}
			if err != nil {
				return err
			}
			states[i] = s
		}
		if r.flaw.state != nil {
			r.flaw.state(&own[i], &states[i], now)
		}
		if r.flaw.now != nil {
			now = r.flaw.now(&own[i], &states[i], now)
		}
	}
	if r.flaw.racy {
		r.mu.Unlock()
		runtime.Gosched()
		r.mu.Lock()
	}
	algorithm.DecideAll(own, states, now, ds, changed)
	for i := range cs {
		d := &ds[i]
		if r.coarse > 0 && !r.flaw.unrounded {
			d.ResetAfter = (d.ResetAfter + r.coarse - 1) / r.coarse * r.coarse
			if d.RetryAfter != halt.Never {
				d.RetryAfter = (d.RetryAfter + r.coarse - 1) / r.coarse * r.coarse
			}
		}
		if r.flaw.written != nil {
			before := states[i].Used
			if r.flaw.written(&own[i], &states[i], d); states[i].Used != before || d.Blocked {
				changed[i] = true
			}
		}
		if changed[i] {
			life := d.ResetAfter
			if r.flaw.life != nil {
				life = r.flaw.life(&cs[i], d)
			}
			r.m[r.key(cs[i])] = record{states[i].Append(nil), now + halt.Instant(life.Microseconds())}
			if life == 0 {
				delete(r.m, r.key(cs[i]))
			}
		}
		if r.flaw.decision != nil {
			r.flaw.decision(&cs[i], d)
		}
	}
	return nil
}

func (r *register) now() halt.Instant {
	now := r.clock()
	if r.coarse > 0 {
		now -= now % halt.Instant(r.coarse.Microseconds())
	}
	return now
}

func (r *register) Reset(_ context.Context, p halt.Policy, key string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.flaw.reset != nil {
		r.flaw.reset(r, p, key)
		return nil
	}
	delete(r.m, r.key(p.Charge(key, 0)))
	delete(r.m, r.key(halt.Charge{Policy: p, Key: key, Mode: halt.Shadow}))
	return nil
}

// overwrite returns a way to damage a value.
func overwrite(f func(b []byte) []byte) func(testing.TB, halt.Store, halt.Charge) {
	return func(tb testing.TB, s halt.Store, c halt.Charge) {
		tb.Helper()
		r := s.(*register)
		r.mu.Lock()
		defer r.mu.Unlock()
		rec, ok := r.m[r.key(c)]
		if !ok {
			tb.Errorf("no value to be damaged")
		}
		rec.value = f(rec.value)
		r.m[r.key(c)] = rec
	}
}

// registerHarness describes a register with a flaw, or with none, and a clock of its own.
func registerHarness(tb testing.TB, coarse time.Duration, f flaw) storetest.Harness {
	tb.Helper()
	clock, advance := withClock(tb)
	return storetest.Harness{
		New: func(tb testing.TB) halt.Store {
			return &register{tb: tb, clock: clock.Now, coarse: coarse, m: make(map[string]record), flaw: f}
		},
		Advance: advance, Atomic: true, Resolution: coarse,
		Corrupt: map[string]func(testing.TB, halt.Store, halt.Charge){
			"another program's": overwrite(func([]byte) []byte { return []byte("OK") }),
			"cut off":           overwrite(func(b []byte) []byte { return b[:len(b)-1] }),
			"too long":          overwrite(func(b []byte) []byte { return append(b, 0) }),
			"empty":             overwrite(func([]byte) []byte { return nil }),
			"a later version":   overwrite(func(b []byte) []byte { return append([]byte{99}, b[1:]...) }),
		},
		TTL: func(_ testing.TB, s halt.Store, c halt.Charge) (time.Duration, bool) {
			r := s.(*register)
			r.mu.Lock()
			defer r.mu.Unlock()
			rec, ok := r.m[r.key(c)]
			return time.Duration(rec.end-r.now()) * time.Microsecond, ok
		},
	}
}

func TestRegister(t *testing.T) {
	t.Run("every microsecond", func(t *testing.T) { storetest.Run(t, registerHarness(t, 0, flaw{})) })
	t.Run("every millisecond", func(t *testing.T) { storetest.Run(t, registerHarness(t, time.Millisecond, flaw{})) })
	t.Run("every second", func(t *testing.T) { storetest.Run(t, registerHarness(t, time.Second, flaw{})) })
	t.Run("real time", func(t *testing.T) {
		h := registerHarness(t, time.Millisecond, flaw{})
		h.Advance = nil
		h.New = func(tb testing.TB) halt.Store {
			return &register{
				tb: tb, coarse: time.Millisecond, m: make(map[string]record),
				clock: func() halt.Instant { return halt.InstantOf(time.Now()) },
			}
		}
		storetest.Run(t, h)
	})
}
