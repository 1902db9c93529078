package haltredis

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
	"github.com/halt-dev/halt/core/storetest/testserver"
)

// lasting is a policy under which nothing comes back while a test runs.
func lasting(limit int64) halt.Policy {
	return halt.Policy{Name: "lasting", Algorithm: halt.FixedWindow, Limit: limit, Window: 1000 * 24 * time.Hour}
}

// eventually waits until done, which it asks again and again.
func eventually(tb testing.TB, what string, done func() bool) {
	tb.Helper()
	const patience = 30 * time.Second
	end := time.NewTimer(patience)
	defer end.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-end.C:
			tb.Fatalf("in %v it did not come to this: %s", patience, what)
		}
	}
}

// load takes from s in some goroutines until stop is called, which returns how many were admitted and the errors by kind.
func load(s *Store, c halt.Charge) (stop func() (admitted int64, failed map[string]int)) {
	var wg sync.WaitGroup
	var over atomic.Bool
	var admitted atomic.Int64
	var mu sync.Mutex
	failed := map[string]int{}
	for range 8 {
		wg.Go(func() {
			for !over.Load() {
				d, err := storetest.TakeOne(context.Background(), s, c)
				switch {
				case err != nil:
					mu.Lock()
					failed[halt.ErrorKind(err)]++
					mu.Unlock()
				case d.Allowed:
					admitted.Add(1)
				}
			}
		})
	}
	return func() (int64, map[string]int) {
		over.Store(true)
		wg.Wait()
		return admitted.Load(), failed
	}
}

// A server that forgets the script in the middle of the traffic is sent it again: nobody notices.
func TestScriptFlush(t *testing.T) {
	s, client, _ := newStore(t, &patient)
	p := lasting(1 << 40)
	stop := load(s, p.Charge("k", 1))
	for range 200 {
		if err := client.ScriptFlush(context.Background()).Err(); err != nil {
			t.Error(err)
		}
	}
	admitted, failed := stop()
	if len(failed) > 0 {
		t.Errorf("errors: %v", failed)
	}
	d := take(t, s, p.Charge("k", 0))
	if got := p.Limit - d.Remaining; got != admitted {
		t.Errorf("%d were admitted and %d spent", admitted, got)
	}
}

// A server that was emptied starts afresh, once.
func TestFlushAll(t *testing.T) {
	s, client, _ := newStore(t, &patient)
	p := lasting(5)
	for range 2 {
		for i := range 7 {
			if d := take(t, s, p.Charge("k", 1)); d.Allowed != (i < 5) {
				t.Fatalf("number %d: %+v", i+1, d)
			}
		}
		flush(t, client)
	}
}

// A server that was killed and comes back empty admits the limit once more, and no more. Meanwhile errors say so.
func TestRestart(t *testing.T) {
	s, _, server := newStore(t, nil)
	p := lasting(1000)
	stop := load(s, p.Charge("k", 1))
	eventually(t, "the limit is reached", func() bool {
		d, err := storetest.TakeOne(context.Background(), s, p.Charge("k", 0))
		return err == nil && d.Remaining == 0
	})
	server.Kill()
	if _, err := storetest.TakeOne(context.Background(), s, p.Charge("k", 1)); !errors.Is(err, halt.ErrStore) && !errors.Is(err, halt.ErrDeadline) {
		t.Errorf("with the server down: %v", err)
	}
	server.Restart()
	eventually(t, "the limit is reached again", func() bool {
		d, err := storetest.TakeOne(context.Background(), s, p.Charge("k", 0))
		return err == nil && d.Remaining == 0
	})
	if admitted, _ := stop(); admitted > 2*p.Limit {
		t.Errorf("%d were admitted over two lives of the server, of %d each", admitted, p.Limit)
	}
}

// While a server loads its data, calls fail with its own words, and then work again.
func TestLoading(t *testing.T) {
	args := []string{"--key-load-delay", "200", "--rdbcompression", "no"}
	if debugForbidden(t) {
		args = append(args, "--enable-debug-command", "yes")
	}
	server := testserver.Redis(t, args...)
	client := connect(t, server.Addr())
	ctx := context.Background()
	s := open(t, client, &patient)
	pipe := client.Pipeline()
	for i := range 3000 { // it looks at what it is asked every 2 MB
		pipe.Set(ctx, fmt.Sprint("filler:", i), strings.Repeat("v", 4<<10), 0)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		t.Fatal(err)
	}
	reloaded := make(chan error, 1)
	go func() {
		reloaded <- connect(t, server.Addr()).WithTimeout(time.Minute).Do(ctx, "debug", "reload").Err()
	}()
	p := lasting(10)
	eventually(t, "a call meets the loading", func() bool {
		_, err := storetest.TakeOne(ctx, s, p.Charge("k", 1))
		return err != nil && errors.Is(err, halt.ErrStore) && strings.Contains(err.Error(), "LOADING")
	})
	if err := <-reloaded; err != nil {
		t.Fatal(err)
	}
	eventually(t, "calls work again", func() bool {
		_, err := storetest.TakeOne(ctx, s, p.Charge("k", 0))
		return err == nil
	})
}

// debugForbidden tells whether a server has to be told that it may be debugged: Redis has to since version 7.
func debugForbidden(t *testing.T) bool {
	t.Helper()
	err := connect(t, testserver.Redis(t).Addr()).Do(context.Background(), "debug", "sleep", "0").Err()
	return err != nil && strings.Contains(err.Error(), "DEBUG command not allowed")
}

// A replica decides nothing that would have to be written. What can be sent again is, for as long as the documentation says.
func TestReadOnlyReplica(t *testing.T) {
	master := testserver.Redis(t)
	replica := testserver.Redis(t, "--replicaof", "127.0.0.1", fmt.Sprint(master.Port()))
	l := new(lossy)
	client := redis.NewClient(&redis.Options{Addr: replica.Addr(), Dialer: l.dial})
	t.Cleanup(func() { _ = client.Close() })
	s := open(t, client, &patient)
	for _, m := range []halt.Mode{halt.Take, halt.Debit} {
		c := lasting(5).Charge("k", 1)
		c.Mode = m
		before, begin := l.sent.Load(), time.Now()
		d, err := storetest.TakeOne(context.Background(), s, c)
		if !errors.Is(err, halt.ErrStore) || !redis.IsReadOnlyError(err) {
			t.Errorf("a %s at a replica: %+v, %v", m, d, err)
		}
		// It may soon be the master.
		if sent, took := l.sent.Load()-before, time.Since(begin); sent != 5 || took < 21*time.Millisecond {
			t.Errorf("a %s at a replica was sent %d times within %v, want 5 within 21 ms", m, sent, took)
		}
	}
}

// A server without memory to spare refuses writes: that is an error and no admission, and it is over with the shortage.
func TestOutOfMemory(t *testing.T) {
	s, client, _ := newStore(t, &patient)
	ctx := context.Background()
	p := lasting(2)
	take(t, s, p.Charge("known", 2))
	if err := client.ConfigSet(ctx, "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if d, err := storetest.TakeOne(ctx, s, p.Charge("k", 1)); !errors.Is(err, halt.ErrStore) {
		t.Errorf("without memory: %+v, %v", d, err)
	}
	if err := s.Take(ctx, []halt.Charge{p.Charge("k", 1), p.Charge("l", 1)}, make([]halt.Decision, 2)); !errors.Is(err, halt.ErrStore) {
		t.Errorf("without memory, two: %v", err)
	}
	if d := take(t, s, p.Charge("known", 1)); d.Allowed {
		t.Errorf("without memory, what needs no writing: %+v", d)
	}
	if err := client.ConfigSet(ctx, "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
	if d := take(t, s, p.Charge("k", 2)); !d.Allowed || d.Remaining != 0 {
		t.Errorf("with memory again: %+v", d)
	}
}

// waiting is a context that tells when a call that has it waits for its batch.
type waiting struct {
	context.Context
	waits chan<- struct{}
}

func (w waiting) Done() <-chan struct{} {
	w.waits <- struct{}{}
	return w.Context.Done()
}

// A caller whose context ends returns at once, whatever its batch is doing, and what of it was not sent is not spent.
func TestLeave(t *testing.T) {
	server := testserver.Redis(t)
	l := new(lossy)
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), Dialer: l.dial})
	t.Cleanup(func() { _ = client.Close() })
	s := open(t, client, &Options{Timeout: time.Minute, InFlight: 1})
	p := lasting(100)
	take(t, s, p.Charge("k", 1))
	server.Pause()
	waits := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	errs := make(chan error)
	call := func() {
		_, err := storetest.TakeOne(waiting{ctx, waits}, s, p.Charge("k", 1))
		errs <- err
	}
	before := l.sent.Load()
	go call()
	<-waits
	eventually(t, "a batch is on its way", func() bool { return l.sent.Load() > before })
	for range 19 {
		go call()
		<-waits
	}
	cancel()
	for range 20 {
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Errorf("a caller who left: %v", err)
		}
	}
	server.Resume()
	if d := take(t, s, p.Charge("k", 0)); d.Remaining != 98 {
		t.Errorf("%d are left of 100, after 1 that was answered, 1 that was sent and 19 that left before", d.Remaining)
	}
	if _, err := storetest.TakeOne(ctx, s, p.Charge("k", 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
	if err := s.Reset(ctx, p, "k"); !errors.Is(err, context.Canceled) {
		t.Errorf("a Reset with a context that has ended: %v", err)
	}
}

// A server that does not answer costs a call its timeout and no more; deadlines of callers are kept, too.
func TestTimeout(t *testing.T) {
	s, _, server := newStore(t, &Options{Timeout: 50 * time.Millisecond})
	p := lasting(100)
	take(t, s, p.Charge("k", 1))
	server.Pause()
	for range 5 {
		start := time.Now()
		_, err := storetest.TakeOne(context.Background(), s, p.Charge("k", 1))
		if !errors.Is(err, halt.ErrDeadline) {
			t.Errorf("a server that does not answer: %v", err)
		}
		// The bound is 20 ms above the timeout, which a machine that is busy with other tests can't keep.
		if took := time.Since(start); took > time.Second {
			t.Errorf("it took %v", took)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if _, err := storetest.TakeOne(ctx, s, p.Charge("k", 1)); !errors.Is(err, halt.ErrDeadline) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a caller's deadline: %v", err)
	}
	if err := s.Reset(ctx, p, "k"); !errors.Is(err, halt.ErrDeadline) {
		t.Errorf("a Reset: %v", err)
	}
	server.Resume()
	eventually(t, "it works again", func() bool {
		_, err := storetest.TakeOne(context.Background(), s, p.Charge("k", 0))
		return err == nil
	})
}

// No goroutine stays behind once nobody calls.
func TestNoGoroutineStays(t *testing.T) {
	s, _, server := newStore(t, &Options{Timeout: 20 * time.Millisecond})
	before := runtime.NumGoroutine()
	stop := load(s, lasting(1<<40).Charge("k", 1))
	server.Pause()
	eventually(t, "calls time out", func() bool {
		_, err := storetest.TakeOne(context.Background(), s, lasting(1).Charge("l", 1))
		return errors.Is(err, halt.ErrDeadline)
	})
	server.Resume()
	stop()
	eventually(t, "they are gone", func() bool { return runtime.NumGoroutine() <= before })
}
