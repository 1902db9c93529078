package halt

import "time"

// Instant is a point in time: microseconds since the Unix epoch, in UTC.
type Instant int64

// InstantOf returns t as an Instant, rounded down.
func InstantOf(t time.Time) Instant { return Instant(t.UnixMicro()) }

// Time returns the instant as a time.Time in UTC.
func (i Instant) Time() time.Time { return time.UnixMicro(int64(i)).UTC() }

// Decision is what became of one charge.
type Decision struct {
	// Mode is the charge's.
	Mode Mode
	// Allowed tells whether this charge fits by itself. Whether its call was admitted is [Decisions.Allowed]'s to say.
	Allowed bool
	// Blocked: the key is refused because of Policy.Block.
	Blocked bool
	// Limit is the policy's.
	Limit int64
	// Remaining is what can be spent right now, after the whole call; 0 while blocked.
	Remaining int64
	// ResetAfter is how long until the key is as one never seen, if nothing is spent meanwhile.
	ResetAfter time.Duration
	// RetryAfter of a refused charge: the same charge fits then and not one tick earlier, if nobody spends or gives back
	// meanwhile. Never: its cost exceeds the capacity. For InFlight policies a hint, 1 s. 0 if allowed.
	RetryAfter time.Duration
	// Delay, of a leaky bucket's allowed charge: wait this long before proceeding.
	Delay time.Duration
	// At is when it was decided: the store's clock, to the policy's tick, and never before the key's last change.
	At Instant
}

// Decisions are those of one call, in the order of its charges.
type Decisions []Decision

// Allowed tells whether the call was admitted: every Take and Peek fits, and every Take was spent.
func (ds Decisions) Allowed() bool {
	for i := range ds {
		if ds[i].Mode.Binds() && !ds[i].Allowed {
			return false
		}
	}
	return true
}

// RetryAfter returns the longest RetryAfter of the charges that refused the call: 0 if it was admitted, [Never] if
// waiting does not help.
func (ds Decisions) RetryAfter() time.Duration {
	var longest time.Duration
	for i := range ds {
		if ds[i].Mode.Binds() && !ds[i].Allowed {
			longest = max(longest, ds[i].RetryAfter)
		}
	}
	return longest
}

// Delay returns how long an admitted call has to wait before it proceeds: the longest Delay of its Takes.
func (ds Decisions) Delay() time.Duration {
	var longest time.Duration
	for i := range ds {
		if ds[i].Mode == Take {
			longest = max(longest, ds[i].Delay)
		}
	}
	return longest
}
