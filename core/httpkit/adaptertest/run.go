package adaptertest

import (
	"bytes"
	"fmt"
	"runtime"
	"runtime/pprof"
	"testing"
	"time"
)

// patience is how long the suite waits for what should happen at once. Only broken adapters make it wait.
const patience = 20 * time.Second

// check is one thing that every adapter has to do. It returns what an adapter does wrong.
type check[R, M, H any] struct {
	name  string
	rule  string // what is expected, in full sentences
	lacks func(Harness[R, M, H]) string
	run   func(*world[R, M, H]) error
}

func checks[R, M, H any]() []check[R, M, H] {
	type w = world[R, M, H]
	return []check[R, M, H]{
		{
			name: "Trace",
			rule: "The answers to the requests of the trace are the same bytes from every adapter, and tell no internals.",
			run:  (*w).trace,
		},
		{
			name: "Wiring",
			rule: "A Config that can't be used panics at wiring, with an error that matches guard.ErrInvalidConfig and names every fault.",
			run:  (*w).wiring,
		},
		{
			name: "Keys",
			rule: "The keys that are counted are the same from every adapter, and neither they nor routes alias the framework's buffers.",
			run:  (*w).keys,
		},
		{
			name: "LeavesInDelay",
			rule: "When a client hangs up during a delay, its handler doesn't run, its request settles as 499 and gives back its place in flight.",
			run:  (*w).leavesInDelay,
		},
		{
			name: "LeavesInHandler",
			rule: "When a client hangs up while its handler runs, its place in flight is taken until the handler is done. Then it is given back, and the request settled.",
			run:  (*w).leavesInHandler,
		},
		{
			name: "DeadlineInDelay",
			rule: "When a server's own timeout ends a request during its delay, the handler doesn't run, the answer is a 503, and its place in flight is given back.",
			lacks: func(h Harness[R, M, H]) string {
				if h.Deadline == nil {
					return "no middleware can end a request's context (no Deadline)"
				}
				return ""
			},
			run: (*w).deadlineInDelay,
		},
		{
			name: "Crowd",
			rule: "Of requests at the same time exactly the limit is admitted.",
			run:  (*w).crowd,
		},
		{
			name: "Streams",
			rule: "What a handler flushes arrives while it runs, on a settled route too, and settles as its status.",
			run:  (*w).streams,
		},
		{
			name: "LargeBodies",
			rule: "Large bodies pass through a settled route as they are.",
			run:  (*w).largeBodies,
		},
		{
			name: "UnreadBody",
			rule: "A request that is refused before its body was read is answered, and the next one served.",
			run:  (*w).unread,
		},
		{
			name: "Upgrade",
			rule: "A handler can take over the connection on a settled route. Nothing is written to it afterwards, and its place in flight is given back when the handler returns.",
			lacks: func(h Harness[R, M, H]) string {
				if !h.Hijack {
					return "connections can't be taken over (no Hijack)"
				}
				return ""
			},
			run: (*w).upgrade,
		},
	}
}

// Run holds the adapter against every rule, each in a subtest of its own. It is not parallel, and expects that nothing
// else runs beside it.
func Run[R, M, H any](t *testing.T, h Harness[R, M, H]) {
	t.Helper()
	// What a framework starts once and never stops is not the adapter's.
	t.Run("WarmUp", func(t *testing.T) {
		if err := newWorld(t, h, patience).warmUp(); err != nil {
			t.Fatal(err)
		}
	})
	before := runtime.NumGoroutine()
	for _, c := range checks[R, M, H]() {
		t.Run(c.name, func(t *testing.T) {
			if c.lacks != nil {
				if why := c.lacks(h); why != "" {
					t.Skip(why)
				}
			}
			if err := c.run(newWorld(t, h, patience)); err != nil {
				t.Errorf("%v\n\nThe rule: %s", err, c.rule)
			}
		})
	}
	if err := goroutinesEnd(before, patience); err != nil {
		t.Error(err)
	}
}

func (w *world[R, M, H]) trace() error {
	got, err := w.transcript()
	if err != nil {
		return err
	}
	return compare(got, golden)
}

// warmUp serves one request.
func (w *world[R, M, H]) warmUp() error {
	w.route("GET", "/")
	c := w.open()
	defer c.close()
	_, err := c.get("/")
	return err
}

// goroutinesEnd waits until there are no more goroutines than n.
func goroutinesEnd(n int, patience time.Duration) error {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for runtime.NumGoroutine() > n {
		select {
		case <-again.C:
		case <-deadline.C:
			var stacks bytes.Buffer
			_ = pprof.Lookup("goroutine").WriteTo(&stacks, 1) // to memory
			return fmt.Errorf("%d goroutines before, %d after:\n%s", n, runtime.NumGoroutine(), stacks.String())
		}
	}
	return nil
}
