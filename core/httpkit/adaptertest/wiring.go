package adaptertest

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
	"github.com/halt-dev/halt/core/httpkit"
)

// wiring: a Config that can't be used panics where it is mounted, with every fault named.
func (w *world[R, M, H]) wiring() error {
	good := perMinute("good", 1)
	bucket := halt.Policy{Name: "bucket", Limit: 1, Window: good.Window}
	c := httpkit.Config[R, H]{
		Headers: httpkit.NoHeaders + 1,
		Rules: []guard.Rule[R]{
			{},
			{Policy: halt.Policy{Name: "no name", Limit: -7}, Key: w.Everyone()},
			{Policy: good, Resolve: w.plan, Key: w.By("Kind", func(R) string { return "" })},
			{Policy: bucket, Key: w.ByIP(netip.Prefix{}), Settle: w.ChargeOn(200)},
			{Policy: perMinute("header", 1), Key: w.ByHeader("X Tenant")},
			{Policy: perMinute("apikey", 1), Key: w.ByAPIKey("").Or(w.ByIP())},
			{Policy: perMinute("func", 1), Key: w.ByRoute().And(w.By("user", nil))},
		},
	}
	err := caught(func() { w.Middleware(w.limiter, c) })
	if err := faults(err, "Headers", "Rules[0].Policy", "Rules[0].Key", "Rules[1].Policy.Name", "Rules[1].Policy.Limit", "Rules[1].Policy.Window",
		"Rules[2].Policy", "Rules[2].Key", "Rules[3].Policy.Algorithm", "Rules[3].Key", "Rules[4].Key", "Rules[5].Key", "Rules[6].Key"); err != nil {
		return fmt.Errorf("middleware of a config with faults in every rule: %w", err)
	}
	err = caught(func() { w.Middleware(nil, httpkit.Config[R, H]{}) })
	if err := faults(err, "the limiter", "Rules"); err != nil {
		return fmt.Errorf("middleware of nothing: %w", err)
	}
	err = caught(func() { w.Limit(w.limiter, halt.Policy{Name: "x"}, guard.Key[R]{}) })
	if err := faults(err, "Rules[0].Policy.Limit", "Rules[0].Policy.Window", "Rules[0].Key"); err != nil {
		return fmt.Errorf("limit of an empty policy and key: %w", err)
	}
	return nil
}

// caught returns what f panics with.
func caught(f func()) (v any) {
	defer func() { v = recover() }()
	f()
	return nil
}

// faults returns an error unless v is an error about exactly these fields.
func faults(v any, fields ...string) error {
	err, _ := v.(error)
	var invalid *halt.InvalidError
	if !errors.As(err, &invalid) || !errors.Is(err, guard.ErrInvalidConfig) {
		return fmt.Errorf("it panicked with %v (a %T), not with an error that matches guard.ErrInvalidConfig", v, v)
	}
	var got []string
	for _, f := range invalid.Faults {
		got = append(got, f.Field)
	}
	slices.Sort(got)
	slices.Sort(fields)
	if got = slices.Compact(got); !slices.Equal(got, fields) {
		return fmt.Errorf("the faults named are of %q, not of %q: %w", got, fields, err)
	}
	return nil
}
