package haltotel

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	halt "github.com/halt-dev/halt/core"
)

// meters are the instruments, and what is kept of each combination of attributes.
type meters struct {
	decisions  metric.Int64Counter
	cost       metric.Int64Counter
	returned   metric.Int64Counter
	failedOpen metric.Int64Counter
	duration   metric.Float64Histogram

	routeKey  attribute.Key
	maxSeries int
	series    table[labels, series]
	slots     [slots]atomic.Pointer[series] // some of series
	others    series                        // under which all else counts
	timers    table[timed, timer]
	usual     atomic.Pointer[timer] // the first of them that is of no failure
}

// boundaries of halt.store.duration, in seconds: from a store in memory to one that runs into its timeout.
var boundaries = []float64{
	0.000001, 0.000005, 0.00001, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1,
}

func (m *meters) init(c *Options) error {
	m.routeKey, m.maxSeries = c.RouteKey, c.MaxSeries
	m.others.labels = labels{Other, Other, Other}
	meter := c.MeterProvider.Meter(scope, metric.WithInstrumentationVersion(version()))
	var errs []error
	counter := func(name, unit, description string) metric.Int64Counter {
		i, err := meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description))
		errs = append(errs, err)
		return i
	}
	m.decisions = counter("halt.decisions", "{decision}", "Decisions on charges, by their outcome.")
	m.cost = counter("halt.cost", "{cost}", "Cost that was spent.")
	m.returned = counter("halt.cost_returned", "{cost}", "Cost that was given back of what was spent.")
	m.failedOpen = counter("halt.failed_open", "{decision}", "Decisions that the store failed to make, and whose request went on.")
	var err error
	m.duration, err = meter.Float64Histogram("halt.store.duration", metric.WithUnit("s"),
		metric.WithDescription("Duration of calls to the store; of those that take less than a microsecond a sample."),
		metric.WithExplicitBucketBoundaries(boundaries...))
	errs = append(errs, err)
	inUse, err := meter.Int64ObservableUpDownCounter("halt.series", metric.WithUnit("{series}"),
		metric.WithDescription("Combinations of policy, plan and route that are told apart."))
	errs = append(errs, err)
	if err := errors.Join(errs...); err != nil {
		return err
	}
	_, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		all := m.series.all()
		for _, s := range all {
			m.flush(s)
		}
		m.flush(&m.others)
		o.ObserveInt64(inUse, int64(len(all)))
		return nil
	}, inUse)
	return err
}

// measure counts and times a call.
func (m *meters) measure(ctx context.Context, e *halt.Event) {
	traced := trace.SpanContextFromContext(ctx).IsSampled()
	var asked bool
	switch {
	case e.Err != nil:
		asked = true
		m.failed(ctx, e, traced)
	case e.Internal: // the store is asked; but it is no decision
		asked = true
	default:
		asked = m.decided(ctx, e, traced)
	}
	if asked {
		m.record(ctx, e, traced)
	}
}

// decided counts a call that was decided, and tells whether the store was asked.
func (m *meters) decided(ctx context.Context, e *halt.Event, traced bool) (asked bool) {
	admitted := e.Decisions.Allowed()
	for i := range e.Charges {
		c, d := &e.Charges[i], &e.Decisions[i]
		if c.Policy.Limit != halt.Unlimited {
			asked = true
		}
		if c.Mode == halt.Peek || c.Mode == halt.Take && d.Allowed && !admitted {
			continue
		}
		s := m.seriesOf(c.Policy.Name, c.Policy.Plan, e.Route)
		switch c.Mode {
		case halt.Take:
			switch {
			case admitted:
				m.sum(ctx, m.cost, s, &s.cost, c.Cost, traced)
				m.count(ctx, s, allowed, traced)
			case d.Blocked:
				m.count(ctx, s, blocked, traced)
			default:
				m.count(ctx, s, refused, traced)
			}
		case halt.Shadow:
			if d.Allowed {
				m.count(ctx, s, wouldAllow, traced)
			} else {
				m.count(ctx, s, wouldRefuse, traced)
			}
		case halt.Debit:
			if !c.Shadow {
				m.sum(ctx, m.cost, s, &s.cost, c.Cost, traced)
			}
		case halt.Credit:
			if !c.Shadow {
				m.sum(ctx, m.returned, s, &s.returned, c.Cost, traced)
			}
		default: // a Peek
		}
	}
	return asked
}

// failed counts a call that the store could not decide. If its caller gave up it is no failure of the store's.
func (m *meters) failed(ctx context.Context, e *halt.Event, traced bool) {
	if kind(ctx, e.Err) == canceled {
		return
	}
	for i := range e.Charges {
		c := &e.Charges[i]
		if c.Mode != halt.Take && c.Mode != halt.Shadow {
			continue
		}
		s := m.seriesOf(c.Policy.Name, c.Policy.Plan, e.Route)
		m.count(ctx, s, failed, traced)
		if e.FailedOpen && c.Mode == halt.Take {
			m.sum(ctx, m.failedOpen, s, &s.failedOpen, 1, traced)
		}
	}
}

// timed is what durations are told apart by.
type timed struct{ store, kind string }

// timer is halt.store.duration of one combination of attributes.
type timer struct {
	store   string
	options []metric.RecordOption
	quick   atomic.Bool // the latest that was recorded took less than quickly
}

const (
	quickly   = time.Microsecond
	oneIn     = 16 // of a store that is quick one call in so many is recorded
	maxTimers = 64 // many more than there are stores and kinds of failure
)

// record tells how long the store took. Which of a quick store's calls are recorded does not depend on how long they took
// themselves, so that the distribution is theirs.
func (m *meters) record(ctx context.Context, e *halt.Event, traced bool) {
	if !m.duration.Enabled(ctx) {
		return
	}
	t := m.usual.Load()
	if t == nil || e.Err != nil || t.store != e.Store {
		t = m.timerOf(ctx, e)
	}
	if e.Err == nil && !traced && t.quick.Load() && rand.Uint32N(oneIn) != 0 {
		return
	}
	m.duration.Record(ctx, e.Elapsed.Seconds(), t.options...)
	if quick := e.Elapsed < quickly; quick != t.quick.Load() {
		t.quick.Store(quick)
	}
}

// timerOf returns the timer of a call. Beyond the bound the store is Other.
func (m *meters) timerOf(ctx context.Context, e *halt.Event) *timer {
	k := timed{store: short(e.Store)}
	if e.Err != nil {
		k.kind = kind(ctx, e.Err)
	}
	if t := m.timers.get(k); t != nil {
		return t
	}
	most := maxTimers
	if m.timers.full(maxTimers) {
		k.store, most = Other, 2*maxTimers
	}
	if t := m.timers.get(k); t != nil {
		return t
	}
	kvs := []attribute.KeyValue{storeKey.String(valid(k.store))}
	if k.kind != "" {
		kvs = append(kvs, errorKey.String(k.kind))
	}
	k.store = strings.Clone(k.store)
	t := &timer{store: k.store, options: []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(kvs...))}}
	if there := m.timers.add(k, most, t); there != nil {
		t = there
	}
	if k.kind == "" {
		m.usual.CompareAndSwap(nil, t)
	}
	return t
}
