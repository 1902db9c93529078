package algorithm_test

import (
	"errors"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// FuzzPolicyValidate: an invalid policy names a field of it; a valid one never overflows, at whatever cost.
func FuzzPolicyValidate(f *testing.F) {
	add := func(p halt.Policy) {
		f.Add(p.Name, p.Limit, int64(p.Window), uint8(p.Algorithm), p.Burst, p.Precision, int64(p.Block), uint8(p.Period.Unit), p.Period.Zone, p.Period.Anchor)
	}
	for _, a := range algorithms {
		add(halt.Policy{Name: "p", Limit: 10, Window: time.Minute, Algorithm: a})
		add(halt.Policy{Name: "p", Limit: 1<<52 - 1, Window: time.Millisecond, Algorithm: a, Block: 3650 * day})
		add(halt.Policy{Name: "p", Limit: 1, Window: 3650 * day, Algorithm: a, Precision: 60, Burst: -1})
	}
	add(halt.Policy{Name: "p", Limit: 1, Window: time.Minute, Burst: 87_600 * 60})
	add(halt.Policy{Name: "p", Limit: 1 << 40, Window: time.Minute, Burst: 1 << 52})
	add(halt.Policy{Name: "p", Limit: 10, Algorithm: halt.FixedWindow, Period: halt.Period{Unit: halt.Month, Zone: "Europe/Berlin", Anchor: 31}})
	add(halt.Policy{Name: "p", Limit: -1})
	add(halt.Policy{Name: "no spaces", Limit: -2, Window: -1, Algorithm: 99, Burst: -5, Precision: 61, Block: -1})
	fields := map[string]bool{
		"Name": true, "Limit": true, "Algorithm": true, "Window": true, "Period": true, "Block": true, "Burst": true, "Precision": true,
	}
	f.Fuzz(func(t *testing.T, name string, limit, window int64, a uint8, burst int64, precision int, block int64, unit uint8, zone string, anchor int) {
		p := halt.Policy{
			Name: name, Limit: limit, Window: time.Duration(window), Algorithm: halt.Algorithm(a), Burst: burst, Precision: precision,
			Block: time.Duration(block), Period: halt.Period{Unit: halt.Unit(unit), Zone: zone, Anchor: anchor},
		}
		if err := p.Validate(); err != nil {
			var invalid *halt.InvalidError
			if !errors.As(err, &invalid) || !errors.Is(err, halt.ErrInvalidPolicy) || len(invalid.Faults) == 0 {
				t.Fatalf("%+v: %v", p, err)
			}
			for _, fault := range invalid.Faults {
				if !fields[fault.Field] || fault.Want == "" {
					t.Fatalf("%+v: the fault %+v", p, fault)
				}
			}
			return
		}
		if p.Limit == halt.Unlimited {
			return
		}
		w, s := &world{now: epoch}, newSpec(t)
		capacity := p.Capacity()
		for i := range 30 {
			c := halt.Charge{Policy: p, Key: "k", Cost: []int64{capacity, 1, capacity, 1<<63 - 1, capacity/2 + 1, 1<<52 - 1}[i%6]}
			c.Mode = []halt.Mode{halt.Take, halt.Peek, halt.Take, halt.Debit, halt.Take}[i%5]
			sane(t, &c, w.fork())
			if got, want := decide(&c, w), s.decide(&c, w.now); got != want {
				t.Fatalf("%s of %d under %s: %+v, not %+v", c.Mode, c.Cost, describe(&p), got, want)
			}
			w.now += halt.Instant(1) << (i * 2 % 49)
		}
	})
}
