package presets

import (
	"fmt"
	"strings"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// Plans: requests an hour, by what a customer pays. Key: the customer (user, organisation or API key). All are of one
// name, so that who changes to another plan takes along what was used. They are token buckets: who has used 1500 of Pro and
// changes to Free waits until Free's rate has made up for it. Rules with a Settle need a window instead: copy one and set
// its Algorithm.
var (
	Free       = plan("free", 100)          // 100 an hour
	Starter    = plan("starter", 500)       // 500 an hour
	Pro        = plan("pro", 2000)          // 2000 an hour
	Business   = plan("business", 5000)     // 5000 an hour
	Enterprise = plan("enterprise", 20_000) // 20 000 an hour
)

func plan(name string, limit int64) halt.Policy {
	return halt.Policy{Name: "plan", Plan: name, Limit: limit, Window: time.Hour}
}

// Plan returns the plan of that name, in whatever case: free, starter, pro, business or enterprise. Any other is
// an error that matches halt.ErrUnknownPolicy. It makes a resolver's last line:
//
//	return presets.Plan(user.Plan)
func Plan(name string) (halt.Policy, error) {
	for _, p := range []*halt.Policy{&Free, &Starter, &Pro, &Business, &Enterprise} {
		if strings.EqualFold(p.Plan, name) {
			return *p, nil
		}
	}
	return halt.Policy{}, fmt.Errorf("%w: plan %.80q", halt.ErrUnknownPolicy, name)
}

// Quotas: requests per calendar day or month in UTC. Key: the customer. Quotas of one length are of one name, so that an
// upgrade takes along what the period has used. Copy one to set Period.Zone or, of a month, Period.Anchor: the billing
// day.
var (
	FreeDaily         = quota("free", halt.Day, 500)               // 500 a day
	ProDaily          = quota("pro", halt.Day, 5000)               // 5000 a day
	FreeMonthly       = quota("free", halt.Month, 10_000)          // 10 000 a month
	ProMonthly        = quota("pro", halt.Month, 100_000)          // 100 000 a month
	EnterpriseMonthly = quota("enterprise", halt.Month, 1_000_000) // 1 000 000 a month
)

func quota(plan string, unit halt.Unit, limit int64) halt.Policy {
	name := map[halt.Unit]string{halt.Day: "daily-quota", halt.Month: "monthly-quota"}[unit]
	return halt.Policy{Name: name, Plan: plan, Limit: limit, Algorithm: halt.FixedWindow, Period: halt.Period{Unit: unit}}
}
