package cas

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
)

// register is a database in memory, that can be made to fail.
type register struct {
	clock    func() halt.Instant
	versions bool // it compares versions, not values
	tells    bool // it tells what it found in a swap's way

	gate chan struct{} // if not nil, a swap waits for it to be closed

	mu       sync.Mutex
	m        map[string]record
	version  uint64
	delayed  []func()                                           // swaps that are still on their way
	fault    func(op string) fault                              // of an operation: "load", "swap" or "swaps"
	between  func(key string)                                   // called before each swap, with the lock: what others do meanwhile
	on       func(key string, life time.Duration, value []byte) // of each swap that happened
	loads    int
	swaps    int // that were sent
	swappeds int // that happened
}

type record struct {
	entry Entry
	end   halt.Instant
}

// fault is how an operation goes wrong.
type fault int

const (
	none    fault = iota
	refused       // it fails and did not happen
	lost          // it happens, and its answer is lost
	late          // it fails, and happens later
	panics
	busy // it is refused for good: NotDone
)

var errFault = errors.New("register: out of order")

func newRegister(clock func() halt.Instant) *register {
	return &register{clock: clock, m: make(map[string]record)}
}

// begin begins an operation, with the lock, and returns how it goes wrong.
func (r *register) begin(ctx context.Context, op string) (fault, error) {
	for len(r.delayed) > 0 && rand.IntN(2) == 0 {
		r.delayed[0]()
		r.delayed = r.delayed[1:]
	}
	if err := ctx.Err(); err != nil {
		return none, err
	}
	if r.fault == nil {
		return none, nil
	}
	switch f := r.fault(op); f {
	case refused:
		return none, errFault
	case busy:
		return none, NotDone(errFault)
	case panics:
		panic("register: a fault")
	default:
		return f, nil
	}
}

func (r *register) wait() {
	if r.gate != nil {
		<-r.gate
	}
}

func (r *register) get(key string) Entry {
	rec, ok := r.m[key]
	if ok && rec.end <= r.clock() {
		delete(r.m, key)
		return Entry{}
	}
	e := rec.entry
	if e.Value != nil {
		e.Value = append([]byte{}, e.Value...) // whoever gets it may change it
	}
	return e
}

func (r *register) put(key string, value []byte, life time.Duration) {
	if value == nil {
		delete(r.m, key)
		return
	}
	e := Entry{Value: append([]byte{}, value...)}
	if r.versions {
		r.version++
		e.Version, e.Epoch = r.version, 7
	}
	r.m[key] = record{e, r.clock() + halt.Instant(life/time.Microsecond)}
}

func (r *register) holds(key string, old Entry) bool {
	is := r.get(key)
	if r.versions {
		return is.Version == old.Version && is.Epoch == old.Epoch
	}
	return string(is.Value) == string(old.Value) && (is.Value == nil) == (old.Value == nil)
}

func (r *register) Load(ctx context.Context, key string) (Entry, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.loads++
	f, err := r.begin(ctx, "load")
	if err != nil {
		return Entry{}, err
	}
	if f != none {
		return Entry{}, errFault
	}
	return r.get(key), nil
}

func (r *register) CompareAndSwap(ctx context.Context, key string, old Entry, value []byte, life time.Duration) (Result, error) {
	r.wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.swaps++
	f, err := r.begin(ctx, "swap")
	if err != nil {
		return Result{}, err
	}
	if r.between != nil {
		r.between(key)
	}
	value = append([]byte(nil), value...)
	swap := func() bool {
		if !r.holds(key, old) {
			return false
		}
		r.put(key, value, life)
		r.swappeds++
		if r.on != nil {
			r.on(key, life, value)
		}
		return true
	}
	switch f {
	case late:
		r.delayed = append(r.delayed, func() { swap() })
		return Result{}, errFault
	case lost:
		swap()
		return Result{}, errFault
	default: // it goes well
	}
	if swap() {
		e := r.m[key].entry
		e.Value = nil
		return Result{Swapped: true, Entry: e}, nil
	}
	if r.tells {
		return Result{Found: true, Entry: r.get(key)}, nil
	}
	return Result{}, nil
}

// transactions is a register that can swap several entries at once.
type transactions struct{ *register }

func (r transactions) SwapAll(ctx context.Context, swaps []Swap) (bool, error) {
	r.wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.swaps++
	f, err := r.begin(ctx, "swaps")
	if err != nil {
		return false, err
	}
	if r.between != nil {
		for _, w := range swaps {
			r.between(w.Key)
		}
	}
	swaps = append([]Swap(nil), swaps...)
	swap := func() bool {
		for _, w := range swaps {
			if !r.holds(w.Key, w.Old) {
				return false
			}
		}
		for _, w := range swaps {
			if string(w.Value) != string(w.Old.Value) {
				r.put(w.Key, w.Value, w.Life)
			}
		}
		r.swappeds++
		return true
	}
	switch f {
	case late:
		r.delayed = append(r.delayed, func() { swap() })
		return false, errFault
	case lost:
		swap()
		return false, errFault
	default: // it goes well
	}
	return swap(), nil
}

// counts returns what was done so far, and forgets it.
func (r *register) counts() (loads, swaps int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	loads, swaps = r.loads, r.swaps
	r.loads, r.swaps = 0, 0
	return loads, swaps
}

// start is when the clock of tests begins that make their own time.
var start = time.Date(2026, time.March, 14, 15, 9, 26, 535897*1000, time.UTC)

// open returns a store with the options completed by what all tests need: patience on a busy machine.
func open(tb testing.TB, r Register, o Options) *Store {
	tb.Helper()
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	s, err := New(r, &o)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// made returns a store on a register, both in a time that the test makes.
func made(tb testing.TB) (*Store, *register, *storetest.Clock) {
	tb.Helper()
	clock := storetest.NewClock(start)
	r := newRegister(clock.Now)
	return open(tb, r, Options{Clock: clock.Now}), r, clock
}

// lasting is a policy under which nothing comes back while a test runs.
func lasting(limit int64) halt.Policy {
	return halt.Policy{Name: "lasting", Algorithm: halt.FixedWindow, Limit: limit, Window: 1000 * 24 * time.Hour}
}

// take takes c, and fails the test at an error.
func take(tb testing.TB, s *Store, c halt.Charge) halt.Decision {
	tb.Helper()
	d, err := storetest.TakeOne(context.Background(), s, c)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

// bubble runs f in a bubble of testing/synctest, and waits until the idle goroutines have ended.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f(t)
		time.Sleep(time.Hour) //nolint:forbidigo // the bubble's clock
	})
}
