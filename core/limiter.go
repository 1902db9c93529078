package halt

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/halt-dev/halt/core/internal/seldom"
)

// Options are a [Limiter]'s. The zero value, or nil, is the default.
type Options struct {
	// Observers see every call. Without any, failures are logged to slog.Default, one in ten seconds; with any, that is
	// theirs to do.
	Observers []Observer
}

// Limiter decides charges against a store: it validates them, lets Unlimited policies through, and shows every call to
// its observers. It is safe for concurrent use; a program needs one per store.
type Limiter struct {
	store     Store
	name      string
	observers []guardedObserver
	counted   bool // all observers only count
	failures  seldom.Gate
}

// New returns a limiter on the store. It panics if the store or an observer is nil. A zero Limiter is of no use.
func New(store Store, o *Options) *Limiter {
	if store == nil {
		panic("halt: New needs a Store") //nolint:forbidigo // wrong at wiring
	}
	l := &Limiter{store: store, name: "custom"}
	if n, ok := store.(interface{ Name() string }); ok {
		l.name = n.Name()
	}
	if o != nil {
		l.counted = len(o.Observers) > 0
		for _, ob := range o.Observers {
			if ob == nil {
				panic("halt: New got a nil Observer") //nolint:forbidigo // wrong at wiring
			}
			l.observers = append(l.observers, guardedObserver{ob})
			if c, ok := ob.(counter); !ok || !c.OnlyCounts() {
				l.counted = false
			}
		}
	}
	return l
}

// Observed tells whether anybody observes: a caller can spare what is for observers alone, such as a Call's Route.
func (l *Limiter) Observed() bool { return len(l.observers) > 0 }

// Allow spends 1 of key's budget under p if it fits. A refusal is a Decision that is not Allowed, never an error. Under a
// LeakyBucket the caller is to wait for the Decision's Delay then.
//
// An invalid policy, or an empty key, is ErrInvalidPolicy or ErrInvalidCharge, and spends nothing; after any other error it
// is unknown whether it was spent.
func (l *Limiter) Allow(ctx context.Context, p Policy, key string) (Decision, error) {
	return l.single(ctx, &p, key, 1, Take)
}

// AllowN spends n if it fits. 0 spends nothing; a negative n is an error that matches ErrInvalidCharge.
func (l *Limiter) AllowN(ctx context.Context, p Policy, key string, n int64) (Decision, error) {
	return l.single(ctx, &p, key, n, Take)
}

// Peek tells what Allow would, and spends nothing.
func (l *Limiter) Peek(ctx context.Context, p Policy, key string) (Decision, error) {
	return l.single(ctx, &p, key, 1, Peek)
}

// AllowAll decides several charges as one call: either all of its Takes are spent, or none. No two of them may have the
// same storage key. See [Decisions.Allowed].
func (l *Limiter) AllowAll(ctx context.Context, charges ...Charge) (Decisions, error) {
	c := Call{Charges: charges}
	if err := l.Do(ctx, &c); err != nil {
		return nil, err
	}
	return c.Decisions, nil
}

// Reset forgets what key has used under p, its block included, so that it is as one never seen.
func (l *Limiter) Reset(ctx context.Context, p Policy, key string) error {
	c := Charge{Policy: p, Key: key}
	if err := c.validate(); err != nil {
		return err
	}
	if p.Limit == Unlimited {
		return nil
	}
	return typed(l.store.Reset(ctx, p, key))
}

// single decides one charge, in a call from the pool, which costs less than the copies of a charge and a decision that a
// call by value makes.
func (l *Limiter) single(ctx context.Context, p *Policy, key string, n int64, m Mode) (d Decision, err error) {
	call := calls.Get().(*Call)
	c := &call.Charges[0]
	if !call.knows(p) {
		if !p.check(nil) {
			calls.Put(call)
			return Decision{}, p.Validate()
		}
		call.valid, c.Policy = *p, *p
	}
	c.Key, c.Cost, c.Mode = key, n, m
	call.Decisions[0] = Decision{} // of a store that decides nothing no other's is to be seen
	if err = c.validateRest(); err == nil {
		if err = l.decide(ctx, call); err == nil {
			d = call.Decisions[0]
		}
	}
	call.release()
	return d, err
}

// Call is one call of several charges, with what observers want to know of it. Guards keep them in a pool: the slices
// are reused by the next Do.
type Call struct {
	Charges   []Charge
	Decisions Decisions // set by Do: one per charge
	Route     string    // for observers: the route's pattern or the operation's name
	FailOpen  bool      // for observers: the caller goes on if the store fails
	Internal  bool      // for observers: nobody asked for it; see Event

	limited   []Charge // those that the store decides, if not all
	decisions []Decision
	event     Event
	quick     *Limiter // whose store answered so quickly that the next calls need not be timed
	spared    int      // how many of them there were
	valid     Policy   // the last one that was checked where a call had one charge
}

// calls are those of one charge, which single fills in where it is. Their events are complete but for what a call changes.
var calls = sync.Pool{New: func() any {
	c := &Call{Charges: make([]Charge, 1), Decisions: make(Decisions, 1)}
	c.event = Event{Charges: c.Charges, Decisions: c.Decisions}
	return c
}}

// release returns a call to calls, without what belongs to somebody else. If the store panics it is not called, and the
// call is garbage.
func (c *Call) release() {
	c.Charges[0].Key = ""
	c.event.Err = nil
	calls.Put(c)
}

// Do decides c.Charges as one call and sets c.Decisions, whose memory it reuses. After an error they have no meaning.
// A call without charges is admitted.
func (l *Limiter) Do(ctx context.Context, c *Call) error {
	if err := c.validate(); err != nil {
		return err
	}
	n := len(c.Charges)
	if cap(c.Decisions) < n {
		c.Decisions = make(Decisions, n)
	}
	c.Decisions = c.Decisions[:n]
	clear(c.Decisions) // see single
	return l.decide(ctx, c)
}

// decide decides a valid call, which has room for its decisions, and shows it to the observers.
func (l *Limiter) decide(ctx context.Context, c *Call) error {
	if len(l.observers) == 0 {
		return l.take(ctx, c)
	}
	e := &c.event
	e.Charges, e.Decisions, e.Elapsed, e.Err, e.FailedOpen = c.Charges, nil, 0, nil, false
	e.Route, e.Store, e.Internal = c.Route, l.name, c.Internal
	if l.counted {
		start := c.start(l)
		c.end(ctx, l, start, l.take(ctx, c))
		l.count(ctx, e)
		return e.Err
	}
	var nested [4]context.Context
	ctxs := nested[:0]
	for i := range l.observers {
		ctx = l.observers[i].start(ctx, e)
		ctxs = append(ctxs, ctx)
	}
	start := c.start(l)
	c.end(ctx, l, start, l.take(ctx, c))
	for i := range slices.Backward(l.observers) {
		l.observers[i].end(ctxs[i], e)
	}
	return e.Err
}

// count shows a call to observers that only count.
func (l *Limiter) count(ctx context.Context, e *Event) {
	for i := len(l.observers) - 1; i >= 0; i-- {
		l.observers[i].end(ctx, e)
	}
}

// If all observers only count, a store that answered within quickly is not timed for the next spared calls: reading the
// clock twice takes as long as half a decision in memory.
const (
	quickly = time.Microsecond
	spared  = 63
	untimed = time.Duration(-1)
)

// epoch is what time is measured from: a reading of the monotonic clock alone takes half as long as a time.Now.
var epoch = time.Now()

// start returns when the call starts, since the epoch, or untimed.
func (c *Call) start(l *Limiter) time.Duration {
	if c.quick == l && c.spared < spared {
		c.spared++
		return untimed
	}
	return time.Since(epoch)
}

// stop notes how long the call took that started then.
func (c *Call) stop(l *Limiter, start time.Duration) {
	c.event.Elapsed = 0
	if start != untimed {
		c.event.Elapsed = time.Since(epoch) - start
		c.quick, c.spared = nil, 0
		if l.counted && c.event.Elapsed < quickly {
			c.quick = l
		}
	}
}

// end completes the event of a call that started then.
func (c *Call) end(ctx context.Context, l *Limiter, start time.Duration, err error) {
	c.stop(l, start)
	e := &c.event
	e.Decisions, e.Err, e.FailedOpen = c.Decisions, err, err != nil && c.FailOpen && ctx.Err() == nil
}

// take decides a valid call.
func (l *Limiter) take(ctx context.Context, c *Call) error {
	cs, ds := c.Charges, []Decision(c.Decisions)
	some := false
	for i := range cs {
		if cs[i].Policy.Limit == Unlimited {
			some = true
		}
	}
	if some {
		c.limited, c.decisions = c.limited[:0], c.decisions[:0]
		for i := range cs {
			if cs[i].Policy.Limit == Unlimited {
				ds[i] = unlimited(&cs[i])
			} else {
				c.limited = append(c.limited, cs[i])
				c.decisions = append(c.decisions, Decision{})
			}
		}
		cs, ds = c.limited, c.decisions
	}
	if len(cs) > 0 {
		err := l.store.Take(ctx, cs, ds)
		clear(c.limited) // a call that is kept for the next one keeps no keys
		if err != nil {
			return l.failed(ctx, err, c.FailOpen)
		}
	}
	if some {
		for i := range c.Charges {
			if c.Charges[i].Policy.Limit != Unlimited {
				c.Decisions[i] = ds[0]
				ds = ds[1:]
			}
		}
	}
	return nil
}

// failed returns the store's error as one of the package's kinds, and tells the operator if no observer does.
func (l *Limiter) failed(ctx context.Context, err error, failOpen bool) error {
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return ctx.Err() // the caller has gone, the store has not failed
	}
	err = typed(err)
	if len(l.observers) == 0 {
		l.logFailure(ctx, err, failOpen && ctx.Err() == nil)
	}
	return err
}

// unlimited is the decision on a charge of an Unlimited policy.
func unlimited(c *Charge) Decision {
	return Decision{Mode: c.Mode, Allowed: true, Limit: Unlimited, Remaining: math.MaxInt64}
}

// validate checks each charge, and that no two draw on one budget.
func (c *Call) validate() error {
	if len(c.Charges) != 1 {
		return validateAll(c.Charges)
	}
	p := &c.Charges[0].Policy
	if !c.knows(p) {
		if !p.check(nil) {
			return p.Validate()
		}
		c.valid = *p
	}
	return c.Charges[0].validateRest()
}

// knows tells whether p has been checked already, as in a call that comes again: to compare it costs less than to check it.
func (c *Call) knows(p *Policy) bool { return c.valid == *p && p.Name != "" }

// validateAll checks each charge, and that no two draw on one budget.
func validateAll(cs []Charge) error {
	for i := range cs {
		if err := cs[i].validate(); err != nil {
			return err
		}
	}
	if len(cs) > 16 {
		seen := make(map[string]struct{}, len(cs))
		for i := range cs {
			k := StorageKey("", cs[i])
			if _, dup := seen[k]; dup {
				return duplicate(&cs[i])
			}
			seen[k] = struct{}{}
		}
		return nil
	}
	for i := range cs {
		for j := range i {
			if sameBudget(&cs[i], &cs[j]) {
				return duplicate(&cs[i])
			}
		}
	}
	return nil
}

func duplicate(c *Charge) error {
	return invalidCharge(c.Policy.Name, "Key", "another: two charges of the call draw on one budget")
}

// guardedObserver keeps an observer's panic from the caller.
type guardedObserver struct{ Observer }

func (g *guardedObserver) start(ctx context.Context, e *Event) (out context.Context) {
	defer func() {
		if recover() != nil || out == nil {
			out = ctx
		}
	}()
	return g.Observer.Start(ctx, e)
}

func (g *guardedObserver) end(ctx context.Context, e *Event) {
	defer func() { _ = recover() }()
	g.Observer.End(ctx, e)
}
