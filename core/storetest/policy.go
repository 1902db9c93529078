package storetest

import (
	"time"

	halt "github.com/halt-dev/halt/core"
)

var policyCases = []testCase{
	{
		name: "LimitChange", run: limitChange,
		rule: "Limit, Burst, Block and Plan may change: what was spent so far carries over, and counts against the new numbers.",
	},
	{
		name: "ShapeChange", run: shapeChange,
		rule: "A change of Name, Algorithm, Window, Period or Precision starts afresh, never meets a value of another shape, and " +
			"leaves the old budget as it was.",
	},
	{
		name: "Spelling", run: spelling,
		rule: "Policies that mean the same (Precision 0 and 10, Zone \"\" and UTC, Anchor 0 and 1) share one budget.",
	},
	{
		name: "Period", run: periods,
		rule: "A calendar quota counts in the period that holds the store's time: Decision.ResetAfter ends with it.",
	},
}

func limitChange(e *trial) {
	for _, a := range algorithms {
		p := e.still(a, 10)
		e.spend(p.Charge("k", 6), 1)
		q := p
		q.Plan, q.Limit, q.Block = "pro", 20, p.Window
		if a == halt.LeakyBucket {
			q.Burst = 19
		}
		d := e.peek(q.Charge("k", 0), 1)
		e.check(d.Allowed && d.Remaining == 14 && d.Limit == 20, "6 of 10 spent, then a limit of 20: %+v", d)
		q.Block, q.Limit = 0, 7
		if a == halt.LeakyBucket {
			q.Burst = 6
		}
		d = e.peek(q.Charge("k", 0), 1)
		e.check(d.Allowed && d.Remaining == 1, "6 spent, then a limit of 7: %+v", d)
		q.Limit = 3
		if a == halt.LeakyBucket {
			q.Burst = 2
		}
		d = e.one(q.Charge("k", 1))
		e.check(!d.Allowed && d.Remaining == 0 && d.RetryAfter != halt.Never, "6 spent, then a limit of 3: %+v", d)
		d = e.one(p.Charge("k", 4))
		e.check(d.Allowed && d.Remaining == 0, "back at the limit of 10: %+v", d)
	}
	p := e.still(halt.TokenBucket, 10)
	e.spend(p.Charge("k", 10), 1)
	p.Burst = 15
	d := e.one(p.Charge("k", 5))
	e.check(d.Allowed && d.Remaining == 0, "10 spent, then a burst of 15: %+v", d)
	p.Burst = 5
	d = e.one(p.Charge("k", 1))
	e.check(!d.Allowed && d.Remaining == 0, "15 spent, then a burst of 5: %+v", d)
}

func shapeChange(e *trial) {
	name, day := e.name(), 24*time.Hour
	shapes := []halt.Policy{
		{Name: name, Limit: 3, Window: 100 * day},
		{Name: name, Limit: 3, Window: 100*day + time.Second},
		{Name: name, Limit: 3, Window: 24 * time.Hour},
		{Name: name, Limit: 3, Window: 100 * day, Algorithm: halt.LeakyBucket, Burst: 2},
		{Name: name, Limit: 3, Window: 1000 * day, Algorithm: halt.FixedWindow},
		{Name: name, Limit: 3, Window: 1001 * day, Algorithm: halt.FixedWindow},
		{Name: name, Limit: 3, Period: halt.Period{Unit: halt.Year}, Algorithm: halt.FixedWindow},
		{Name: name, Limit: 3, Period: halt.Period{Unit: halt.Year, Zone: "Pacific/Apia"}, Algorithm: halt.FixedWindow},
		{Name: name, Limit: 3, Period: halt.Period{Unit: halt.Month}, Algorithm: halt.FixedWindow},
		{Name: name, Limit: 3, Period: halt.Period{Unit: halt.Month, Anchor: 10}, Algorithm: halt.FixedWindow},
		{Name: name, Limit: 3, Window: 100 * day, Algorithm: halt.SlidingWindow},
		{Name: name, Limit: 3, Window: 100 * day, Algorithm: halt.SlidingWindow, Precision: 60},
		{Name: name, Limit: 3, Window: 100 * day, Algorithm: halt.SlidingWindow, Precision: 1},
		{Name: name, Limit: 3, Window: 100 * day, Algorithm: halt.InFlight},
		{Name: name, Limit: 3, Window: 100 * day, Algorithm: halt.InFlight, Precision: 60},
		{Name: e.name(), Limit: 3, Window: 100 * day},
	}
	for round := range 3 {
		for i := range shapes {
			d := e.one(shapes[i].Charge("k", 1))
			e.check(d.Allowed && d.Remaining == int64(2-round), "%s shares its budget with another, or lost it: %+v", showPolicy(&shapes[i]), d)
		}
	}
	for i := range shapes {
		d := e.one(shapes[i].Charge("k", 1))
		e.check(!d.Allowed, "%s lost its budget: %+v", showPolicy(&shapes[i]), d)
	}
}

func spelling(e *trial) {
	name, day := e.name(), 24*time.Hour
	pairs := [][2]halt.Policy{
		{
			{Name: name, Limit: 3, Window: 100 * day, Algorithm: halt.SlidingWindow},
			{Name: name, Limit: 3, Window: 100 * day, Algorithm: halt.SlidingWindow, Precision: 10},
		}, {
			{Name: name, Limit: 3, Period: halt.Period{Unit: halt.Year}, Algorithm: halt.FixedWindow},
			{Name: name, Limit: 3, Period: halt.Period{Unit: halt.Year, Zone: "UTC"}, Algorithm: halt.FixedWindow},
		}, {
			{Name: name, Limit: 3, Period: halt.Period{Unit: halt.Month}, Algorithm: halt.FixedWindow},
			{Name: name, Limit: 3, Period: halt.Period{Unit: halt.Month, Zone: "UTC", Anchor: 1}, Algorithm: halt.FixedWindow},
		}, {
			{Name: name, Limit: 3, Window: 100 * day},
			{Name: name, Limit: 3, Window: 100 * day, Burst: 3, Plan: "gold", Block: time.Hour},
		},
	}
	for _, pair := range pairs {
		e.spend(pair[0].Charge("k", 2), 1)
		d := e.one(pair[1].Charge("k", 1))
		e.check(d.Allowed && d.Remaining == 0, "%s does not share the budget of %s: %+v", showPolicy(&pair[1]), showPolicy(&pair[0]), d)
	}
}

func periods(e *trial) {
	for _, unit := range []halt.Unit{halt.Hour, halt.Day, halt.Week, halt.Month, halt.Year} {
		for _, zone := range []string{"", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns", "Pacific/Apia"} {
			for _, anchor := range []int{0, 15, 31} {
				if anchor != 0 && unit != halt.Month {
					continue
				}
				p := halt.Policy{Name: e.name(), Algorithm: halt.FixedWindow, Limit: 2, Period: halt.Period{Unit: unit, Zone: zone, Anchor: anchor}}
				d := e.one(p.Charge("k", 2))
				edges := p.Period.Edges(d.At)
				end := d.At + halt.Instant(d.ResetAfter.Microseconds())
				e.check(d.Allowed && end == edges[2], "%s at %v resets at %v, not %v", showPolicy(&p), d.At.Time(), end.Time(), edges[2].Time())
				if !e.virtual() {
					continue
				}
				d = e.one(p.Charge("k", 1))
				e.check(!d.Allowed, "a quota exceeded: %+v", d)
				e.pass(d.RetryAfter)
				d = e.one(p.Charge("k", 2))
				e.check(d.Allowed && d.At >= edges[2] && d.At < edges[3], "in the next period: %+v", d)
			}
		}
	}
}
