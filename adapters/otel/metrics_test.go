package haltotel_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	haltotel "github.com/halt-dev/halt/adapters/otel"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

// TestInstruments: names, units and kinds are a contract: dashboards and alerts are made of them.
func TestInstruments(t *testing.T) {
	tm := newTelemetry(t, nil)
	l := tm.limiter(memory.New(nil))
	do(t, l, t.Context(), "GET /a", quota("api", "", 10).Charge("k", 5))
	r, err := l.Reserve(t.Context(), quota("api", "", 10), "k", 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	broken := halt.Call{Charges: []halt.Charge{quota("api", "", 10).Charge("k", 1)}, FailOpen: true}
	if err := tm.limiter(failing(errors.New("down"))).Do(t.Context(), &broken); err == nil {
		t.Fatal("no error")
	}
	got := tm.collect()
	for name, want := range map[string]struct {
		unit string
		kind string
	}{
		"halt.decisions":      {"{decision}", "metricdata.Sum[int64], monotonic"},
		"halt.cost":           {"{cost}", "metricdata.Sum[int64], monotonic"},
		"halt.cost_returned":  {"{cost}", "metricdata.Sum[int64], monotonic"},
		"halt.failed_open":    {"{decision}", "metricdata.Sum[int64], monotonic"},
		"halt.series":         {"{series}", "metricdata.Sum[int64]"},
		"halt.store.duration": {"s", "metricdata.Histogram[float64]"},
	} {
		m, ok := got[name]
		kind := fmt.Sprintf("%T", m.Data)
		if s, is := m.Data.(metricdata.Sum[int64]); is && s.IsMonotonic {
			kind += ", monotonic"
		}
		if !ok || m.Unit != want.unit || kind != want.kind || m.Description == "" {
			t.Errorf("%s: unit %q, %s, description %q", name, m.Unit, kind, m.Description)
		}
		delete(got, name)
	}
	for name := range got {
		t.Errorf("%s is not documented", name)
	}
}

func TestOutcomes(t *testing.T) {
	tm := newTelemetry(t, nil)
	l := tm.limiter(memory.New(nil))
	ctx := t.Context()
	block := quota("login", "", 1)
	block.Block = time.Hour
	small, large, unlimited := quota("small", "free", 3), quota("large", "", 100), halt.Policy{Name: "staff", Limit: halt.Unlimited}
	inside := halt.Policy{Name: "inside", Algorithm: halt.InFlight, Limit: 2, Window: time.Hour}
	trial := quota("trial", "", 1).Charge("k", 1)
	trial.Mode = halt.Shadow
	peek := small.Charge("k", 1)
	peek.Mode = halt.Peek

	for range 4 { // the fourth is refused by the small one, and then the large one spends nothing
		do(t, l, ctx, "GET /a", small.Charge("k", 1), large.Charge("k", 2), trial)
	}
	for range 3 {
		do(t, l, ctx, "POST /login", block.Charge("k", 1))
	}
	do(t, l, ctx, "", unlimited.Charge("k", 7))
	do(t, l, ctx, "GET /a", peek)
	if d := do(t, l, ctx, "GET /in", inside.Charge("k", 1)); d.Allowed() {
		do(t, l, ctx, "GET /in", halt.Charge{Policy: inside, Key: "k", Cost: 1, Mode: halt.Credit, Taken: 1, At: d[0].At})
	}
	do(t, l, ctx, "GET /a", halt.Charge{Policy: large, Key: "k", Cost: 10, Mode: halt.Debit})
	do(t, l, ctx, "GET /a", halt.Charge{Policy: trial.Policy, Key: "k", Cost: 10, Mode: halt.Debit, Shadow: true})

	expect(t, "halt.decisions", tm.counts("halt.decisions"),
		"http.route=GET /a outcome=allowed plan=free policy=small 3",
		"http.route=GET /a outcome=refused plan=free policy=small 1",
		"http.route=GET /a outcome=allowed policy=large 3",
		"http.route=GET /a outcome=shadow_allowed policy=trial 1",
		"http.route=GET /a outcome=shadow_refused policy=trial 3",
		"http.route=POST /login outcome=allowed policy=login 1",
		"http.route=POST /login outcome=blocked policy=login 2", // the one that begins the block too
		"outcome=allowed policy=staff 1",
		"http.route=GET /in outcome=allowed policy=inside 1",
	)
	expect(t, "halt.cost", tm.counts("halt.cost"),
		"http.route=GET /a plan=free policy=small 3",
		"http.route=GET /a policy=large 16",
		"http.route=POST /login policy=login 1",
		"policy=staff 7",
		"http.route=GET /in policy=inside 1",
	)
	expect(t, "halt.cost_returned", tm.counts("halt.cost_returned"), "http.route=GET /in policy=inside 1")
	expect(t, "halt.failed_open", tm.counts("halt.failed_open"))
	expect(t, "halt.series", tm.counts("halt.series"), "6")
}

// TestFailures: what fails is counted by its kind, and what went on nevertheless.
func TestFailures(t *testing.T) {
	tm := newTelemetry(t, nil)
	ctx := t.Context()
	gone, cancel := context.WithCancel(ctx)
	cancel()
	trial := quota("trial", "", 1).Charge("k", 1)
	trial.Mode = halt.Shadow
	call := func(ctx context.Context, err error, open bool, cs ...halt.Charge) {
		c := halt.Call{Charges: cs, Route: "GET /a", FailOpen: open}
		if err := tm.limiter(failing(err)).Do(ctx, &c); err == nil {
			t.Error("no error")
		}
	}
	api := quota("api", "pro", 1).Charge("k", 1)
	call(ctx, errors.New("dial tcp 10.0.0.7: refused"), true, api, trial)
	call(ctx, errors.New("dial tcp 10.0.0.7: refused"), false, api)
	call(ctx, context.DeadlineExceeded, true, api)
	call(ctx, fmt.Errorf("%w: 17 tries", halt.ErrContention), true, api)
	call(gone, context.Canceled, true, api) // no failure of the store's
	call(ctx, halt.ErrCorrupt, false, halt.Charge{Policy: api.Policy, Key: "k", Cost: 1, Mode: halt.Debit})

	expect(t, "halt.decisions", tm.counts("halt.decisions"),
		"http.route=GET /a outcome=error plan=pro policy=api 4",
		"http.route=GET /a outcome=error policy=trial 1",
	)
	expect(t, "halt.failed_open", tm.counts("halt.failed_open"), "http.route=GET /a plan=pro policy=api 3")
	expect(t, "halt.store.duration", tm.counts("halt.store.duration"),
		"error.type=store store=scripted 2",
		"error.type=deadline store=scripted 1",
		"error.type=contention store=scripted 1",
		"error.type=canceled store=scripted 1",
		"error.type=corrupt store=scripted 1",
	)
	expect(t, "halt.cost", tm.counts("halt.cost"))
}

// TestDuration: of a store that takes its time every call is recorded, to the nanosecond.
func TestDuration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tm := newTelemetry(t, nil)
		l := tm.limiter(&store{memory.New(nil), func() error {
			time.Sleep(3 * time.Millisecond) //nolint:forbidigo // in a bubble, where it takes no time
			return nil
		}})
		for range 100 {
			if _, err := l.Allow(t.Context(), plenty, "k"); err != nil {
				t.Fatal(err)
			}
		}
		d := tm.collect()["halt.store.duration"].Data.(metricdata.Histogram[float64]).DataPoints
		if len(d) != 1 || d[0].Count != 100 || d[0].Sum < 0.2999 || d[0].Sum > 0.3001 {
			t.Errorf("100 calls of 3 ms: %+v", d)
		}
		for i, b := range d[0].Bounds {
			if want := uint64(100); b == 0.005 && d[0].BucketCounts[i] != want {
				t.Errorf("%d of 100 calls of 3 ms are in the bucket up to %v s", d[0].BucketCounts[i], b)
			}
		}
	})
}

// TestQuickStore: of a store that takes no time a sample is recorded, and no more than that: it is dear.
func TestQuickStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where every call takes 0 s
		tm := newTelemetry(t, nil)
		l := tm.limiter(memory.New(nil))
		const calls = 16_000
		for range calls {
			if _, err := l.Allow(t.Context(), plenty, "k"); err != nil {
				t.Fatal(err)
			}
		}
		d := tm.collect()["halt.store.duration"].Data.(metricdata.Histogram[float64]).DataPoints
		if n := d[0].Count; n < 700 || n > 1300 { // 1000 ± 10 standard deviations
			t.Errorf("%d of %d calls were recorded, want one in 16", n, calls)
		}
	})
}

// TestUnlimited: a store that is not asked is not timed.
func TestUnlimited(t *testing.T) {
	tm := newTelemetry(t, nil)
	do(t, tm.limiter(memory.New(nil)), t.Context(), "", halt.Policy{Name: "staff", Limit: halt.Unlimited}.Charge("k", 1))
	expect(t, "halt.store.duration", tm.counts("halt.store.duration"))
}

// TestRouteKey: what routes are is the caller's to say.
func TestRouteKey(t *testing.T) {
	tm := newTelemetry(t, nil)
	ob := tm.observer(haltotel.Options{RouteKey: "graphql.operation.name"})
	do(t, halt.New(memory.New(nil), &halt.Options{Observers: []halt.Observer{ob}}), t.Context(), "search", quota("api", "", 1).Charge("k", 1))
	expect(t, "halt.cost", tm.counts("halt.cost"), "graphql.operation.name=search policy=api 1")
}

// TestDelta: each collection has what came since the last, for every reader.
func TestDelta(t *testing.T) {
	delta := sdkmetric.NewManualReader(sdkmetric.WithTemporalitySelector(func(sdkmetric.InstrumentKind) metricdata.Temporality {
		return metricdata.DeltaTemporality
	}))
	tm := newTelemetry(t, []sdkmetric.Option{sdkmetric.WithReader(delta)})
	l := tm.limiter(memory.New(nil))
	for i := range 3 {
		for range 1000 {
			do(t, l, t.Context(), "", plenty.Charge("k", 2))
		}
		expect(t, "since the last collection", countsOf(t, collectFrom(t, delta)["halt.cost"]), "plan=free policy=api 2000")
		expect(t, "since the start", tm.counts("halt.cost"), fmt.Sprint("plan=free policy=api ", 2000*(i+1)))
	}
}

// TestViewWithoutSeries: a view may drop halt.series, with which the SDK no longer tells of a collection. Then what waits
// is handed on in batches.
func TestViewWithoutSeries(t *testing.T) {
	tm := newTelemetry(t, []sdkmetric.Option{sdkmetric.WithView(sdkmetric.NewView(
		sdkmetric.Instrument{Name: "halt.series"}, sdkmetric.Stream{Aggregation: sdkmetric.AggregationDrop{}},
	))})
	l := tm.limiter(memory.New(nil))
	for range 100 {
		do(t, l, t.Context(), "", plenty.Charge("k", 1))
	}
	expect(t, "after 100 decisions", tm.counts("halt.decisions"), "outcome=allowed plan=free policy=api 64")
	expect(t, "their cost", tm.counts("halt.cost"), "plan=free policy=api 64")
}

// TestOptions: every fault is named.
func TestOptions(t *testing.T) {
	_, err := haltotel.New(&haltotel.Options{MaxSeries: -1, RouteKey: "halt.policy"})
	const want = "halt/otel: Options.MaxSeries must be 0 (250) or more\nhalt/otel: Options.RouteKey must not be an attribute of this package's own"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
