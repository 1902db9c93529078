package halt

import (
	"math"
	"math/bits"
	"time"
)

// Unlimited, as a [Policy]'s Limit, means that the policy never refuses: the [Limiter] lets the charge through
// without asking the store and adapters send no headers for it. Its name and plan still reach the observers.
const Unlimited int64 = -1

// Never, as a Decision's RetryAfter, means that waiting does not help: the cost is more than the policy can ever hold.
const Never = time.Duration(math.MaxInt64)

// Bounds on what a valid policy can ask for. They keep every intermediate value of the algorithms below 2^53, so that
// stores which compute in doubles (Lua, JSON) reach the same integers.
const (
	maxName   = 64
	maxUnits  = int64(1) << 52
	maxSubs   = 60
	tenYears  = 10 * 365 * 24 * time.Hour
	minWindow = time.Millisecond
)

// Algorithm says how a policy counts. The theorem that each one keeps is stated at the constants.
type Algorithm uint8

const (
	// TokenBucket holds Burst tokens and regains Limit of them per Window, evenly. In any interval of length t it admits
	// at most Burst + t*Limit/Window. It is the zero value and the right choice for most APIs.
	TokenBucket Algorithm = iota
	// LeakyBucket is a queue that lets Limit requests per Window proceed, evenly spaced; up to Burst more wait their turn
	// (Decision.Delay). Requests that wait as told proceed no faster than Limit per Window, to one tick. The last in the
	// queue waits for Burst*Window/Limit: choose Burst by what a client bears.
	LeakyBucket
	// FixedWindow counts per window: those aligned to the Unix epoch, or the calendar's if Period is set. No window admits
	// more than Limit; two windows' worth can pass around an edge.
	FixedWindow
	// SlidingWindow counts in Precision sub-windows. No interval of length Window, wherever it starts, admits more than
	// Limit. The price of never exceeding it: under overload it admits 92 % of Limit at a Precision of 10, 98 % at 60.
	SlidingWindow
	// InFlight bounds how many are inside at once: at most Limit, as long as none stays longer than Window. What leaves is
	// given back with a Credit (guards and reservations do); what a crashed holder held comes back after Window, plus a
	// sub-window.
	InFlight
)

var algorithmNames = [...]string{"token bucket", "leaky bucket", "fixed window", "sliding window", "in-flight"}

// String returns the algorithm's name in English, such as "token bucket".
func (a Algorithm) String() string {
	if int(a) < len(algorithmNames) {
		return algorithmNames[a]
	}
	return "unknown algorithm"
}

// Policy says how much is allowed, and how it is counted. It is a plain, comparable value: build it as a literal, keep
// it in a variable, load it from a database. [Policy.Validate] tells every fault at once; the Limiter validates each
// policy it is given, and remembers some: its strings must be ones that stay as they are, which those are not that a
// framework lends for a request, such as fiber's.
//
// A change of Limit, Burst, Block or Plan keeps what a key has used so far. A change of Name, Algorithm, Window, Period
// or Precision starts afresh.
type Policy struct {
	// Name and a key together identify a budget; it also names the policy in headers, problems and telemetry.
	// 1 to 64 of A-Z a-z 0-9 . _ -
	Name string
	// Plan is a label for telemetry, such as "free". It changes nothing else.
	Plan string
	// Limit is how much may be spent per Window (InFlight: how many may be inside at once): 1 or more, or Unlimited. There
	// is no policy that allows nothing: 0 is invalid, since it is what a forgotten field has.
	Limit int64
	// Window is what Limit is counted over (InFlight: the longest that a holder may stay): from 1 ms to 10 years, in whole
	// ticks (see [Policy.Tick]).
	Window time.Duration
	// Period makes a calendar quota of a FixedWindow policy. Window must then be 0.
	Period Period
	// Algorithm is how Limit is counted. The zero value is TokenBucket.
	Algorithm Algorithm
	// Burst is, for a TokenBucket, how many tokens it holds (0: Limit); for a LeakyBucket, how many may wait (0: Limit,
	// -1: none). Other algorithms have none.
	Burst int64
	// Precision is into how many sub-windows a SlidingWindow or InFlight policy divides its Window: 1 to 60, 0 means 10.
	// Other algorithms have none.
	Precision int
	// Block keeps a key that was refused refused for this long: 0 (no block) to 10 years, in whole ticks. Refusals during
	// a block do not extend it.
	Block time.Duration
}

// Charge returns the charge of cost against this policy's budget of key, in mode [Take].
func (p Policy) Charge(key string, cost int64) Charge {
	return Charge{Policy: p, Key: key, Cost: cost}
}

// Tick is the resolution at which the policy reckons time: 1 µs for windows up to a minute, 1 ms up to a day, 1 s beyond
// and for Periods. Window and Block are whole multiples of it.
func (p *Policy) Tick() time.Duration {
	switch {
	case p.Period.Unit != 0 || p.Window > 24*time.Hour:
		return time.Second
	case p.Window > time.Minute:
		return time.Millisecond
	default:
		return time.Microsecond
	}
}

// Capacity is the largest cost that the policy can ever admit: what Burst and Limit come to. Unlimited policies have no
// capacity of meaning.
func (p *Policy) Capacity() int64 {
	switch p.Algorithm {
	case TokenBucket:
		if p.Burst != 0 {
			return p.Burst
		}
	case LeakyBucket:
		switch {
		case p.Burst < 0:
			return 1
		case p.Burst > 0:
			return p.Burst + 1
		}
		return p.Limit + 1
	default: // windows have no burst
	}
	return p.Limit
}

// SubWindows is the number of sub-windows of a SlidingWindow or InFlight policy: Precision, or 10 if that is 0.
func (p *Policy) SubWindows() int {
	if p.Precision == 0 {
		return 10
	}
	return p.Precision
}

// Validate returns nil, or an [*InvalidError] that names every fault by field and matches [ErrInvalidPolicy].
func (p Policy) Validate() error {
	if p.check(nil) {
		return nil
	}
	e := &InvalidError{Kind: ErrInvalidPolicy, Policy: p.Name}
	p.check(e)
	return e
}

// check tells whether p is valid. With an error to fill it goes on to the last fault; without, it stops at the first.
func (p *Policy) check(e *InvalidError) bool {
	if !validName(p.Name) && e.fault("Name", "1 to 64 of A-Z a-z 0-9 . _ -") {
		return false
	}
	if p.Limit == Unlimited {
		return e.faultless()
	}
	if (p.Limit < 1 || p.Limit >= maxUnits) && e.fault("Limit", "1 to 2^52-1, or Unlimited") {
		return false
	}
	if p.Algorithm > InFlight && e.fault("Algorithm", "one of the package's constants") {
		return false
	}
	if !p.checkSpan(e) || !p.checkShape(e) {
		return false
	}
	if e.faultless() && p.Algorithm <= LeakyBucket && !p.checkProducts(e) {
		return false
	}
	return e.faultless()
}

// fault adds a fault. It returns true to stop at it: where there is no error to fill.
func (e *InvalidError) fault(field, want string) (stop bool) {
	if e != nil {
		e.Faults = append(e.Faults, Fault{Field: field, Want: want})
	}
	return e == nil
}

func (e *InvalidError) faultless() bool { return e == nil || len(e.Faults) == 0 }

// checkSpan checks the fields that hold time. It returns false to stop.
func (p *Policy) checkSpan(e *InvalidError) bool {
	tick := p.Tick()
	if p.Period == (Period{}) {
		if (p.Window < minWindow || p.Window > tenYears) && e.fault("Window", "1ms to 10 years") {
			return false
		}
		if _, whole := inTicks(p.Window, tick); !whole && e.fault("Window", "a whole multiple of its tick, "+tick.String()) {
			return false
		}
	} else {
		if p.Window != 0 && e.fault("Window", "0, since Period is set") {
			return false
		}
		if p.Algorithm != FixedWindow && e.fault("Period", "none, or the algorithm FixedWindow") {
			return false
		}
		if want := p.Period.fault(); want != "" && e.fault("Period", want) {
			return false
		}
	}
	if (p.Block < 0 || p.Block > tenYears) && e.fault("Block", "0 to 10 years") {
		return false
	}
	if _, whole := inTicks(p.Block, tick); !whole && e.fault("Block", "a whole multiple of the window's tick, "+tick.String()) {
		return false
	}
	return true
}

// checkShape checks the fields that belong to some algorithms only. It returns false to stop.
func (p *Policy) checkShape(e *InvalidError) bool {
	switch p.Algorithm {
	case TokenBucket:
		if (p.Burst < 0 || p.Burst >= maxUnits) && e.fault("Burst", "0 (as Limit) to 2^52-1") {
			return false
		}
	case LeakyBucket:
		if (p.Burst < -1 || p.Burst >= maxUnits-1) && e.fault("Burst", "-1 (none may wait), 0 (as Limit) or up to 2^52-2") {
			return false
		}
	default:
		if p.Burst != 0 && e.fault("Burst", "0: only buckets have a burst") {
			return false
		}
	}
	if p.Algorithm == SlidingWindow || p.Algorithm == InFlight {
		if (p.Precision < 0 || p.Precision > maxSubs) && e.fault("Precision", "0 (as 10) to 60") {
			return false
		}
	} else if p.Precision != 0 && e.fault("Precision", "0: only SlidingWindow and InFlight have one") {
		return false
	}
	return true
}

// checkProducts checks that a bucket's arithmetic stays below 2^52 and that a full bucket drains within ten years.
func (p *Policy) checkProducts(e *InvalidError) bool {
	field := "Burst"
	if p.Burst <= 0 {
		field = "Limit"
	}
	tick := p.Tick()
	window, _ := inTicks(p.Window, tick)
	longest, _ := inTicks(tenYears, tick)
	hi, full := bits.Mul64(uint64(p.Capacity()), uint64(window))
	if hi != 0 || full >= uint64(maxUnits) {
		return !e.fault(field, "less: capacity times window, in ticks of "+tick.String()+", must stay below 2^52")
	}
	hi, drained := bits.Mul64(uint64(p.Limit), uint64(longest))
	if hi == 0 && full > drained {
		return !e.fault(field, "less: a full bucket must drain within 10 years")
	}
	return true
}

// inTicks returns d in ticks, and whether they are whole. Every policy of every call passes here: divisors that are constant
// spare the processor the divisions.
func inTicks(d, tick time.Duration) (n int64, whole bool) {
	switch tick {
	case time.Microsecond:
		return int64(d / time.Microsecond), d%time.Microsecond == 0
	case time.Millisecond:
		return int64(d / time.Millisecond), d%time.Millisecond == 0
	default:
		return int64(d / time.Second), d%time.Second == 0
	}
}

// nameBytes marks the bytes that a policy's name may have.
var nameBytes = func() (t [256]bool) {
	for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-" {
		t[c] = true
	}
	return t
}()

func validName(s string) bool {
	if len(s) == 0 || len(s) > maxName {
		return false
	}
	for i := range len(s) {
		if !nameBytes[s[i]] {
			return false
		}
	}
	return true
}
