package memory_test

import (
	"time"

	halt "github.com/halt-dev/halt/core"
)

// policies are one of every shape that a state can have, with limits that are soon reached.
func policies() map[string]halt.Policy {
	month := halt.Period{Unit: halt.Month, Zone: "Europe/Berlin", Anchor: 15}
	return map[string]halt.Policy{
		"token bucket":          {Name: "token", Limit: 5, Window: time.Second, Burst: 7},
		"token bucket, block":   {Name: "token-block", Limit: 5, Window: time.Second, Block: 3 * time.Second},
		"token bucket, hours":   {Name: "token-hours", Limit: 9, Window: 2 * time.Hour},
		"token bucket, days":    {Name: "token-days", Limit: 9, Window: 48 * time.Hour, Block: time.Minute},
		"leaky bucket":          {Name: "leaky", Algorithm: halt.LeakyBucket, Limit: 5, Window: time.Second, Burst: 4},
		"leaky bucket, block":   {Name: "leaky-block", Algorithm: halt.LeakyBucket, Limit: 5, Window: time.Second, Burst: -1, Block: time.Second},
		"fixed window":          {Name: "fixed", Algorithm: halt.FixedWindow, Limit: 6, Window: time.Second},
		"fixed window, block":   {Name: "fixed-block", Algorithm: halt.FixedWindow, Limit: 6, Window: time.Minute, Block: 90 * time.Second},
		"day":                   {Name: "day", Algorithm: halt.FixedWindow, Limit: 8, Period: halt.Period{Unit: halt.Day}},
		"month, block":          {Name: "month", Algorithm: halt.FixedWindow, Limit: 8, Period: month, Block: time.Hour},
		"sliding window":        {Name: "sliding", Algorithm: halt.SlidingWindow, Limit: 6, Window: time.Second},
		"sliding window, fine":  {Name: "sliding-60", Algorithm: halt.SlidingWindow, Limit: 6, Window: time.Minute, Precision: 60},
		"sliding window, 1":     {Name: "sliding-1", Algorithm: halt.SlidingWindow, Limit: 6, Window: time.Second, Precision: 1, Block: 2 * time.Second},
		"sliding window, block": {Name: "sliding-block", Algorithm: halt.SlidingWindow, Limit: 6, Window: time.Second, Block: 2 * time.Second},
		"in flight":             {Name: "inside", Algorithm: halt.InFlight, Limit: 4, Window: 10 * time.Second, Precision: 3},
	}
}
