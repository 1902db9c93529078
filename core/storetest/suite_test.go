package storetest_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/algorithm"
	"github.com/halt-dev/halt/core/storetest"
)

// mutant is a store that gets one thing wrong, and the case that has to notice.
type mutant struct {
	name   string
	by     string // the case
	flaw   flaw
	coarse time.Duration
}

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

// keyed is a flaw of the storage key.
func keyed(f func(c halt.Charge) string) flaw { return flaw{key: f} }

var mutants = []mutant{
	{name: "check, then act", by: "ConcurrentLimit", flaw: flaw{racy: true}},
	{name: "check, then act, seen by costs", by: "ConcurrentCosts", flaw: flaw{racy: true}},
	{name: "check, then act, seen in flight", by: "ConcurrentInFlight", flaw: flaw{racy: true}},
	{name: "check, then act, seen by calls", by: "ConcurrentCalls", flaw: flaw{racy: true}},
	{name: "forgets what was written", by: "Limit", flaw: flaw{
		state: func(_ *halt.Charge, s *algorithm.State, _ halt.Instant) { *s = algorithm.State{} },
	}},
	{name: "keeps a thousand keys", by: "ManyKeys", flaw: flaw{
		take: func(_ context.Context, r *register, cs []halt.Charge, ds []halt.Decision) error {
			if len(r.m) > 1000 {
				clear(r.m)
			}
			return r.take(cs, ds)
		},
	}},
	{name: "one off in Remaining", by: "Limit", flaw: flaw{
		decision: func(_ *halt.Charge, d *halt.Decision) { d.Remaining = max(0, d.Remaining-1) },
	}},
	{name: "leaves fields as they are", by: "Limit", flaw: flaw{
		take: func(_ context.Context, r *register, cs []halt.Charge, ds []halt.Decision) error {
			was := ds[0].RetryAfter
			err := r.take(cs, ds)
			if ds[0].Allowed {
				ds[0].RetryAfter = was
			}
			return err
		},
	}},
	{name: "a lost reply is tried again", by: "Limit", flaw: flaw{
		take: func(_ context.Context, r *register, cs []halt.Charge, ds []halt.Decision) error {
			if err := r.take(cs, ds); err != nil {
				return err
			}
			return r.take(cs, ds)
		},
	}},
	{name: "spends 1 for a cost of 0", by: "CostZero", flaw: flaw{
		charge: func(c *halt.Charge) { c.Cost = max(c.Cost, 1) },
	}},
	{name: "bids to wait for what never fits", by: "CostAboveCapacity", flaw: flaw{
		decision: func(_ *halt.Charge, d *halt.Decision) { d.RetryAfter = min(d.RetryAfter, time.Hour) },
	}},
	{name: "blocks for what never fits", by: "CostAboveCapacity", flaw: flaw{
		written: func(c *halt.Charge, s *algorithm.State, d *halt.Decision) {
			if d.RetryAfter == halt.Never && c.Mode == halt.Take && c.Policy.Block > 0 {
				s.At, s.Until, d.Blocked = int64(d.At)/c.Policy.Tick().Microseconds(), int64(d.At)/c.Policy.Tick().Microseconds()+99, true
			}
		},
	}},
	{name: "spends what it refuses", by: "Refusal", flaw: flaw{
		written: func(c *halt.Charge, s *algorithm.State, d *halt.Decision) {
			if c.Mode == halt.Take && !d.Allowed && s.At != 0 {
				s.Used += int64(c.Policy.Window / c.Policy.Tick())
			}
		},
	}},
	{name: "Reset keeps the shadow", by: "Reset", flaw: flaw{
		reset: func(r *register, p halt.Policy, key string) { delete(r.m, storageKey(p.Charge(key, 0))) },
	}},
	{name: "Reset forgets all", by: "Reset", flaw: flaw{
		reset: func(r *register, _ halt.Policy, _ string) { clear(r.m) },
	}},
	{name: "changes the caller's charges", by: "Caller", flaw: flaw{
		take: func(_ context.Context, r *register, cs []halt.Charge, ds []halt.Decision) error {
			err := r.take(cs, ds)
			for i := range cs {
				cs[i].Mode = halt.Peek
			}
			return err
		},
	}},
	{name: "leaves goroutines behind", by: "Canceled", flaw: flaw{
		take: func(ctx context.Context, r *register, cs []halt.Charge, ds []halt.Decision) error {
			if ctx.Err() != nil {
				stop := make(chan struct{})
				r.tb.Cleanup(func() { close(stop) })
				go func() { <-stop }()
				return ctx.Err()
			}
			return r.take(cs, ds)
		},
	}},
	{name: "answers nothing for an ended context", by: "Canceled", flaw: flaw{
		take: func(ctx context.Context, r *register, cs []halt.Charge, ds []halt.Decision) error {
			if ctx.Err() != nil {
				return nil
			}
			return r.take(cs, ds)
		},
	}},
	{name: "a Peek spends", by: "Peek", flaw: flaw{
		charge: func(c *halt.Charge) {
			if c.Mode == halt.Peek {
				c.Mode = halt.Take
			}
		},
	}},
	{name: "a Peek blocks", by: "Peek", flaw: flaw{
		charge: func(c *halt.Charge) {
			if c.Mode == halt.Peek && c.Cost > 0 && c.Cost <= c.Policy.Capacity() {
				c.Mode = halt.Shadow // on the real budget; it blocks
			}
		},
	}},
	{name: "shadows share the real budget", by: "Shadow", flaw: keyed(func(c halt.Charge) string {
		if c.Mode == halt.Shadow {
			c.Mode = halt.Take
		}
		c.Shadow = false
		return storageKey(c)
	})},
	{name: "a shadow binds", by: "Shadow", flaw: flaw{
		charge: func(c *halt.Charge) {
			if c.Mode == halt.Shadow {
				c.Mode = halt.Take
			}
		},
		decision: func(c *halt.Charge, d *halt.Decision) { d.Mode = c.Mode },
	}},
	{name: "a Debit of the shadow is real", by: "Shadow", flaw: keyed(func(c halt.Charge) string {
		c.Shadow = false
		return storageKey(c)
	})},
	{name: "a Debit must fit", by: "Debit", flaw: flaw{
		charge: func(c *halt.Charge) {
			if c.Mode == halt.Debit {
				c.Mode = halt.Take
			}
		},
		decision: func(c *halt.Charge, d *halt.Decision) { d.Mode = c.Mode },
	}},
	{name: "a Debit overflows", by: "DebitSaturates", flaw: flaw{
		written: func(c *halt.Charge, s *algorithm.State, _ *halt.Decision) {
			if c.Mode == halt.Debit && c.Cost > 1<<50 {
				s.Used = 1
			}
		},
	}},
	{name: "a Debit ends a block", by: "DebitBlocked", flaw: flaw{
		state: func(c *halt.Charge, s *algorithm.State, _ halt.Instant) {
			if c.Mode == halt.Debit {
				s.Until = 0
			}
		},
	}},
	{name: "no Debit while blocked", by: "DebitBlocked", flaw: flaw{
		state: func(c *halt.Charge, s *algorithm.State, _ halt.Instant) {
			if c.Mode == halt.Debit && s.Until != 0 {
				c.Cost = 0
			}
		},
	}},
	{name: "credits twice", by: "Credit", flaw: flaw{
		take: func(_ context.Context, r *register, cs []halt.Charge, ds []halt.Decision) error {
			err := r.take(cs, ds)
			for i, c := range cs {
				if err == nil && c.Mode == halt.Credit {
					err = r.take(cs[i:i+1], ds[i:i+1])
				}
			}
			return err
		},
	}},
	{name: "no Credit in a refused call", by: "Credit", flaw: flaw{
		take: func(_ context.Context, r *register, cs []halt.Charge, ds []halt.Decision) error {
			if len(cs) == 2 && cs[1].Mode == halt.Credit {
				if err := r.take(cs[:1], ds[:1]); err != nil || !ds[0].Allowed {
					peek := cs[1]
					peek.Mode, peek.Cost = halt.Debit, 0
					return errors.Join(err, r.take([]halt.Charge{peek}, ds[1:]))
				}
				return r.take(cs[1:], ds[1:])
			}
			return r.take(cs, ds)
		},
	}},
	{name: "a leaky bucket gives back", by: "CreditLeaky", flaw: flaw{
		charge: func(c *halt.Charge) {
			if c.Mode == halt.Credit && c.Policy.Algorithm == halt.LeakyBucket {
				c.Policy.Burst = c.Policy.Capacity()
				c.Policy.Algorithm = halt.TokenBucket
			}
		},
	}},
	{name: "credits more than was spent", by: "CreditAtMost", flaw: flaw{
		written: func(c *halt.Charge, s *algorithm.State, d *halt.Decision) {
			if c.Mode == halt.Credit && c.Policy.Algorithm == halt.FixedWindow {
				d.Remaining = max(d.Remaining, c.Cost)
			}
		},
	}},
	{name: "credits as if taken now", by: "CreditLate", flaw: flaw{
		now: func(c *halt.Charge, _ *algorithm.State, now halt.Instant) halt.Instant {
			if c.Mode == halt.Credit {
				c.At = now
			}
			return now
		},
	}},
	{name: "credits what a Reset forgot", by: "CreditReset", flaw: flaw{
		charge: func(c *halt.Charge) {
			if c.Mode == halt.Credit && c.Cost < c.Taken+1 {
				c.Cost, c.Taken = c.Cost*2, c.Taken*2
			}
		},
	}},
	{name: "a Credit ends a block", by: "CreditBlocked", flaw: flaw{
		state: func(c *halt.Charge, s *algorithm.State, _ halt.Instant) {
			if c.Mode == halt.Credit {
				s.Until = 0
			}
		},
	}},
	{name: "never blocks", by: "Block", flaw: flaw{
		charge: func(c *halt.Charge) { c.Policy.Block = 0 },
	}},
	{name: "tells what remains while blocked", by: "Block", flaw: flaw{
		decision: func(_ *halt.Charge, d *halt.Decision) {
			if d.Blocked {
				d.Remaining = 1
			}
		},
	}},
	{name: "extends blocks", by: "BlockNotExtended", flaw: flaw{
		written: func(c *halt.Charge, s *algorithm.State, d *halt.Decision) {
			if d.Blocked && c.Mode == halt.Take {
				s.At = int64(d.At) / c.Policy.Tick().Microseconds()
				s.Until = s.At + int64(c.Policy.Block/c.Policy.Tick())
				d.ResetAfter = max(d.ResetAfter, c.Policy.Block)
			}
		},
	}},
	{name: "blocks for good", by: "BlockPasses", flaw: flaw{
		state: func(c *halt.Charge, s *algorithm.State, now halt.Instant) {
			if s.Until != 0 {
				s.Until = int64(now)/c.Policy.Tick().Microseconds() + 1_000_000
			}
		},
	}},
	{name: "forgets a block with its window", by: "BlockOutlives", flaw: flaw{
		life: func(c *halt.Charge, d *halt.Decision) time.Duration { return min(d.ResetAfter, c.Policy.Window) },
	}},
	{name: "lifts a block if the policy has none any more", by: "BlockChange", flaw: flaw{
		state: func(c *halt.Charge, s *algorithm.State, _ halt.Instant) {
			if c.Policy.Block == 0 {
				s.Until = 0
			}
		},
	}},
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

// TestSuiteRejects feeds the suite stores that break the contract: the case of the rule that each breaks says so.
func TestSuiteRejects(t *testing.T) {
	storetest.Impatient(t)
	seen := make(map[string]bool)
	for _, m := range mutants {
		seen[m.by] = true
		t.Run(m.name, func(t *testing.T) {
			if err := storetest.Check(t, registerHarness(t, m.coarse, flaw{}), m.by); err != nil {
				t.Fatalf("without the flaw: %v", err)
			}
			err := storetest.Check(t, registerHarness(t, m.coarse, m.flaw), m.by)
			if err == nil {
				t.Fatalf("%s has nothing against a store that %s", m.by, m.name)
			}
			t.Log(err)
		})
	}
	for name, rule := range storetest.Rules() {
		if !seen[name] && !strings.HasPrefix(name, "Trace/") {
			t.Errorf("no mutant breaks the rule of %s", name)
		}
		if rule == "" {
			t.Errorf("%s has no rule to tell", name)
		}
	}
}

// TestTracesReject: the random traces alone notice what single cases are made to notice.
func TestTracesReject(t *testing.T) {
	blind := map[string]bool{
		// What shows only under concurrency, in another's medium, with keys that traces don't have, or at the caller.
		"Caller": true, "Canceled": true, "Keys": true, "ManyKeys": true, "Names": true, "TTL": true, "Spelling": true, "ShapeChange": true,
	}
	traces := []string{"Trace/Calls", "Trace/Extreme", "Trace/Clock"}
	for name := range storetest.Rules() {
		if strings.HasPrefix(name, "Trace/") && !strings.Contains(strings.Join(traces, " "), name) {
			traces = append(traces, name)
		}
	}
	for _, m := range mutants {
		if blind[m.by] || strings.HasPrefix(m.by, "Concurrent") || strings.HasPrefix(m.by, "Corrupt") {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			for _, name := range traces {
				if storetest.Check(t, registerHarness(t, m.coarse, m.flaw), name) != nil {
					return
				}
			}
			t.Errorf("no trace has anything against a store that %s", m.name)
		})
	}
}
