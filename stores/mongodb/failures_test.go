package haltmongo

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
)

// lasting is a policy under which nothing comes back while a test runs.
func lasting(limit int64) halt.Policy {
	return halt.Policy{Name: "lasting", Algorithm: halt.FixedWindow, Limit: limit, Window: 1000 * 24 * time.Hour}
}

// eventually waits until done, which it asks again and again.
func eventually(tb testing.TB, what string, done func() bool) {
	tb.Helper()
	const patience = 60 * time.Second
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

// load takes from s in some goroutines until stop is called, which returns how many were admitted.
func load(s *Store, c halt.Charge) (stop func() int64) {
	var wg sync.WaitGroup
	var over atomic.Bool
	var admitted atomic.Int64
	for range 8 {
		wg.Go(func() {
			for !over.Load() {
				if d, err := storetest.TakeOne(context.Background(), s, c); err == nil && d.Allowed {
					admitted.Add(1)
				}
			}
		})
	}
	return func() int64 {
		over.Store(true)
		wg.Wait()
		return admitted.Load()
	}
}

// ownServer skips tests that stop, pause or kill a server, where the servers are not the test's.
func ownServer(t *testing.T) {
	t.Helper()
	if !isSecantus {
		t.Skip("HALT_TEST_MONGODB_URI says where to test, and that server is not ours to kill")
	}
}

// A server that was killed and comes back has kept what was acknowledged, or some of it: it admits the limit once more at
// most. Meanwhile errors say so.
func TestRestart(t *testing.T) {
	t.Parallel()
	ownServer(t)
	s, server := newServer(t, &Options{Timeout: time.Second})
	p := lasting(200)
	used := func() bool {
		d, err := storetest.TakeOne(context.Background(), s, p.Charge("k", 0))
		return err == nil && d.Remaining == 0
	}
	stop := load(s, p.Charge("k", 1))
	eventually(t, "the limit is reached", used)
	server.Kill()
	if _, err := storetest.TakeOne(context.Background(), s, p.Charge("k", 1)); !errors.Is(err, halt.ErrStore) && !errors.Is(err, halt.ErrDeadline) {
		t.Errorf("with the server down: %v", err)
	}
	server.Restart()
	eventually(t, "the limit is reached, again or still", used)
	admitted := stop()
	t.Logf("%d were admitted over two lives of the server", admitted)
	if admitted > 2*p.Limit {
		t.Errorf("%d were admitted over two lives of the server, of %d each", admitted, p.Limit)
	}
}

// A caller whose context ends returns at once, whatever its batch is doing, and what of it was not sent is not spent.
func TestLeave(t *testing.T) {
	t.Parallel()
	ownServer(t)
	s, server := newServer(t, &Options{Timeout: time.Minute})
	p := lasting(100)
	take(t, s, p.Charge("k", 1))
	server.Pause()
	ctx, cancel := context.WithCancel(context.Background())
	errs := make(chan error)
	for range 20 {
		go func() {
			_, err := storetest.TakeOne(ctx, s, p.Charge("k", 1))
			errs <- err
		}()
	}
	cancel()
	for range 20 {
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Errorf("a caller who left: %v", err)
		}
	}
	server.Resume()
	// At most one batch of them was sent: the first, before the others had come.
	if d := take(t, s, p.Charge("k", 0)); d.Remaining < 79 || d.Remaining > 99 {
		t.Errorf("%d are left of 100, after 1 that was answered and 20 that left", d.Remaining)
	}
	if _, err := storetest.TakeOne(ctx, s, p.Charge("k", 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
}

// A server that does not answer costs a call its timeout and no more; deadlines of callers are kept, too.
func TestTimeout(t *testing.T) {
	t.Parallel()
	ownServer(t)
	s, server := newServer(t, &Options{Timeout: 100 * time.Millisecond})
	p := lasting(100)
	eventually(t, "a call is in time", func() bool {
		err := s.Take(context.Background(), []halt.Charge{p.Charge("k", 1), p.Charge("l", 1)}, make([]halt.Decision, 2))
		return err == nil
	})
	server.Pause()
	background := context.Background()
	short, cancel := context.WithTimeout(background, time.Millisecond)
	defer cancel()
	for name, do := range map[string]func() error{
		"a Take": func() error { _, err := storetest.TakeOne(background, s, p.Charge("k", 1)); return err },
		"a call": func() error {
			return s.Take(background, []halt.Charge{p.Charge("k", 1), p.Charge("l", 1)}, make([]halt.Decision, 2))
		},
		"a Reset":          func() error { return s.Reset(background, p, "k") },
		"a caller's time":  func() error { _, err := storetest.TakeOne(short, s, p.Charge("k", 1)); return err },
		"a caller's Reset": func() error { return s.Reset(short, p, "k") },
		"a Credit": func() error {
			_, err := storetest.TakeOne(background, s, halt.Charge{Policy: p, Key: "c", Mode: halt.Credit})
			return err
		},
		"a key not asked":   func() error { _, err := storetest.TakeOne(background, s, p.Charge("m", 1)); return err },
		"a caller who left": func() error { _, err := storetest.TakeOne(short, s, p.Charge("m", 1)); return err },
	} {
		began := time.Now()
		if err := do(); !errors.Is(err, halt.ErrDeadline) {
			t.Errorf("%s, with a server that does not answer: %v", name, err)
		}
		// The bound is 20 ms above the timeout, which a machine that is busy with other tests can't keep.
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("%s took %v", name, took)
		}
	}
	server.Resume()
	eventually(t, "it works again", func() bool {
		_, err := storetest.TakeOne(background, s, p.Charge("k", 0))
		return err == nil
	})
}

// No goroutine stays behind once nobody calls.
func TestNoGoroutineStays(t *testing.T) {
	ownServer(t)
	s, server := newServer(t, &Options{Timeout: 50 * time.Millisecond})
	client := s.collection.Database().Client()
	stop := load(s, lasting(1<<40).Charge("k", 1))
	server.Pause()
	eventually(t, "calls time out", func() bool {
		_, err := storetest.TakeOne(context.Background(), s, lasting(1).Charge("l", 1))
		return errors.Is(err, halt.ErrDeadline)
	})
	server.Resume()
	stop()
	if err := client.Disconnect(context.Background()); err != nil { // the driver has some of its own until then
		t.Fatal(err)
	}
	eventually(t, "they are gone", func() bool {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		return !containsAny(string(stacks), "core/combine.(*Combiner", "haltmongo.(*sender)")
	})
}

func containsAny(s string, parts ...string) bool {
	for _, p := range parts {
		if strings.Contains(s, p) {
			return true
		}
	}
	return false
}
