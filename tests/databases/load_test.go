package databases

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
)

// callers is how many goroutines call.
const callers = 32

// Nothing comes back by itself under these.
var (
	tight = halt.Policy{Name: "tight", Algorithm: halt.FixedWindow, Limit: 200, Window: 1000 * 24 * time.Hour}
	wide  = halt.Policy{Name: "wide", Algorithm: halt.FixedWindow, Limit: 1 << 40, Window: 1000 * 24 * time.Hour}
)

const loan = 1 << 30

// secret is in every key, and must not be in any error.
const secret = "secret-of-alice"

var keys atomic.Int64

// budget is one that calls draw on, and what callers were told of it.
type budget struct {
	policy   halt.Policy
	key      string
	admitted atomic.Int64 // by Takes that were answered
	debited  atomic.Int64 // by Debits that were
	credited atomic.Int64 // by Credits that were sent, answered or not
	sent     atomic.Int64 // of owed and lent: by all Debits, or Credits
	answered atomic.Int64 // of owed and lent: by those that were answered
}

func newBudget(p halt.Policy) *budget {
	return &budget{policy: p, key: fmt.Sprintf("%s-%d", secret, keys.Add(1))}
}

func (b *budget) charge(cost int64, m halt.Mode) halt.Charge {
	return halt.Charge{Policy: b.policy, Key: b.key, Cost: cost, Mode: m}
}

// load are callers of a store, and what became of their calls.
type load struct {
	t       *testing.T
	s       halt.Store
	timeout time.Duration
	locks   bool // see database
	rand    *rand.Rand
	wides   []*budget
	tights  []*budget // one for each phase, so that no phase has only refusals
	tight   atomic.Pointer[budget]
	owed    *budget // there are only Debits
	lent    *budget // one Take of loan, at the instant since, and then only Credits
	since   halt.Instant

	over    atomic.Bool
	wg      sync.WaitGroup
	decided atomic.Int64
	failed  atomic.Int64

	mu     sync.Mutex
	kinds  map[string]int
	faults map[string]int           // errors that should not be
	worst  map[string]time.Duration // of the calls of a kind
}

func newLoad(t *testing.T, s halt.Store, timeout time.Duration) *load {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	l := &load{
		t: t, s: s, timeout: timeout, rand: rand.New(rand.NewPCG(seed, 0)),
		kinds: map[string]int{}, faults: map[string]int{}, worst: map[string]time.Duration{},
	}
	for range 4 {
		l.wides = append(l.wides, newBudget(wide))
	}
	l.next()
	l.owed = newBudget(wide)
	within(t, patience, "a Take is decided", func() bool {
		l.lent = newBudget(wide) // another one each time, since nobody knows what became of the last
		d, err := storetest.TakeOne(context.Background(), s, l.lent.charge(loan, halt.Take))
		l.since = d.At
		return err == nil
	})
	return l
}

// next begins a phase.
func (l *load) next() {
	b := newBudget(tight)
	l.tights = append(l.tights, b)
	l.tight.Store(b)
}

func (l *load) start() {
	for range callers {
		c := &caller{load: l, rand: rand.New(rand.NewPCG(l.rand.Uint64(), 0))}
		l.wg.Go(func() {
			for !l.over.Load() {
				c.call()
			}
		})
	}
}

func (l *load) stop() {
	l.over.Store(true)
	l.wg.Wait()
}

// decides waits until n more calls were decided, and returns for how long.
func (l *load) decides(n int64, d time.Duration) time.Duration {
	l.t.Helper()
	from := l.decided.Load()
	return within(l.t, d, fmt.Sprintf("%d more decisions", n), func() bool { return l.decided.Load() >= from+n })
}

// fails waits until calls of all callers have failed.
func (l *load) fails() {
	l.t.Helper()
	from := l.failed.Load()
	within(l.t, patience, "calls fail", func() bool { return l.failed.Load() >= from+2*callers })
}

// ends waits until n more calls were decided or have failed.
func (l *load) ends(n int64) {
	l.t.Helper()
	from := l.failed.Load() + l.decided.Load()
	within(l.t, patience, "calls end", func() bool { return l.failed.Load()+l.decided.Load() >= from+n })
}

// ended counts a call.
func (l *load) ended(what string, took time.Duration, err error) {
	if err == nil {
		l.decided.Add(1)
	} else {
		l.failed.Add(1)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.worst[what] = max(l.worst[what], took)
	if err == nil {
		return
	}
	kind := halt.ErrorKind(err)
	l.kinds[kind]++
	switch text := fmt.Sprintf("%v %+v %#v", err, err, err); {
	case strings.Contains(text, secret), strings.Contains(text, hex.EncodeToString([]byte(secret))),
		strings.Contains(text, base64.StdEncoding.EncodeToString([]byte(secret))):
		l.faults["tells a key: "+err.Error()]++
	case kind != "deadline" && kind != "store" && kind != "contention":
		l.faults["of the kind "+kind+": "+err.Error()]++
	}
}

// check tells what became of the calls, and looks for what must not be.
func (l *load) check() {
	l.t.Helper()
	l.t.Logf("%d calls decided, failed: %v", l.decided.Load(), l.kinds)
	for what, worst := range l.worst {
		l.t.Logf("the longest call of a %s took %v, %v beyond its timeout", what, worst.Round(time.Microsecond), (worst - l.timeout).Round(time.Microsecond))
		if worst > l.timeout+leeway {
			l.t.Errorf("a call of a %s took %v, with a timeout of %v", what, worst, l.timeout)
		}
	}
	for fault, n := range l.faults {
		l.t.Errorf("%d errors: %s", n, fault)
	}
	for _, b := range l.tights {
		if !l.locked(b) {
			l.exhaust(b)
		}
		if n := b.admitted.Load(); n > b.policy.Limit {
			l.t.Errorf("%d were admitted, of %d", n, b.policy.Limit)
		}
	}
	if spent, least, most := wide.Limit-l.remaining(l.owed), l.owed.answered.Load(), l.owed.sent.Load(); spent < least || spent > most {
		l.t.Errorf("%d are spent by Debits of %d, of which %d were answered", spent, most, least)
	}
	if back, least, most := loan-(wide.Limit-l.remaining(l.lent)), l.lent.answered.Load(), l.lent.sent.Load(); back < least || back > most {
		l.t.Errorf("%d were given back by Credits of %d, of which %d were answered", back, most, least)
	}
	for _, b := range append(slices.Clone(l.wides), l.tights...) {
		if l.locked(b) {
			continue
		}
		spent := b.policy.Limit - l.remaining(b)
		admitted, debited, credited := b.admitted.Load(), b.debited.Load(), b.credited.Load()
		if least := admitted + debited - credited; spent < least {
			l.t.Errorf("a budget under %q: %d are spent; but %d were admitted and %d debited, and at most %d given back: at least %d",
				b.policy.Name, spent, admitted, debited, credited, least)
		}
	}
}

// locked tells whether a transaction that the network cut off keeps the budget.
func (l *load) locked(b *budget) bool {
	l.t.Helper()
	if !l.locks {
		return false
	}
	for range 5 { // a busy machine may be late once
		if _, err := storetest.TakeOne(context.Background(), l.s, b.charge(0, halt.Peek)); err == nil {
			return false
		}
	}
	l.t.Logf("NOT LOOKED AT: a budget under %q, which nobody can get at", b.policy.Name)
	return true
}

// remaining asks until it is told.
func (l *load) remaining(b *budget) (n int64) {
	l.t.Helper()
	within(l.t, comeback, "a Peek is decided", func() bool {
		d, err := storetest.TakeOne(context.Background(), l.s, b.charge(0, halt.Peek))
		n = d.Remaining
		return err == nil
	})
	return n
}

// exhaust takes what is left of the budget, and more.
func (l *load) exhaust(b *budget) {
	l.t.Helper()
	var wg sync.WaitGroup
	var refused atomic.Bool
	end := time.Now().Add(comeback)
	for range callers {
		wg.Go(func() {
			for !refused.Load() && time.Now().Before(end) {
				d, err := storetest.TakeOne(context.Background(), l.s, b.charge(1, halt.Take))
				switch {
				case err != nil:
				case d.Allowed:
					b.admitted.Add(1)
				default:
					refused.Store(true)
				}
			}
		})
	}
	if wg.Wait(); !refused.Load() {
		l.t.Errorf("in %v a budget of %d was not exhausted: %d were admitted", comeback, b.policy.Limit, b.admitted.Load())
	}
}

// caller is one of a load's.
type caller struct {
	*load
	rand  *rand.Rand
	taken []taken
}

// taken is what a Take has spent, and may be given back.
type taken struct {
	b    *budget
	cost int64
	at   halt.Instant
}

// call makes a call of some kind.
func (c *caller) call() {
	few, many, cost := c.tight.Load(), c.wides[c.rand.IntN(len(c.wides))], 1+c.rand.Int64N(3)
	switch c.rand.IntN(10) {
	case 0, 1:
		_ = c.one(few, few.charge(1, halt.Take))
	case 2, 3:
		_ = c.one(many, many.charge(cost, halt.Take))
	case 4:
		_ = c.one(many, many.charge(cost, halt.Peek))
	case 5:
		c.once(c.owed, c.owed.charge(cost, halt.Debit))
	case 6:
		charge := c.lent.charge(cost, halt.Credit)
		charge.At, charge.Taken = c.since, loan
		c.once(c.lent, charge)
	case 7:
		c.giveBack()
	case 8:
		c.two([2]*budget{few, many}, few.charge(1, halt.Take), many.charge(cost, halt.Take))
	default:
		other := c.wides[0]
		if other == many {
			other = c.wides[1]
		}
		c.two([2]*budget{other, many}, other.charge(cost, []halt.Mode{halt.Take, halt.Peek}[c.rand.IntN(2)]), many.charge(1, halt.Debit))
	}
}

// giveBack sends a Credit, if there is anything to give back.
func (c *caller) giveBack() {
	n := len(c.taken) - 1
	if n < 0 {
		return
	}
	t := c.taken[n]
	c.taken = c.taken[:n]
	charge := t.b.charge(1+c.rand.Int64N(t.cost), halt.Credit)
	charge.At, charge.Taken = t.at, t.cost
	t.b.credited.Add(charge.Cost)
	_ = c.one(t.b, charge) // it is counted
}

// once sends a Debit or Credit that must not run more than once.
func (c *caller) once(b *budget, charge halt.Charge) {
	b.sent.Add(charge.Cost)
	if c.one(b, charge) == nil {
		b.answered.Add(charge.Cost)
	}
}

func (c *caller) one(b *budget, charge halt.Charge) error {
	begin := time.Now()
	d, err := storetest.TakeOne(context.Background(), c.s, charge)
	c.ended("single charge", time.Since(begin), err)
	c.note(b, &charge, &d, err, d.Allowed)
	return err
}

func (c *caller) two(bs [2]*budget, charges ...halt.Charge) {
	ds := make(halt.Decisions, len(charges))
	begin := time.Now()
	err := c.s.Take(context.Background(), charges, ds)
	c.ended("pair of charges", time.Since(begin), err)
	for i := range charges {
		c.note(bs[i], &charges[i], &ds[i], err, ds.Allowed())
	}
}

// note keeps what a charge came to.
func (c *caller) note(b *budget, charge *halt.Charge, d *halt.Decision, err error, admitted bool) {
	switch {
	case charge.Mode != halt.Take && charge.Mode != halt.Debit:
	case err != nil: // nobody knows
	case charge.Mode == halt.Debit:
		b.debited.Add(charge.Cost)
	case admitted:
		b.admitted.Add(charge.Cost)
		if b.policy == wide {
			c.taken = append(c.taken, taken{b, charge.Cost, d.At})
		}
	}
}

// On a network so slow that each answer takes almost as long as a whole call may, a call ends in time all the same, however many
// charges it has.
func testFarAway(t *testing.T, db *database, addrs []string) {
	const timeout = time.Second
	n := newNetwork(t, addrs)
	s, closeStore := db.open(t, n, timeout)
	t.Cleanup(closeStore)
	a, b := newBudget(wide), newBudget(wide)
	charges, ds := []halt.Charge{a.charge(1, halt.Take), b.charge(1, halt.Take)}, make([]halt.Decision, 2)
	within(t, patience, "a call is decided", func() bool { return s.Take(t.Context(), charges, ds) == nil })
	n.down.latency.Store(int64(timeout * 4 / 5))
	begin := time.Now()
	err := s.Take(context.Background(), charges, ds)
	took := time.Since(begin)
	n.down.latency.Store(0)
	t.Logf("a call of two charges took %v, %v beyond its timeout: %v", took.Round(time.Millisecond), (took - timeout).Round(time.Millisecond), err)
	if took > timeout+leeway {
		t.Errorf("a call of two charges took %v, with a timeout of %v", took, timeout)
	}
	if err != nil && halt.ErrorKind(err) != "deadline" {
		t.Errorf("its error: %v", err)
	}
}

// A Credit whose answer the network swallows is an error, and is not sent again.
func testLostCredit(t *testing.T, db *database, addrs []string) {
	n := newNetwork(t, addrs)
	s, closeStore := db.open(t, n, db.timeout)
	t.Cleanup(closeStore)
	var b *budget
	var since halt.Instant
	within(t, patience, "a Take is decided", func() bool {
		b = newBudget(wide) // another one each time, since nobody knows what became of the last
		d, err := storetest.TakeOne(context.Background(), s, b.charge(10, halt.Take))
		since = d.At
		return err == nil
	})
	credit := b.charge(3, halt.Credit)
	credit.At, credit.Taken = since, 10
	cure := n.poison("timeout", "downstream", `"timeout":0`)
	_, err := storetest.TakeOne(context.Background(), s, credit)
	cure()
	if err == nil || halt.ErrorKind(err) != "deadline" {
		t.Errorf("its error: %v", err)
	}
	within(t, comeback, "7 of 10 are spent", func() bool {
		d, err := storetest.TakeOne(context.Background(), s, b.charge(0, halt.Peek))
		if spent := wide.Limit - d.Remaining; err == nil && spent < 7 {
			t.Fatalf("%d of 10 are spent, after a Credit of 3", spent)
		}
		return err == nil && wide.Limit-d.Remaining == 7
	})
}
