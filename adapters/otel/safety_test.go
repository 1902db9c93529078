package haltotel_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"go.opentelemetry.io/otel"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	haltotel "github.com/halt-dev/halt/adapters/otel"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

// TestNoKeys: neither spans nor metrics have a key, unless it is asked for, and then spans alone.
func TestNoKeys(t *testing.T) {
	const key = "user:ann@example.com"
	for _, c := range []struct {
		what    string
		spanKey func(string) string
		want    string
	}{
		{"by default", nil, ""},
		{"hashed", haltotel.HashKeys([]byte("secret")), "key=000f1a5c9ce4e319 "},
		{"as they are", func(key string) string { return key }, "key=" + key + " "},
	} {
		tm := newTelemetry(t, nil)
		ob := tm.observer(haltotel.Options{SpanKey: c.spanKey})
		ctx, request := tm.request()
		for _, s := range []halt.Store{memory.New(nil), failing(context.DeadlineExceeded)} {
			call := halt.Call{Charges: []halt.Charge{quota("api", "", 1).Charge(key, 1)}, FailOpen: true}
			l := halt.New(s, &halt.Options{Observers: []halt.Observer{ob}})
			for range 2 {
				_ = l.Do(ctx, &call) // fails, on the second store
			}
		}
		request.End()
		for _, s := range tm.spans.GetSpans() {
			all := attributes(s.Attributes)
			if s.Name == "halt.take" && !strings.Contains(all, c.want) {
				t.Errorf("%s: a span lacks %s: %s", c.what, c.want, all)
			}
			if strings.Contains(strings.Replace(fmt.Sprintf("%s %+v", all, s), c.want, "", 1), key) && c.what != "as they are" {
				t.Errorf("%s: a span has the key: %+v", c.what, s)
			}
		}
		if all := fmt.Sprintf("%+v", tm.collect()); strings.Contains(all, "ann@") {
			t.Errorf("%s: a metric has the key: %s", c.what, all)
		}
	}
}

// TestCardinality: routes, plans and policies without end make a bounded number of series, and none is lost.
func TestCardinality(t *testing.T) {
	const calls = 3000
	for what, call := range map[string]func(i int) (halt.Policy, string){
		"routes":   func(i int) (halt.Policy, string) { return quota("api", "free", 1<<30), fmt.Sprint("/", i) },
		"plans":    func(i int) (halt.Policy, string) { return quota("api", fmt.Sprint("plan ", i), 1<<30), "/a" },
		"policies": func(i int) (halt.Policy, string) { return quota(fmt.Sprint("api-", i), "", 1<<30), "/a" },
		"all": func(i int) (halt.Policy, string) {
			return quota(fmt.Sprint("api-", i), fmt.Sprint(i), 1<<30), fmt.Sprint(i)
		},
	} {
		t.Run(what, func(t *testing.T) {
			tm := newTelemetry(t, nil)
			l := tm.limiter(memory.New(nil))
			for i := range calls {
				p, route := call(i)
				do(t, l, t.Context(), route, p.Charge("k", 1))
			}
			var sum, other int64
			points := tm.collect()["halt.decisions"].Data.(metricdata.Sum[int64]).DataPoints
			for _, p := range points {
				sum += p.Value
				if all := attributes(p.Attributes.ToSlice()); strings.Contains(all, "overflow") {
					t.Errorf("the SDK's own limit is reached: %s", all)
				} else if strings.Contains(all, haltotel.Other) {
					other += p.Value
				}
			}
			if sum != calls || len(points) > 301 || other < calls-300 {
				t.Errorf("%d decisions in %d series, %d of them other", sum, len(points), other)
			}
		})
	}
}

// TestCardinalityOfRoutes: routes without end do not hide which policy refuses.
func TestCardinalityOfRoutes(t *testing.T) {
	tm := newTelemetry(t, nil)
	ob := tm.observer(haltotel.Options{MaxSeries: 2})
	l := halt.New(memory.New(nil), &halt.Options{Observers: []halt.Observer{ob}})
	for i := range 5 {
		do(t, l, t.Context(), fmt.Sprint("/", i), quota("a", "", 100).Charge("k", 1))
		do(t, l, t.Context(), fmt.Sprint("/", i), quota("b", "", 1).Charge("k", 1))
	}
	expect(t, "halt.decisions", tm.counts("halt.decisions"),
		"http.route=/0 outcome=allowed policy=a 1", "http.route=/0 outcome=allowed policy=b 1",
		"http.route=(other) outcome=allowed policy=a 4", "http.route=(other) outcome=refused policy=b 4")
}

// TestLabels: what exporters could not send does not reach them.
func TestLabels(t *testing.T) {
	tm := newTelemetry(t, nil)
	l := tm.limiter(memory.New(nil))
	ctx, request := tm.request()
	do(t, l, ctx, "GET /\xff", quota("api", "caf\xe9", 1).Charge("k", 1))
	do(t, l, t.Context(), strings.Repeat("r", 300), quota("api", strings.Repeat("p", 300), 1).Charge("k2", 1))
	request.End()
	expect(t, "halt.cost", tm.counts("halt.cost"),
		"http.route=GET /\uFFFD plan=caf\uFFFD policy=api 1", "http.route=(other) plan=(other) policy=api 1")
	for _, s := range tm.spans.GetSpans() {
		if all := attributes(s.Attributes); !utf8.ValidString(all) {
			t.Errorf("a span has %q", all)
		}
	}
}

// TestExemplars: what belongs to a sampled trace is an exemplar, and it is exact.
func TestExemplars(t *testing.T) {
	tm := newTelemetry(t, nil)
	l := tm.limiter(memory.New(nil))
	p := quota("api", "", 50)
	for range 49 {
		do(t, l, t.Context(), "", p.Charge("k", 1))
	}
	ctx, request := tm.request()
	do(t, l, ctx, "", p.Charge("k", 1))
	allowed := tm.took()
	do(t, l, ctx, "", p.Charge("k", 1))
	refused := tm.took()
	request.End()
	all := tm.collect()
	expect(t, "halt.decisions", countsOf(t, all["halt.decisions"]), "outcome=allowed policy=api 50", "outcome=refused policy=api 1")
	for _, d := range all["halt.decisions"].Data.(metricdata.Sum[int64]).DataPoints {
		want := allowed.SpanContext.SpanID()
		if v, _ := d.Attributes.Value("halt.outcome"); v.AsString() == "refused" {
			want = refused.SpanContext.SpanID()
		}
		if len(d.Exemplars) != 1 || string(d.Exemplars[0].SpanID) != string(want[:]) || d.Exemplars[0].Value != 1 {
			t.Errorf("%v: exemplars %+v, want the span %v", attributes(d.Attributes.ToSlice()), d.Exemplars, want)
		}
	}
	links := map[string]bool{}
	for _, d := range all["halt.store.duration"].Data.(metricdata.Histogram[float64]).DataPoints {
		for _, e := range d.Exemplars {
			links[string(e.SpanID)] = true
		}
	}
	a, r := allowed.SpanContext.SpanID(), refused.SpanContext.SpanID()
	if !links[string(a[:])] && !links[string(r[:])] { // the latter may have taken the former's place in its bucket
		t.Errorf("halt.store.duration has no exemplar of the spans: %v", links)
	}
}

// TestConcurrency: nothing is lost or counted twice, while collections go on, for either of two readers.
func TestConcurrency(t *testing.T) {
	second := sdkmetric.NewManualReader()
	tm := newTelemetry(t, []sdkmetric.Option{sdkmetric.WithReader(second)})
	l := tm.limiter(memory.New(nil))
	ctx, request := tm.request()
	const workers, calls = 8, 500
	var deciding, collecting sync.WaitGroup
	done := make(chan struct{})
	for _, r := range []sdkmetric.Reader{tm.reader, second} {
		collecting.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					collectFrom(t, r)
				}
			}
		})
	}
	for w := range workers {
		deciding.Go(func() {
			for i := range calls {
				c := t.Context()
				if i%10 == 0 {
					c = ctx
				}
				do(t, l, c, fmt.Sprint("/", i%400), quota("api", fmt.Sprint(w), 1<<40).Charge("k", 3))
			}
		})
	}
	deciding.Wait()
	close(done)
	collecting.Wait()
	request.End()
	for _, r := range []sdkmetric.Reader{tm.reader, second} {
		all := collectFrom(t, r)
		for name, want := range map[string]int64{"halt.decisions": workers * calls, "halt.cost": 3 * workers * calls} {
			var sum int64
			for _, p := range all[name].Data.(metricdata.Sum[int64]).DataPoints {
				sum += p.Value
			}
			if sum != want {
				t.Errorf("%s: %d, want %d", name, sum, want)
			}
		}
	}
	if n := len(tm.spans.GetSpans()); n != workers*calls/10+1 {
		t.Errorf("%d spans", n)
	}
}

// broken is a span processor that panics.
type broken struct{ sdktrace.SpanProcessor }

func (broken) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (broken) OnEnd(s sdktrace.ReadOnlySpan) {
	if s.Name() == "halt.take" {
		panic("broken")
	}
}
func (broken) Shutdown(context.Context) error   { return nil }
func (broken) ForceFlush(context.Context) error { return nil }

// TestPanics: neither the program's functions nor its span processors reach the request, and what is counted stays right.
func TestPanics(t *testing.T) {
	for what, tm := range map[string]*telemetry{
		"SpanKey":          newTelemetry(t, nil),
		"a span processor": newTelemetry(t, nil, sdktrace.WithSpanProcessor(broken{})),
	} {
		o := haltotel.Options{}
		if what == "SpanKey" {
			o.SpanKey = func(string) string { panic("broken") }
		}
		l := halt.New(memory.New(nil), &halt.Options{Observers: []halt.Observer{tm.observer(o)}})
		ctx, request := tm.request()
		for range 3 {
			do(t, l, ctx, "", plenty.Charge("k", 1))
		}
		request.End()
		expect(t, what, tm.counts("halt.decisions"), "outcome=allowed plan=free policy=api 3")
		if n := len(tm.spans.GetSpans()); what == "SpanKey" && n != 4 {
			t.Errorf("%s: %d spans, want all", what, n)
		}
	}
}

// TestGlobals: without options it goes by the global providers, also those that are set later. What is global can be set
// once in a process, so this is done in one of its own.
func TestGlobals(t *testing.T) {
	if os.Getenv("HALTOTEL_GLOBALS") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestGlobals$", "-test.v")
		cmd.Env = append(os.Environ(), "HALTOTEL_GLOBALS=1")
		if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS: TestGlobals")) {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	ob, err := haltotel.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	l := halt.New(memory.New(nil), &halt.Options{Observers: []halt.Observer{ob}})
	do(t, l, t.Context(), "", plenty.Charge("k", 1)) // nobody is there to count it
	tm := newTelemetry(t, nil)
	otel.SetMeterProvider(tm.meters)
	otel.SetTracerProvider(tm.tracers)
	ctx, request := tm.request()
	do(t, l, ctx, "", plenty.Charge("k", 1))
	request.End()
	tm.took()
	expect(t, "halt.decisions", tm.counts("halt.decisions"), "outcome=allowed plan=free policy=api 1")
}

// TestNoGoroutines: an observer runs none.
func TestNoGoroutines(t *testing.T) {
	tm := newTelemetry(t, nil)
	before := runtime.NumGoroutine()
	for range 10 {
		l := tm.limiter(memory.New(nil))
		do(t, l, t.Context(), "", plenty.Charge("k", 1))
	}
	tm.collect()
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("%d goroutines, before %d", after, before)
	}
	// Several observers of one provider add up.
	expect(t, "halt.decisions", tm.counts("halt.decisions"), "outcome=allowed plan=free policy=api 10")
	expect(t, "halt.series", tm.counts("halt.series"), "10")
}
