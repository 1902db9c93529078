package stats

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// rates returns the calls per second of a ring's last 60 whole spans and the current one.
func rates(ring []tally, age, span time.Duration) Rates {
	var t tally
	for i := range ring {
		t.add(&ring[i])
	}
	return ratesOf(&t, min(age, window*span+age%span))
}

func ratesOf(t *tally, over time.Duration) Rates {
	s := max(over, time.Second).Seconds() // a first decision is no burst
	return Rates{
		Allowed: float64(t.Allowed) / s, Refused: float64(t.Refused) / s,
		ShadowRefused: float64(t.ShadowRefused) / s, Errors: float64(t.Errors) / s,
	}
}

// points returns a ring's whole spans, oldest first.
func points(ring []tally, current int64) []Counts {
	n := int64(len(ring))
	ps := make([]Counts, 0, n-1)
	for i := current + 1; i < current+n; i++ {
		ps = append(ps, Counts(ring[i%n]))
	}
	return ps
}

func (t *policyTotal) counts() ChargeCounts {
	return ChargeCounts{
		Allowed: t.allowed, Refused: t.refused, Blocked: t.blocked, Errors: t.errors,
		ShadowAllowed: t.shadowAllowed, ShadowRefused: t.shadowRefused, Cost: t.cost,
	}
}

func (c *ChargeCounts) add(o ChargeCounts) {
	c.Allowed += o.Allowed
	c.Refused += o.Refused
	c.Blocked += o.Blocked
	c.Errors += o.Errors
	c.ShadowAllowed += o.ShadowAllowed
	c.ShadowRefused += o.ShadowRefused
	c.Cost = add(c.Cost, o.Cost)
}

// addPolicies fills in what is counted by policy, by name and plan.
func (s *Snapshot) addPolicies(h *history, names []policyName, age time.Duration) {
	plans := map[string]*PlanCounts{}
	for i := range h.policies {
		t := &h.policies[i]
		counts := t.counts()
		if counts == (ChargeCounts{}) {
			continue
		}
		s.QuotasExceeded += t.quota
		p := PolicyCounts{Policy: names[i].name, Plan: names[i].plan, ChargeCounts: counts}
		if i > 0 {
			p.describe(t)
		}
		p.useOf(t, age)
		s.Policies = append(s.Policies, p)
		plan := plans[p.Plan]
		if plan == nil {
			plan = &PlanCounts{Plan: p.Plan}
			plans[p.Plan] = plan
		}
		plan.add(counts)
	}
	for _, p := range plans {
		s.Plans = append(s.Plans, *p)
	}
	slices.SortFunc(s.Policies, func(a, b PolicyCounts) int {
		return cmp.Or(cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.Plan, b.Plan))
	})
	slices.SortFunc(s.Plans, func(a, b PlanCounts) int { return cmp.Compare(a.Plan, b.Plan) })
}

func (p *PolicyCounts) describe(t *policyTotal) {
	s := &t.shape
	if s.limit == 0 {
		return
	}
	p.Algorithm, p.Limit, p.Window = s.algorithm.String(), s.limit, s.window
	if s.limit != halt.Unlimited {
		p.Capacity = t.capacity
	}
	if s.period.Unit != halt.None {
		p.Period = s.period.String()
	}
}

func (p *PolicyCounts) useOf(t *policyTotal, age time.Duration) {
	u := t.lastMinute()
	if u.measured > 0 {
		p.Mean, p.Peak = min(u.used/float64(u.measured), 1), min(u.peak, 1)
	}
	over := min(age, window*time.Second+age%(10*time.Second))
	p.Rates = ratesOf(&tally{Allowed: u.allowed, Refused: u.refused, ShadowRefused: u.shadowRefused}, over)
}

func (s *Snapshot) addRoutes(h *history, names []string) {
	for i := range h.routes {
		if h.routes[i] != (tally{}) {
			s.Routes = append(s.Routes, RouteCounts{names[i], Counts(h.routes[i])})
		}
	}
	slices.SortFunc(s.Routes, func(a, b RouteCounts) int { return cmp.Compare(a.Route, b.Route) })
}

// top returns the keys of the largest counts.
func (c *Collector) top(s *sketch, names []policyName, h *history) TopKeys {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := TopKeys{Keys: []KeyCount{}, Total: s.total, Unlisted: s.floor, Shown: c.showKeys}
	for i := range s.entries[:s.n] {
		e := &s.entries[i]
		if len(t.Keys) == c.topKeys && e.count <= t.Keys[c.topKeys-1].Count {
			continue
		}
		number := e.id.policy()
		k := KeyCount{Policy: names[number].name, Plan: names[number].plan, Count: e.count, Error: e.err}
		if s.keys != nil {
			k.Key = s.keys[i].String()
		} else {
			k.Key = pseudonym(e.id)
		}
		if number < len(h.policies) {
			k.Quota = h.policies[number].shape.period.Unit != halt.None
		}
		at, _ := slices.BinarySearchFunc(t.Keys, k, func(a, b KeyCount) int {
			return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Key, b.Key), cmp.Compare(a.Policy, b.Policy))
		})
		t.Keys = slices.Insert(t.Keys, at, k)
		t.Keys = t.Keys[:min(len(t.Keys), c.topKeys)]
	}
	return t
}

// pseudonym stands for a key that is not to be shown. The hash is seeded, and half of it is told.
func pseudonym(id identity) string { return fmt.Sprintf("#%07x", uint64(id)>>36) }
