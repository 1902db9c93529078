package algorithm_test

import (
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/algorithm"
)

// What stores are told of a policy is what Decide goes by: a debt saturates where Decide's does, and a state has as many counts.
func TestNumbers(t *testing.T) {
	for _, c := range []struct {
		policy halt.Policy
		want   algorithm.Numbers
	}{
		{
			halt.Policy{Name: "p", Limit: 3, Window: time.Minute, Burst: 7, Block: time.Second},
			algorithm.Numbers{
				Kind: algorithm.KindToken, Tick: 1, Limit: 3, Capacity: 7, Window: 60_000_000, Block: 1_000_000,
				MostDebt: 3 * int64(algorithm.Decade/time.Microsecond),
			},
		},
		{
			halt.Policy{Name: "p", Algorithm: halt.LeakyBucket, Limit: 100_000, Window: time.Second, Burst: 4},
			algorithm.Numbers{
				Kind: algorithm.KindLeaky, Tick: 1, Limit: 100_000, Capacity: 5, Window: 1_000_000, MostDebt: algorithm.Most,
			},
		},
		{
			halt.Policy{Name: "p", Algorithm: halt.FixedWindow, Limit: 5, Window: time.Hour},
			algorithm.Numbers{Kind: algorithm.KindFixed, Tick: 1000, Limit: 5, Capacity: 5, Window: 3_600_000},
		},
		{
			halt.Policy{Name: "p", Algorithm: halt.FixedWindow, Limit: 5, Period: halt.Period{Unit: halt.Month, Zone: "UTC"}},
			algorithm.Numbers{Kind: algorithm.KindPeriod, Tick: 1_000_000, Limit: 5, Capacity: 5},
		},
		{
			halt.Policy{Name: "p", Algorithm: halt.SlidingWindow, Limit: 5, Window: 48 * time.Hour, Precision: 7},
			algorithm.Numbers{
				Kind: algorithm.KindSliding, Tick: 1_000_000, Limit: 5, Capacity: 5, Window: 172_800, Sub: 24_686, Counts: 8,
			},
		},
		{
			halt.Policy{Name: "p", Algorithm: halt.InFlight, Limit: 5, Window: time.Minute},
			algorithm.Numbers{
				Kind: algorithm.KindSliding, Tick: 1, Limit: 5, Capacity: 5, Window: 60_000_000, Sub: 6_000_000, Counts: 11,
			},
		},
	} {
		if err := c.policy.Validate(); err != nil {
			t.Fatal(err)
		}
		got := algorithm.NumbersOf(&c.policy)
		if got != c.want {
			t.Errorf("%+v: %+v, want %+v", c.policy, got, c.want)
		}
		now := halt.Instant(1_800_000_000_000_000)
		var s algorithm.State
		debit := halt.Charge{Policy: c.policy, Key: "k", Cost: 1<<63 - 1, Mode: halt.Debit}
		algorithm.Decide(&debit, &s, now)
		if got.Kind <= algorithm.KindLeaky && s.Used != got.MostDebt {
			t.Errorf("%+v: a debt saturates at %d, not %d", c.policy, s.Used, got.MostDebt)
		}
		if int64(len(s.Counts)) != got.Counts {
			t.Errorf("%+v: a state has %d counts, not %d", c.policy, len(s.Counts), got.Counts)
		}
	}
}
