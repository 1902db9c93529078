package haltotel

import (
	"context"
	"strings"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Other is what policies, plans and routes beyond [Options].MaxSeries count as. It is no valid name of a policy.
const Other = "(other)"

const (
	maxLabel = 256 // bytes of a plan or a route
	// spareSeries are for policies and plans, their routes as Other, when MaxSeries are in use. With them and the last
	// resort all outcomes of all series of the default stay below the SDK's limit of 2000.
	spareSeries = 50
)

// outcome is what became of a charge that takes.
type outcome int

const (
	allowed outcome = iota
	refused
	blocked
	wouldAllow
	wouldRefuse
	failed
	outcomes
)

var outcomeNames = [outcomes]string{"allowed", "refused", "blocked", "shadow_allowed", "shadow_refused", "error"}

// labels are what series are told apart by.
type labels struct{ policy, plan, route string }

// series are the counters of one combination of labels.
type series struct {
	labels     labels
	decisions  [outcomes]tally
	cost       tally
	returned   tally
	failedOpen tally
}

// tally is a counter with its attributes. An SDK's counter takes longer than a decision in memory, so what belongs to no
// sampled trace, and so cannot become an exemplar, waits in pending for the next collection.
type tally struct {
	pending atomic.Int64
	options atomic.Pointer[[]metric.AddOption] // made when first needed
}

const (
	// mostDecisions and mostCost are what waits at most. The first bounds what is not exported should collections not call
	// back, because a view drops halt.series; the second keeps a sum from overflowing.
	mostDecisions = 64
	mostCost      = 1 << 58
	// mostAtOnce bounds what is added at once. A float64, as which exporters may write it, counts no further either.
	mostAtOnce = 1 << 53
)

// seriesOf returns the series of a combination, or the one that it counts under. It looks where a cheap guess says first:
// hashing three strings takes as long as all the rest.
func (m *meters) seriesOf(policy, plan, route string) *series {
	k := labels{policy, plan, route}
	slot := &m.slots[k.guess()%slots]
	there := slot.Load()
	if there != nil && there.labels == k {
		return there
	}
	s := m.findSeries(k)
	if there == nil && s.labels == k {
		slot.CompareAndSwap(nil, s) // who comes first keeps the slot, so that two do not drive each other out
	}
	return s
}

const slots = 512

func (k *labels) guess() uint {
	return 31*ends(k.policy) + 17*ends(k.plan) + ends(k.route)
}

// ends is a number from the length, the last and the middle byte of s.
func ends(s string) uint {
	n := uint(len(s))
	if n == 0 {
		return 0
	}
	return n + 7*uint(s[n-1]) + 3*uint(s[n/2])
}

// findSeries returns the series of k, or the one that it counts under.
func (m *meters) findSeries(k labels) *series {
	if s := m.series.get(k); s != nil {
		return s
	}
	k.plan, k.route = short(k.plan), short(k.route)
	if s := m.addSeries(k, m.maxSeries); s != nil {
		return s
	}
	k.route = Other
	if s := m.addSeries(k, m.maxSeries+spareSeries); s != nil {
		return s
	}
	return &m.others
}

// short is s if it may be a label.
func short(s string) string {
	if len(s) > maxLabel {
		return Other
	}
	return s
}

// addSeries returns the series of k, which it makes if there is none, or nil if there are as many as most.
func (m *meters) addSeries(k labels, most int) *series {
	if s := m.series.get(k); s != nil || m.series.full(most) {
		return s
	}
	// A framework may reuse the memory of its strings.
	k = labels{strings.Clone(k.policy), strings.Clone(k.plan), strings.Clone(k.route)}
	return m.series.add(k, most, &series{labels: k})
}

// count adds one to an outcome.
func (m *meters) count(ctx context.Context, s *series, o outcome, traced bool) {
	if m.decisions.Enabled(ctx) && s.decisions[o].add(ctx, m, m.decisions, s, o, 1, mostDecisions, traced) {
		m.flush(s)
	}
}

// sum adds n to one of the tallies of s that have no outcome.
func (m *meters) sum(ctx context.Context, c metric.Int64Counter, s *series, t *tally, n int64, traced bool) {
	if n > 0 && c.Enabled(ctx) && t.add(ctx, m, c, s, outcomes, min(n, mostAtOnce), mostCost, traced) {
		m.flush(s)
	}
}

// add adds n: at once if the context belongs to a sampled trace, else to what waits. It tells whether more than most waits.
func (t *tally) add(ctx context.Context, m *meters, c metric.Int64Counter, s *series, o outcome, n, most int64, traced bool) bool {
	if traced {
		c.Add(ctx, n, t.attributes(m, s, o)...)
		return false
	}
	return t.pending.Add(n) >= most
}

// flush hands what waits to the SDK.
func (t *tally) flush(m *meters, c metric.Int64Counter, s *series, o outcome) {
	if n := t.pending.Swap(0); n > 0 {
		c.Add(context.Background(), n, t.attributes(m, s, o)...)
	}
}

// flush hands what waits in a series to the SDK.
func (m *meters) flush(s *series) {
	for o := range s.decisions {
		s.decisions[o].flush(m, m.decisions, s, outcome(o))
	}
	s.cost.flush(m, m.cost, s, outcomes)
	s.returned.flush(m, m.returned, s, outcomes)
	s.failedOpen.flush(m, m.failedOpen, s, outcomes)
}

// attributes returns those of a series, with the outcome if it is one.
func (t *tally) attributes(m *meters, s *series, o outcome) []metric.AddOption {
	if p := t.options.Load(); p != nil {
		return *p
	}
	kvs := []attribute.KeyValue{policyKey.String(valid(s.labels.policy))}
	if s.labels.plan != "" {
		kvs = append(kvs, planKey.String(valid(s.labels.plan)))
	}
	if s.labels.route != "" {
		kvs = append(kvs, m.routeKey.String(valid(s.labels.route)))
	}
	if o < outcomes {
		kvs = append(kvs, outcomeKey.String(outcomeNames[o]))
	}
	opts := []metric.AddOption{metric.WithAttributeSet(attribute.NewSet(kvs...))}
	t.options.Store(&opts)
	return opts
}
