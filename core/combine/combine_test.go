package combine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	halt "github.com/halt-dev/halt/core"
)

var policy = halt.Policy{Name: "api", Limit: 1, Window: time.Second}

// A database is one whose round trips take as long as a test wants them to.
type database struct {
	took time.Duration
	fail error

	mu      sync.Mutex
	batches []batch
	flying  map[string]int
	most    int // that flew at once, of one queue
}

// A batch is what one round trip carried.
type batch struct {
	queue   string
	keys    []string
	charges int
	sent    time.Time
}

// newCombiner returns a Combiner of that database.
func newCombiner(o Options, took time.Duration) (*Combiner[string, int], *database) {
	db := &database{took: took, flying: map[string]int{}}
	return New(o, func() Sender[string, int] { return db }), db
}

// Send decides that what is left is the call's number, which is what it carries along, by the place of the charge.
func (db *database) Send(ctx context.Context, queue string, calls []*Call[int]) {
	b := batch{queue: queue, sent: time.Now()}
	for _, w := range calls {
		b.charges += len(w.Charges)
		b.keys = append(b.keys, w.Charges[0].Key)
	}
	db.mu.Lock()
	db.batches = append(db.batches, b)
	db.flying[queue]++
	db.most = max(db.most, db.flying[queue])
	db.mu.Unlock()
	err := db.fail
	if db.took > 0 {
		timer := time.NewTimer(db.took)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			err = Ended(ctx.Err())
		}
	}
	db.mu.Lock()
	db.flying[queue]--
	db.mu.Unlock()
	for _, w := range calls {
		for i := range w.Charges {
			w.Decisions[i].Remaining = int64(w.Of * (i + 1))
		}
		w.Answer(err)
	}
}

// sent returns the batches so far, as text: their keys, and between batches a bar.
func (db *database) sent() string {
	db.mu.Lock()
	defer db.mu.Unlock()
	var all []string
	for _, b := range db.batches {
		all = append(all, strings.Join(b.keys, " "))
	}
	return strings.Join(all, " | ")
}

// inBubble runs a test in a bubble that outlasts the Combiner's goroutines.
func inBubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	//nolint:forbidigo // the bubble's clock
	synctest.Test(t, func(t *testing.T) {
		f(t)
		time.Sleep(time.Minute)
	})
}

// after runs the functions at those many ms, and returns when all have.
func after(t *testing.T, fs map[int]func()) {
	t.Helper()
	var wg sync.WaitGroup
	//nolint:forbidigo // the bubble's clock
	for at, f := range fs {
		wg.Go(func() {
			time.Sleep(time.Duration(at) * time.Millisecond)
			f()
		})
	}
	wg.Wait()
}

// ok returns a function that takes from key and expects the call's own answer.
func ok(t *testing.T, c *Combiner[string, int], queue, key string, of int) func() {
	t.Helper()
	return func() {
		if d, err := c.takeOne(t.Context(), queue, policy.Charge(key, 1), of); err != nil || d.Remaining != int64(of) {
			t.Errorf("%s: %+v, %v", key, d, err)
		}
	}
}

// One who is alone is sent at once; what waits while a batch is on its way is the next one, in its order.
func TestWaitingIsTheNextBatch(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, db := newCombiner(Options{Timeout: time.Second, MaxBatch: 10, InFlight: 1}, 10*time.Millisecond)
		start := time.Now()
		after(t, map[int]func(){
			0: ok(t, c, "q", "a", 1), 1: ok(t, c, "q", "b", 2), 2: ok(t, c, "q", "c", 3), 15: ok(t, c, "q", "d", 4),
			100: ok(t, c, "q", "e", 5),
		})
		if got := db.sent(); got != "a | b c | d | e" {
			t.Errorf("the batches are %s", got)
		}
		for i, at := range []time.Duration{0, 10, 20, 100} {
			if got := db.batches[i].sent.Sub(start); got != at*time.Millisecond {
				t.Errorf("batch %d left after %v", i+1, got)
			}
		}
	})
}

// No more batches of a queue are on their way than InFlight; and of different queues none waits for another.
func TestInFlight(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for _, n := range []int{1, 2, 5} {
			c, db := newCombiner(Options{Timeout: time.Minute, MaxBatch: 2, InFlight: n}, 10*time.Millisecond)
			start := time.Now()
			var wg sync.WaitGroup
			for i := range 100 {
				for _, q := range []string{"q", "r", "s"} {
					wg.Go(ok(t, c, q, fmt.Sprint(i), i))
				}
			}
			wg.Wait()
			if db.most != n {
				t.Errorf("%d batches of a queue were on their way at once, want %d", db.most, n)
			}
			// The first batches of each queue may have been smaller, when they left before all had come.
			if got, want := time.Since(start), time.Duration(50/n+1)*10*time.Millisecond; got > want {
				t.Errorf("with %d in flight it took %v, want at most %v", n, got, want)
			}
			for _, b := range db.batches {
				if len(b.keys) > 2 {
					t.Errorf("a batch of %d", len(b.keys))
				}
			}
		}
	})
}

// InFlight 0 sends each by itself.
func TestEachAlone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, db := newCombiner(Options{Timeout: time.Second}, 10*time.Millisecond)
		start := time.Now()
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(ok(t, c, "q", fmt.Sprint(i), i))
		}
		wg.Wait()
		if len(db.batches) != 50 || db.most != 50 || time.Since(start) != 10*time.Millisecond {
			t.Errorf("%d batches, %d at once, in %v", len(db.batches), db.most, time.Since(start))
		}
	})
}

// A batch has so many calls, charges and bytes of keys; a call that is larger by itself is a batch.
func TestBatchSizes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const mb = 1 << 20
		for _, tt := range []struct {
			name           string
			charges, bytes int // of each call
			want           []int
		}{
			{"calls", 1, 1, []int{5, 5, 2}},
			{"charges", mostCharges / 2, 1, []int{2, 2, 2, 2, 2, 2}},
			{"charges, one more", mostCharges/2 + 1, 1, []int{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}},
			{"more charges than fit", 2 * mostCharges, 1, []int{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}},
			{"bytes", 1, mb / 4, []int{4, 4, 4}},
			{"bytes, one more", 1, mb/4 + 1, []int{3, 3, 3, 3}},
			{"more bytes than fit", 1, 2 * mb, []int{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}},
			{"bytes of several charges", 3, mb / 10, []int{3, 3, 3, 3}},
		} {
			c, db := newCombiner(Options{Timeout: time.Minute, MaxBatch: 5, InFlight: 1}, time.Millisecond)
			cs := slices.Repeat([]halt.Charge{policy.Charge(strings.Repeat("k", tt.bytes), 1)}, tt.charges)
			var wg sync.WaitGroup
			wg.Go(ok(t, c, "q", "first", 1))
			synctest.Wait()
			for i := range 12 {
				wg.Go(func() {
					ds := make([]halt.Decision, len(cs))
					if err := c.Take(t.Context(), "q", cs, ds, i); err != nil || ds[len(ds)-1].Remaining != int64(i*len(ds)) {
						t.Errorf("%s: %v", tt.name, err)
					}
				})
			}
			wg.Wait()
			var got []int
			for _, b := range db.batches[1:] {
				got = append(got, len(b.keys))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("%s: batches of %d, want %d", tt.name, got, tt.want)
			}
		}
	})
}

// An error is that of the calls of its batch, and of no other.
func TestError(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, db := newCombiner(Options{Timeout: time.Minute, MaxBatch: 5, InFlight: 1}, 0)
		db.fail = errors.New("no such table")
		if d, err := c.takeOne(t.Context(), "q", policy.Charge("k", 1), 7); !errors.Is(err, db.fail) || d != (halt.Decision{}) {
			t.Errorf("%+v, %v", d, err)
		}
		ds := []halt.Decision{{Remaining: 5}}
		if err := c.Take(t.Context(), "q", []halt.Charge{policy.Charge("k", 1)}, ds, 7); !errors.Is(err, db.fail) || ds[0].Remaining != 5 {
			t.Errorf("%+v, %v", ds, err)
		}
		db.fail = nil
		ok(t, c, "q", "k", 8)()
	})
}

func TestRepeatable(t *testing.T) {
	for m := halt.Take; m <= halt.Credit; m++ {
		w := &Call[int]{Charges: []halt.Charge{{}, {Mode: m}}}
		if got, want := w.Repeatable(), m != halt.Debit && m != halt.Credit; got != want {
			t.Errorf("a call with a %s: %v", m, got)
		}
	}
}

// What can't work is no surprise later on.
func TestOptions(t *testing.T) {
	for _, o := range []Options{
		{MaxBatch: 1, InFlight: 1}, {Timeout: -1, MaxBatch: 1, InFlight: 1}, {Timeout: 1, InFlight: 1}, {Timeout: 1, MaxBatch: 1, InFlight: -1},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("New took %+v", o)
				}
			}()
			newCombiner(o, 0)
		}()
	}
}

// takeOne is Take of one charge.
func (c *Combiner[K, T]) takeOne(ctx context.Context, queue K, charge halt.Charge, of T) (halt.Decision, error) {
	var ds [1]halt.Decision
	err := c.Take(ctx, queue, []halt.Charge{charge}, ds[:], of)
	return ds[0], err
}
