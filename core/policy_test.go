package halt_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
)

const decade = 3650 * 24 * time.Hour

func TestPolicyValidate(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]halt.Policy{
		"the least":         {Name: "p", Limit: 1, Window: time.Millisecond},
		"the longest name":  {Name: strings.Repeat("n", 64), Limit: 1, Window: time.Second},
		"all of a name":     {Name: "AZaz09._-", Limit: 1, Window: time.Second},
		"the longest":       {Name: "p", Limit: 1, Window: decade},
		"the largest limit": {Name: "p", Limit: 1<<52 - 1, Window: time.Second, Algorithm: halt.FixedWindow},
		"microseconds":      {Name: "p", Limit: 1, Window: time.Minute - time.Microsecond, Block: time.Microsecond},
		"milliseconds":      {Name: "p", Limit: 1, Window: 24 * time.Hour, Block: time.Millisecond},
		"seconds":           {Name: "p", Limit: 1, Window: 24*time.Hour + time.Second, Block: time.Second},
		"the longest block": {Name: "p", Limit: 1, Window: time.Second, Block: decade},
		"a burst":           {Name: "p", Limit: 1, Burst: 1000, Window: time.Second},
		"none may wait":     {Name: "p", Limit: 1, Burst: -1, Window: time.Second, Algorithm: halt.LeakyBucket},
		"precision 1":       {Name: "p", Limit: 1, Window: time.Second, Algorithm: halt.SlidingWindow, Precision: 1},
		"precision 60":      {Name: "p", Limit: 1, Window: time.Millisecond, Algorithm: halt.InFlight, Precision: 60},
		"a period":          {Name: "p", Limit: 1, Algorithm: halt.FixedWindow, Period: halt.Period{Unit: halt.Month, Zone: "Asia/Kathmandu", Anchor: 31}},
		"a period in UTC":   {Name: "p", Limit: 1, Algorithm: halt.FixedWindow, Period: halt.Period{Unit: halt.Hour}, Block: time.Hour},
		"unlimited":         {Name: "p", Limit: halt.Unlimited},
		"drains in 10 years": {
			Name: "p", Limit: 1, Window: 24 * time.Hour, Burst: 3650,
		},
		"the largest product": {Name: "p", Limit: 1 << 40, Window: 10 * time.Millisecond, Burst: (1<<52 - 1) / 10_000},
	} {
		if err := p.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPolicyFaults(t *testing.T) {
	t.Parallel()
	good := halt.Policy{Name: "p", Limit: 10, Window: time.Second}
	with := func(change func(p *halt.Policy)) halt.Policy {
		p := good
		change(&p)
		return p
	}
	period := func(p *halt.Policy, u halt.Unit, zone string, anchor int) {
		p.Window, p.Algorithm, p.Period = 0, halt.FixedWindow, halt.Period{Unit: u, Zone: zone, Anchor: anchor}
	}
	for _, c := range []struct {
		what   string
		p      halt.Policy
		fields []string
	}{
		{"nothing", halt.Policy{}, []string{"Name", "Limit", "Window"}},
		{"no name", with(func(p *halt.Policy) { p.Name = "" }), []string{"Name"}},
		{"a long name", with(func(p *halt.Policy) { p.Name = strings.Repeat("n", 65) }), []string{"Name"}},
		{"a space", with(func(p *halt.Policy) { p.Name = "per minute" }), []string{"Name"}},
		{"a colon", with(func(p *halt.Policy) { p.Name = "a:b" }), []string{"Name"}},
		{"a quote", with(func(p *halt.Policy) { p.Name = `a"b` }), []string{"Name"}},
		{"not ASCII", with(func(p *halt.Policy) { p.Name = "größe" }), []string{"Name"}},
		{"unlimited without a name", halt.Policy{Limit: halt.Unlimited}, []string{"Name"}},
		{"limit 0", with(func(p *halt.Policy) { p.Limit = 0 }), []string{"Limit"}},
		{"limit -2", with(func(p *halt.Policy) { p.Limit = -2 }), []string{"Limit"}},
		{"limit 2^52", with(func(p *halt.Policy) { p.Limit, p.Algorithm = 1<<52, halt.FixedWindow }), []string{"Limit"}},
		{"an unknown algorithm", with(func(p *halt.Policy) { p.Algorithm = 5 }), []string{"Algorithm"}},
		{"no window", with(func(p *halt.Policy) { p.Window = 0 }), []string{"Window"}},
		{"a negative window", with(func(p *halt.Policy) { p.Window = -time.Second }), []string{"Window"}},
		{"less than a millisecond", with(func(p *halt.Policy) { p.Window = 999 * time.Microsecond }), []string{"Window"}},
		{"more than 10 years", with(func(p *halt.Policy) { p.Window = decade + time.Second }), []string{"Window"}},
		{"nanoseconds", with(func(p *halt.Policy) { p.Window += time.Nanosecond }), []string{"Window"}},
		{"microseconds of minutes", with(func(p *halt.Policy) { p.Window = time.Minute + time.Microsecond }), []string{"Window"}},
		{"milliseconds of days", with(func(p *halt.Policy) { p.Window = 24*time.Hour + time.Millisecond }), []string{"Window"}},
		{"a negative block", with(func(p *halt.Policy) { p.Block = -time.Second }), []string{"Block"}},
		{"a block of more than 10 years", with(func(p *halt.Policy) { p.Block = decade + time.Second }), []string{"Block"}},
		{"a block of a part of a tick", with(func(p *halt.Policy) { p.Window, p.Block = time.Hour, time.Microsecond }), []string{"Block"}},
		{"a negative burst", with(func(p *halt.Policy) { p.Burst = -1 }), []string{"Burst"}},
		{"a leaky burst of -2", with(func(p *halt.Policy) { p.Burst, p.Algorithm = -2, halt.LeakyBucket }), []string{"Burst"}},
		{"a burst of 2^52", with(func(p *halt.Policy) { p.Burst = 1 << 52 }), []string{"Burst"}},
		{"a burst of a window", with(func(p *halt.Policy) { p.Burst, p.Algorithm = 5, halt.SlidingWindow }), []string{"Burst"}},
		{"a negative precision", with(func(p *halt.Policy) { p.Precision, p.Algorithm = -1, halt.SlidingWindow }), []string{"Precision"}},
		{"precision 61", with(func(p *halt.Policy) { p.Precision, p.Algorithm = 61, halt.InFlight }), []string{"Precision"}},
		{"the precision of a bucket", with(func(p *halt.Policy) { p.Precision = 10 }), []string{"Precision"}},
		{"the precision of a fixed window", with(func(p *halt.Policy) { p.Precision, p.Algorithm = 10, halt.FixedWindow }), []string{"Precision"}},
		{"window and period", with(func(p *halt.Policy) {
			period(p, halt.Day, "", 0)
			p.Window = time.Second
		}), []string{"Window"}},
		{"a period of a bucket", with(func(p *halt.Policy) {
			period(p, halt.Day, "", 0)
			p.Algorithm = halt.TokenBucket
		}), []string{"Period"}},
		{"a zone without a unit", with(func(p *halt.Policy) { period(p, halt.None, "UTC", 0) }), []string{"Period"}},
		{"an unknown unit", with(func(p *halt.Policy) { period(p, halt.Year+1, "", 0) }), []string{"Period"}},
		{"an unknown zone", with(func(p *halt.Policy) { period(p, halt.Day, "Mars/Olympus", 0) }), []string{"Period"}},
		{"the machine's zone", with(func(p *halt.Policy) { period(p, halt.Day, "Local", 0) }), []string{"Period"}},
		{"a path for a zone", with(func(p *halt.Policy) { period(p, halt.Day, "../../etc/passwd", 0) }), []string{"Period"}},
		{"the anchor of a day", with(func(p *halt.Policy) { period(p, halt.Day, "", 1) }), []string{"Period"}},
		{"anchor 32", with(func(p *halt.Policy) { period(p, halt.Month, "", 32) }), []string{"Period"}},
		{"a negative anchor", with(func(p *halt.Policy) { period(p, halt.Month, "", -1) }), []string{"Period"}},
		{"a product of 2^52", halt.Policy{Name: "p", Limit: 1 << 40, Window: 8192 * time.Microsecond, Burst: 1 << 39}, []string{"Burst"}},
		{"a product by the limit", halt.Policy{Name: "p", Limit: 1 << 40, Window: time.Minute}, []string{"Limit"}},
		{"more than 10 years to drain", halt.Policy{Name: "p", Limit: 1, Window: 24 * time.Hour, Burst: 3651}, []string{"Burst"}},
		{"a queue of more than 10 years", halt.Policy{Name: "p", Limit: 1, Window: decade, Algorithm: halt.LeakyBucket}, []string{"Limit"}},
		{
			"all at once",
			halt.Policy{Name: "?", Limit: -5, Window: -1, Algorithm: 99, Burst: -9, Precision: 99, Block: -1},
			[]string{"Name", "Limit", "Algorithm", "Window", "Window", "Block", "Block", "Burst", "Precision"},
		},
	} {
		err := c.p.Validate()
		var invalid *halt.InvalidError
		if !errors.Is(err, halt.ErrInvalidPolicy) || !errors.As(err, &invalid) || errors.Is(err, halt.ErrInvalidCharge) {
			t.Errorf("%s: %v", c.what, err)
			continue
		}
		var fields []string
		for _, f := range invalid.Faults {
			fields = append(fields, f.Field)
			if f.Want == "" || !strings.Contains(err.Error(), f.Field+" must be "+f.Want) {
				t.Errorf("%s: the text %q does not tell the fault %+v", c.what, err, f)
			}
		}
		if !slices.Equal(fields, c.fields) {
			// The order is the package's own; that each field is told once per fault is not.
			slices.Sort(fields)
			want := slices.Sorted(slices.Values(c.fields))
			if !slices.Equal(fields, want) {
				t.Errorf("%s: the faults are of %v, not of %v: %v", c.what, fields, want, err)
			}
		}
		if slices.Contains(c.fields, "Name") && strings.Contains(err.Error(), "?") && !strings.HasPrefix(err.Error(), `halt: invalid policy "?": `) {
			t.Errorf("%s: it is not told which policy: %v", c.what, err)
		}
	}
}

func TestPolicyDerived(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		p        halt.Policy
		capacity int64
		tick     time.Duration
		subs     int
	}{
		{halt.Policy{Limit: 5, Window: time.Minute}, 5, time.Microsecond, 10},
		{halt.Policy{Limit: 5, Burst: 9, Window: time.Minute + time.Millisecond}, 9, time.Millisecond, 10},
		{halt.Policy{Limit: 5, Window: 24 * time.Hour, Algorithm: halt.LeakyBucket}, 6, time.Millisecond, 10},
		{halt.Policy{Limit: 5, Burst: 9, Window: 25 * time.Hour, Algorithm: halt.LeakyBucket}, 10, time.Second, 10},
		{halt.Policy{Limit: 5, Burst: -1, Window: time.Second, Algorithm: halt.LeakyBucket}, 1, time.Microsecond, 10},
		{halt.Policy{Limit: 5, Algorithm: halt.FixedWindow, Period: halt.Period{Unit: halt.Hour}}, 5, time.Second, 10},
		{halt.Policy{Limit: 5, Window: time.Second, Algorithm: halt.SlidingWindow, Precision: 60}, 5, time.Microsecond, 60},
		{halt.Policy{Limit: 5, Window: time.Second, Algorithm: halt.InFlight}, 5, time.Microsecond, 10},
	} {
		if n := c.p.Capacity(); n != c.capacity {
			t.Errorf("%+v: capacity %d, not %d", c.p, n, c.capacity)
		}
		if d := c.p.Tick(); d != c.tick {
			t.Errorf("%+v: tick %v, not %v", c.p, d, c.tick)
		}
		if n := c.p.SubWindows(); n != c.subs {
			t.Errorf("%+v: %d sub-windows, not %d", c.p, n, c.subs)
		}
	}
	if s := halt.InFlight.String() + halt.Algorithm(9).String(); s != "in-flightunknown algorithm" {
		t.Errorf("names: %s", s)
	}
}
