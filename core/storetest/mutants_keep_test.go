package storetest_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"strings"
	"sync"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/algorithm"
)

// asOne is a Take that decides the charges one after the other, each as a call of its own.
func asOne(_ context.Context, r *register, cs []halt.Charge, ds []halt.Decision) error {
	for i := range cs {
		if err := r.take(cs[i:i+1], ds[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}

// inOrder takes in order and gives back on a refusal, without a look at all of them first.
func inOrder(_ context.Context, r *register, cs []halt.Charge, ds []halt.Decision) error {
	for i := range cs {
		if err := r.take(cs[i:i+1], ds[i:i+1]); err != nil {
			return err
		}
		if ds[i].Allowed || !cs[i].Mode.Binds() {
			continue
		}
		for j := range i {
			c := cs[j]
			if c.Mode == halt.Take {
				c.Mode, c.At, c.Taken = halt.Credit, ds[j].At, c.Cost
				var d [1]halt.Decision
				_ = r.take([]halt.Charge{c}, d[:])
			}
		}
		for j := i + 1; j < len(cs); j++ {
			c := cs[j]
			if c.Mode == halt.Take {
				c.Mode = halt.Peek
			}
			if err := r.take([]halt.Charge{c}, ds[j:j+1]); err != nil {
				return err
			}
			ds[j].Mode = cs[j].Mode
		}
		return nil
	}
	return nil
}

// keepers get keys, calls, time, their medium or concurrency wrong.
var keepers = []mutant{
	{name: "starts afresh at another Limit", by: "LimitChange", flaw: keyed(func(c halt.Charge) string {
		return fmt.Sprint(storageKey(c), c.Policy.Limit)
	})},
	{name: "ignores the Window in the identity", by: "ShapeChange", flaw: keyed(func(c halt.Charge) string {
		return fmt.Sprint(c.Policy.Name, c.Policy.Algorithm, c.OnShadow(), c.Policy.SubWindows(), c.Policy.Period, c.Key)
	})},
	{name: "ignores the Algorithm in the identity", by: "ShapeChange", flaw: keyed(func(c halt.Charge) string {
		return fmt.Sprint(c.Policy.Name, c.Policy.Window, c.OnShadow(), c.Policy.SubWindows(), c.Policy.Period, c.Key)
	})},
	{name: "takes the Precision as it is spelled", by: "Spelling", flaw: keyed(func(c halt.Charge) string {
		return fmt.Sprint(storageKey(c), c.Policy.Precision)
	})},
	{name: "takes the Zone as it is spelled", by: "Spelling", flaw: keyed(func(c halt.Charge) string {
		return fmt.Sprint(storageKey(c), c.Policy.Period.Zone)
	})},
	{name: "knows but UTC", by: "Period", flaw: flaw{
		charge: func(c *halt.Charge) { c.Policy.Period.Zone = "" },
	}},
	{name: "one budget for all keys", by: "Keys", flaw: keyed(func(c halt.Charge) string {
		c.Key = "all"
		return storageKey(c)
	})},
	{name: "cuts long keys", by: "Keys", flaw: keyed(func(c halt.Charge) string {
		c.Key = c.Key[:min(len(c.Key), 4096)]
		return storageKey(c)
	})},
	{name: "ends keys at NUL", by: "Keys", flaw: keyed(func(c halt.Charge) string {
		c.Key, _, _ = strings.Cut(c.Key+"\x00", "\x00")
		return storageKey(c)
	})},
	{name: "makes keys valid UTF-8", by: "Keys", flaw: keyed(func(c halt.Charge) string {
		c.Key = strings.ToValidUTF8(c.Key, "\ufffd")
		return storageKey(c)
	})},
	{name: "trims keys", by: "Keys", flaw: keyed(func(c halt.Charge) string {
		c.Key = strings.TrimSpace(c.Key)
		return storageKey(c)
	})},
	{name: "folds the case of keys", by: "Keys", flaw: keyed(func(c halt.Charge) string {
		c.Key = strings.ToLower(c.Key)
		return storageKey(c)
	})},
	{name: "runs name and key together", by: "Names", flaw: keyed(func(c halt.Charge) string {
		return fmt.Sprint(c.Policy.Name, c.Key, c.OnShadow(), c.Policy.Algorithm, c.Policy.Window, c.Policy.Period, c.Policy.SubWindows())
	})},
	{name: "a shadow's mark can be a key's", by: "Names", flaw: keyed(func(c halt.Charge) string {
		k := halt.StorageKey("", halt.Charge{Policy: c.Policy})
		if c.OnShadow() {
			k += "~"
		}
		return k + c.Key
	})},
	{name: "decides each charge by itself", by: "CallRefused", flaw: flaw{take: asOne}},
	{name: "gives back without a look first", by: "CallRefused", flaw: flaw{take: inOrder}},
	{name: "takes, then gives back: what was left shows", by: "CallReads", flaw: flaw{take: inOrder}},
	{name: "decides each charge by itself, seen by the shared budgets", by: "CallBefore", flaw: flaw{take: asOne}},
	{name: "only the first of a call is spent", by: "CallSpends", flaw: flaw{
		take: func(_ context.Context, r *register, cs []halt.Charge, ds []halt.Decision) error {
			own := append([]halt.Charge(nil), cs...)
			for i := 1; i < len(own); i++ {
				own[i].Mode = halt.Peek
			}
			return r.take(own, ds)
		},
	}},
	{name: "a refused call blocks nothing", by: "CallBlocks", flaw: flaw{
		take: func(_ context.Context, r *register, cs []halt.Charge, ds []halt.Decision) error {
			own := append([]halt.Charge(nil), cs...)
			for i := range own {
				if len(own) > 1 {
					own[i].Policy.Block = 0
				}
			}
			return r.take(own, ds)
		},
	}},
	{name: "a refused call has no effect at all", by: "CallSides", flaw: flaw{
		take: func(_ context.Context, r *register, cs []halt.Charge, ds []halt.Decision) error {
			before := maps.Clone(r.m)
			err := r.take(cs, ds)
			if !halt.Decisions(ds).Allowed() {
				r.m = before
			}
			return err
		},
	}},
	{name: "drains nothing", by: "Regain", flaw: flaw{
		state: func(c *halt.Charge, s *algorithm.State, now halt.Instant) {
			if s.At != 0 {
				s.At = int64(now) / c.Policy.Tick().Microseconds()
			}
		},
	}},
	{name: "RetryAfter a tick short, by floats", by: "RetryAfter", flaw: flaw{
		decision: func(c *halt.Charge, d *halt.Decision) {
			if d.RetryAfter > time.Second && d.RetryAfter != halt.Never && c.Policy.Limit == 7 {
				d.RetryAfter -= c.Policy.Tick()
			}
		},
	}},
	{name: "RetryAfter a tick too long", by: "RetryAfter", flaw: flaw{
		decision: func(c *halt.Charge, d *halt.Decision) {
			if d.RetryAfter > 0 && d.RetryAfter != halt.Never {
				d.RetryAfter += c.Policy.Tick()
			}
		},
	}},
	{name: "rounds up to no millisecond", by: "RetryAfter", flaw: flaw{unrounded: true}, coarse: time.Millisecond},
	{name: "ResetAfter a tick short", by: "ResetAfter", flaw: flaw{
		decision: func(c *halt.Charge, d *halt.Decision) { d.ResetAfter = max(0, d.ResetAfter-c.Policy.Tick()) },
	}},
	{name: "Delay rounded down", by: "Delay", flaw: flaw{
		decision: func(_ *halt.Charge, d *halt.Decision) { d.Delay = d.Delay / time.Millisecond * time.Millisecond },
	}},
	{name: "At from a clock of its own", by: "At", flaw: flaw{
		now: func(c *halt.Charge, _ *algorithm.State, now halt.Instant) halt.Instant {
			if c.Cost > 0 {
				now += 2_000_000
			}
			return now
		},
	}},
	{name: "goes back with its clock", by: "ClockBack", flaw: flaw{
		state: func(c *halt.Charge, s *algorithm.State, now halt.Instant) {
			s.At = min(s.At, int64(now)/c.Policy.Tick().Microseconds())
		},
	}},
	{name: "a bad clock locks a key for a day", by: "ClockAhead", flaw: flaw{
		now: func(c *halt.Charge, s *algorithm.State, now halt.Instant) halt.Instant {
			return max(now, halt.Instant(s.At*c.Policy.Tick().Microseconds()))
		},
	}},
	{name: "entries end early", by: "TTL", flaw: flaw{
		life: func(_ *halt.Charge, d *halt.Decision) time.Duration { return d.ResetAfter - d.ResetAfter/100 },
	}},
	{name: "entries outlive the window, not the block", by: "TTL", flaw: flaw{
		life: func(c *halt.Charge, d *halt.Decision) time.Duration { return min(d.ResetAfter, c.Policy.Window*2) },
	}},
	{name: "entries never end", by: "TTL", flaw: flaw{
		life: func(*halt.Charge, *halt.Decision) time.Duration { return 100 * 365 * 24 * time.Hour },
	}},
	{name: "takes a corrupt value for none", by: "Corrupt", flaw: flaw{
		corrupt: func(*register, *halt.Charge, error) error { return nil },
	}},
	{name: "wipes a corrupt value", by: "Corrupt", flaw: flaw{
		corrupt: func(r *register, c *halt.Charge, cause error) error {
			delete(r.m, r.key(*c))
			return cause
		},
	}},
	{name: "panics at a corrupt value", by: "Corrupt", flaw: flaw{
		corrupt: func(*register, *halt.Charge, error) error { panic("index out of range") },
	}},
	{name: "an untyped error", by: "Corrupt", flaw: flaw{
		corrupt: func(*register, *halt.Charge, error) error { return errors.New("invalid character 'O'") },
	}},
	{name: "tells the key", by: "Corrupt", flaw: flaw{
		corrupt: func(_ *register, c *halt.Charge, cause error) error { return fmt.Errorf("%s: %w", c.Key, cause) },
	}},
	{name: "spends beside a corrupt value", by: "CorruptCall", flaw: flaw{take: asOne}},
	{name: "a corrupt value fails its whole batch", by: "CorruptBatch", flaw: flaw{
		take: func() func(ctx context.Context, r *register, cs []halt.Charge, ds []halt.Decision) error {
			var mu sync.Mutex
			var batch error
			return func(_ context.Context, r *register, cs []halt.Charge, ds []halt.Decision) error {
				err := r.take(cs, ds)
				runtime.Gosched()
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					err, batch = batch, nil
				} else {
					batch = err
				}
				return err
			}
		}(),
	}},
	{name: "reads its clock once a charge", by: "CallSpends", flaw: flaw{
		decision: func(c *halt.Charge, d *halt.Decision) {
			if c.Policy.Algorithm == halt.SlidingWindow {
				d.At += 2_000_000
			}
		},
	}},
	{name: "computes in 32 bits", by: "Trace/Extreme", flaw: flaw{
		charge: func(c *halt.Charge) { c.Cost = int64(float32(c.Cost)) },
	}},
	{name: "errs under contention", by: "ConcurrentKeys", flaw: flaw{
		take: func(_ context.Context, r *register, cs []halt.Charge, ds []halt.Decision) error {
			if r.calls.Load()%50 == 49 {
				r.calls.Add(1)
				return halt.ErrContention
			}
			return r.take(cs, ds)
		},
	}},
	{name: "locks in the order of the call", by: "ConcurrentCalls", flaw: flaw{
		take: func() func(ctx context.Context, r *register, cs []halt.Charge, ds []halt.Decision) error {
			var locks sync.Map
			return func(_ context.Context, r *register, cs []halt.Charge, ds []halt.Decision) error {
				for _, c := range cs {
					l, _ := locks.LoadOrStore(storageKey(c), new(sync.Mutex))
					l.(*sync.Mutex).Lock()
					defer l.(*sync.Mutex).Unlock()
					runtime.Gosched()
				}
				return r.take(cs, ds)
			}
		}(),
	}},
	{name: "regains what time has not brought", by: "ConcurrentTime", flaw: flaw{
		take: func(_ context.Context, r *register, cs []halt.Charge, ds []halt.Decision) error {
			if r.calls.Load()%50 == 49 {
				r.mu.Lock()
				clear(r.m)
				r.mu.Unlock()
			}
			return r.take(cs, ds)
		},
	}},
}
