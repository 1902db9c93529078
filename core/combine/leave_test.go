package combine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// One who leaves before boarding is not sent; one who leaves later is gone at once all the same. Neither stalls anybody, and
// their batches go on.
func TestLeave(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, db := newCombiner(Options{Timeout: time.Second, MaxBatch: 10, InFlight: 1}, 100*time.Millisecond)
		start := time.Now()
		leave := func(key string, within time.Duration, want error) func() {
			return func() {
				ctx, cancel := context.WithCancel(t.Context())
				if errors.Is(want, halt.ErrDeadline) {
					ctx, cancel = context.WithTimeout(t.Context(), within)
				} else {
					time.AfterFunc(within, cancel)
				}
				defer cancel()
				began := time.Now()
				if d, err := c.takeOne(ctx, "q", policy.Charge(key, 1), 9); !errors.Is(err, want) || d != (halt.Decision{}) {
					t.Errorf("%s: %+v, %v", key, d, err)
				}
				if got := time.Since(began); got != within {
					t.Errorf("%s left after %v, want %v", key, got, within)
				}
			}
		}
		after(t, map[int]func(){
			0: leave("a", 50*time.Millisecond, context.Canceled), 1: leave("b", 50*time.Millisecond, context.Canceled),
			2: ok(t, c, "q", "c", 3), 3: leave("d", 150*time.Millisecond, halt.ErrDeadline), 4: leave("e", 90*time.Millisecond, halt.ErrDeadline),
			5: ok(t, c, "q", "f", 4),
		})
		if got := db.sent(); got != "a | c d f" {
			t.Errorf("the batches are %s", got)
		}
		if got := time.Since(start); got != 200*time.Millisecond {
			t.Errorf("it took %v", got)
		}
	})
}

// A context that has ended sends nothing.
func TestEnded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, db := newCombiner(Options{Timeout: time.Second, MaxBatch: 10, InFlight: 1}, 0)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.takeOne(ctx, "q", policy.Charge("k", 1), 1); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if err := c.Take(ctx, "q", []halt.Charge{policy.Charge("k", 1)}, make([]halt.Decision, 1), 1); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		late, cancel := context.WithDeadline(t.Context(), time.Now())
		defer cancel()
		if _, err := c.takeOne(late, "q", policy.Charge("k", 1), 1); !errors.Is(err, halt.ErrDeadline) || !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if len(db.batches) > 0 {
			t.Errorf("sent: %s", db.sent())
		}
	})
}

// A call takes no longer than the timeout, waiting included; a batch has it from when it is sent, however often before its
// context was used.
func TestTimeout(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, db := newCombiner(Options{Timeout: 100 * time.Millisecond, MaxBatch: 1, InFlight: 1}, 70*time.Millisecond)
		late := func(key string, within time.Duration) func() {
			return func() {
				began := time.Now()
				_, err := c.takeOne(t.Context(), "q", policy.Charge(key, 1), 1)
				if got := time.Since(began); !errors.Is(err, halt.ErrDeadline) || !errors.Is(err, context.DeadlineExceeded) || got != within {
					t.Errorf("%s: after %v %v", key, got, err)
				}
			}
		}
		after(t, map[int]func(){
			0: ok(t, c, "q", "a", 1), 10: late("b", 100*time.Millisecond), 20: late("c", 100*time.Millisecond), 30: ok(t, c, "r", "d", 2),
		})
		// b was sent at 70 and back at 140, though nobody waited for it; c had gone before.
		if got := db.sent(); got != "a | d | b" {
			t.Errorf("the batches are %s", got)
		}
		//nolint:forbidigo // the bubble's clock
		time.Sleep(time.Second) // b is back
		synctest.Wait()
		db.took = time.Hour
		for n := range 3 {
			began := time.Now()
			late(fmt.Sprint("slow", n), 100*time.Millisecond)()
			synctest.Wait()
			db.mu.Lock()
			flying := db.flying["q"]
			db.mu.Unlock()
			if got := time.Since(began); flying != 0 || got != 100*time.Millisecond {
				t.Errorf("the batch goes on after %v", got)
			}
		}
		db.took = 99 * time.Millisecond
		for n := range 5 {
			ok(t, c, "q", fmt.Sprint("fast", n), n)()
		}
	})
}

// A batch's context says when it ends.
func TestDeadline(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDeadline(time.Second)
		for range 3 {
			d.start()
			at, has := d.Deadline()
			if !has || !at.Equal(time.Now().Add(time.Second)) || d.Err() != nil || d.Value("k") != nil {
				t.Errorf("%v, %v, %v", at, has, d.Err())
			}
			//nolint:forbidigo // the bubble's clock
			time.Sleep(700 * time.Millisecond)
			if !d.stop() {
				t.Error("it has ended")
			}
		}
		d.start()
		began := time.Now()
		<-d.Done()
		if got := time.Since(began); got != time.Second || !errors.Is(d.Err(), context.DeadlineExceeded) || d.stop() {
			t.Errorf("it ended after %v: %v", got, d.Err())
		}
	})
}

// A queue does not hold on to those who gave up on a database that takes no batch, and loses none of the others.
func TestAbandoned(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, db := newCombiner(Options{Timeout: time.Minute, MaxBatch: 1000, InFlight: 1}, 10*time.Second)
		var wg sync.WaitGroup
		wg.Go(ok(t, c, "q", "first", 0))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		stay := 0
		for i := range 5000 {
			if i%100 == 0 {
				stay++
				wg.Go(ok(t, c, "q", "stays", i))
				continue
			}
			wg.Go(func() {
				if _, err := c.takeOne(ctx, "q", policy.Charge("leaves", 1), i); !errors.Is(err, halt.ErrDeadline) {
					t.Error(err)
				}
			})
		}
		//nolint:forbidigo // the bubble's clock
		time.Sleep(2 * time.Second)
		c.mu.Lock()
		if n := len(c.queues["q"].calls); n > 2*max(stay, mostLeft) {
			t.Errorf("%d wait, and there are %d in the queue", stay, n)
		}
		c.mu.Unlock()
		wg.Wait()
		if n := len(db.batches); n != 2 || len(db.batches[1].keys) != stay {
			t.Errorf("%d batches, the last of %d", n, len(db.batches[n-1].keys))
		}
	})
}

// Thousands that come, stay, leave and time out: every answer is the call's own, nothing is sent twice, nothing stays behind.
func TestStress(t *testing.T) {
	for _, o := range []Options{
		{Timeout: 10 * time.Millisecond, MaxBatch: 7, InFlight: 2},
		{Timeout: time.Minute, MaxBatch: 1000, InFlight: 1},
		{Timeout: 5 * time.Millisecond, MaxBatch: 1, InFlight: 3},
		{Timeout: 10 * time.Millisecond},
	} {
		t.Run(fmt.Sprintf("%+v", o), func(t *testing.T) {
			s := &chaos{seen: map[int]int{}}
			c := New(o, func() Sender[string, int] { return s })
			var wg sync.WaitGroup
			for g := range 1000 {
				wg.Go(func() {
					rng := rand.New(rand.NewPCG(1, uint64(g)))
					for i := range 10 {
						s.call(t, c, rng, 10*g+i)
					}
				})
			}
			wg.Wait()
			c.mu.Lock()
			defer c.mu.Unlock()
			for q := range c.queues {
				t.Logf("queue %s is still there", q) // its batch may be landing at this moment
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			for id, n := range s.seen {
				if n != 1 {
					t.Errorf("call %d was sent %d times", id, n)
				}
			}
		})
	}
}

// chaos is a database that takes any time.
type chaos struct {
	mu   sync.Mutex
	seen map[int]int
}

func (s *chaos) call(t *testing.T, c *Combiner[string, int], rng *rand.Rand, id int) {
	t.Helper()
	ctx, queue := t.Context(), fmt.Sprint(id%3)
	if rng.IntN(3) == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(rng.IntN(2_000_000)))
		defer cancel()
	}
	ds := make([]halt.Decision, 1+rng.IntN(3))
	var err error
	if len(ds) == 1 {
		ds[0], err = c.takeOne(ctx, queue, policy.Charge(queue, 1), id)
	} else {
		cs := make([]halt.Charge, len(ds))
		for i := range cs {
			cs[i] = policy.Charge(queue, 1)
		}
		err = c.Take(ctx, queue, cs, ds, id)
	}
	for i, d := range ds {
		if err == nil && d.Remaining != int64(id) {
			t.Errorf("decision %d of %d is %+v", i, id, d)
		}
	}
	if err != nil && !errors.Is(err, halt.ErrDeadline) {
		t.Errorf("call %d: %v", id, err)
	}
}

func (s *chaos) Send(ctx context.Context, queue string, calls []*Call[int]) {
	s.mu.Lock()
	slow := rand.IntN(10) == 0
	for _, w := range calls {
		s.seen[w.Of]++
	}
	s.mu.Unlock()
	if slow {
		timer := time.NewTimer(time.Duration(rand.IntN(2_000_000)))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	for _, w := range calls {
		id := int64(w.Of)
		for i := range w.Charges {
			if w.Charges[i].Key != queue {
				id = -1
			}
			w.Decisions[i].Remaining = id
		}
		if w.Gone() {
			w.Answer(errors.New("nobody reads this"))
			continue
		}
		w.Answer(nil)
	}
}
