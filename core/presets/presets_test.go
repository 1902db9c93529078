package presets_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/presets"
)

func TestPoliciesAreWhatTheyPromise(t *testing.T) {
	for _, c := range []struct {
		policy   halt.Policy
		name     string
		plan     string
		limit    int64
		window   time.Duration
		unit     halt.Unit
		capacity int64
		block    time.Duration
	}{
		{policy: presets.PublicAPI, name: "public-api", limit: 100, window: time.Minute, capacity: 120},
		{policy: presets.AuthEndpoints, name: "auth", limit: 5, window: time.Minute, capacity: 5, block: 5 * time.Minute},
		{policy: presets.ExpensiveOps, name: "expensive-ops", limit: 10, window: time.Hour, capacity: 10},
		{policy: presets.StrictAPI, name: "strict-api", limit: 20, window: time.Minute, capacity: 25},
		{policy: presets.GenerousAPI, name: "generous-api", limit: 1000, window: time.Minute, capacity: 1200},
		{policy: presets.Free, name: "plan", plan: "free", limit: 100, window: time.Hour, capacity: 100},
		{policy: presets.Starter, name: "plan", plan: "starter", limit: 500, window: time.Hour, capacity: 500},
		{policy: presets.Pro, name: "plan", plan: "pro", limit: 2000, window: time.Hour, capacity: 2000},
		{policy: presets.Business, name: "plan", plan: "business", limit: 5000, window: time.Hour, capacity: 5000},
		{policy: presets.Enterprise, name: "plan", plan: "enterprise", limit: 20000, window: time.Hour, capacity: 20000},
		{policy: presets.FreeDaily, name: "daily-quota", plan: "free", limit: 500, unit: halt.Day, capacity: 500},
		{policy: presets.ProDaily, name: "daily-quota", plan: "pro", limit: 5000, unit: halt.Day, capacity: 5000},
		{policy: presets.FreeMonthly, name: "monthly-quota", plan: "free", limit: 10000, unit: halt.Month, capacity: 10000},
		{policy: presets.ProMonthly, name: "monthly-quota", plan: "pro", limit: 100000, unit: halt.Month, capacity: 100000},
		{policy: presets.EnterpriseMonthly, name: "monthly-quota", plan: "enterprise", limit: 1000000, unit: halt.Month, capacity: 1000000},
	} {
		p := c.policy
		if err := p.Validate(); err != nil {
			t.Error(err)
		}
		if p.Name != c.name || p.Plan != c.plan || p.Limit != c.limit || p.Window != c.window ||
			p.Period.Unit != c.unit || p.Capacity() != c.capacity || p.Block != c.block {
			t.Errorf("%+v is not as promised: %+v", p, c)
		}
	}
	if presets.AuthEndpoints.Algorithm != halt.SlidingWindow {
		t.Error("AuthEndpoints has to be settled, which takes a window")
	}
}

func TestPlanIsFoundInAnyCase(t *testing.T) {
	for _, name := range []string{"pro", "Pro", "PRO"} {
		if p, err := presets.Plan(name); err != nil || p != presets.Pro {
			t.Errorf("Plan(%q) = %v, %v", name, p, err)
		}
	}
	for _, name := range []string{"", "gold", "pro "} {
		if p, err := presets.Plan(name); !errors.Is(err, halt.ErrUnknownPolicy) {
			t.Errorf("Plan(%q) = %v, %v; want ErrUnknownPolicy", name, p, err)
		}
	}
}

func ExamplePlan() {
	p, err := presets.Plan("Starter")
	fmt.Println(p.Plan, p.Limit, p.Window, err)
	// Output: starter 500 1h0m0s <nil>
}
