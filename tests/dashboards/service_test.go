package dashboards

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	haltotel "github.com/halt-dev/halt/adapters/otel"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

// service is a program with limiters, whose metrics can be scraped.
type service struct {
	t               *testing.T
	metrics         *httptest.Server
	tracer          trace.Tracer
	limiter         *halt.Limiter // on a store that works
	slow, down      *halt.Limiter // on one that is slow, on one that is down
	crowded         *halt.Limiter // whose routes are more than are told apart
	plan, trial     halt.Policy
	login, inFlight halt.Policy
}

func newService(t *testing.T) *service {
	t.Helper()
	registry := prometheus.NewRegistry()
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry))
	if err != nil {
		t.Fatal(err)
	}
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter))
	tracers := sdktrace.NewTracerProvider()
	t.Cleanup(func() { _ = meters.Shutdown(context.Background()) })
	limiter := func(s halt.Store, most int) *halt.Limiter {
		ob, err := haltotel.New(&haltotel.Options{MeterProvider: meters, TracerProvider: tracers, MaxSeries: most})
		if err != nil {
			t.Fatal(err)
		}
		return halt.New(s, &halt.Options{Observers: []halt.Observer{ob}})
	}
	s := &service{
		t: t, tracer: tracers.Tracer("test"),
		limiter:  limiter(memory.New(nil), 0),
		slow:     limiter(&store{Store: memory.New(nil), name: "slow", delay: 60 * time.Millisecond}, 0),
		down:     limiter(&store{Store: memory.New(nil), name: "down", err: errors.New("down")}, 0),
		crowded:  limiter(memory.New(nil), 1),
		plan:     halt.Policy{Name: "plan", Plan: "free", Limit: 3, Window: time.Second},
		trial:    halt.Policy{Name: "trial", Limit: 1, Window: time.Second},
		login:    halt.Policy{Name: "login", Algorithm: halt.FixedWindow, Limit: 1, Window: time.Hour, Block: time.Minute},
		inFlight: halt.Policy{Name: "inside", Algorithm: halt.InFlight, Limit: 5, Window: time.Minute},
	}
	s.metrics = httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		EnableOpenMetrics: true, ErrorHandling: promhttp.HTTPErrorOnError,
	}))
	t.Cleanup(s.metrics.Close)
	return s
}

// serve sends traffic until the test ends. All that happens happens again and again, as rates need it to.
func (s *service) serve() {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	s.t.Cleanup(func() {
		cancel()
		done.Wait()
	})
	done.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := s.request(ctx, i); err != nil && ctx.Err() == nil {
				s.t.Error(err)
				return
			}
		}
	})
}

// request does one of each thing that a dashboard may show.
func (s *service) request(ctx context.Context, i int) error {
	ctx, span := s.tracer.Start(ctx, "request")
	defer span.End()
	shadow := s.trial.Charge("k", 1)
	shadow.Mode = halt.Shadow
	call := halt.Call{Route: "GET /a", Charges: []halt.Charge{s.plan.Charge("k", 1), shadow}}
	if err := s.limiter.Do(ctx, &call); err != nil {
		return err
	}
	call = halt.Call{Route: "POST /login", Charges: []halt.Charge{s.login.Charge(fmt.Sprint("k", i/10), 1)}}
	if err := s.limiter.Do(ctx, &call); err != nil {
		return err
	}
	r, err := s.limiter.Reserve(ctx, s.inFlight, "k", 1)
	if err != nil {
		return err
	}
	if err := r.Cancel(ctx); err != nil {
		return err
	}
	call = halt.Call{Route: "GET /a", Charges: []halt.Charge{s.plan.Charge("k", 1)}, FailOpen: i%2 == 0}
	if err := s.down.Do(ctx, &call); !errors.Is(err, halt.ErrStore) {
		return fmt.Errorf("the store that is down: %w", err)
	}
	call = halt.Call{Route: fmt.Sprint("GET /", i), Charges: []halt.Charge{s.plan.Charge("k", 1)}}
	if err := s.crowded.Do(ctx, &call); err != nil {
		return err
	}
	call = halt.Call{Route: "GET /slow", Charges: []halt.Charge{s.plan.Charge("k", 1)}}
	return s.slow.Do(ctx, &call)
}

// store is a memory store that is slow, or down.
type store struct {
	*memory.Store
	name  string
	delay time.Duration
	err   error
}

func (s *store) Name() string { return s.name }

func (s *store) Take(ctx context.Context, cs []halt.Charge, ds []halt.Decision) error {
	if s.err != nil {
		return s.err
	}
	t := time.NewTimer(s.delay)
	defer t.Stop()
	select {
	case <-t.C:
		return s.Store.Take(ctx, cs, ds)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// scrape returns what the service exposes.
func (s *service) scrape() (string, error) {
	return get(s.t.Context(), s.metrics.Client(), s.metrics.URL)
}

func get(ctx context.Context, c *http.Client, url string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := c.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := readAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return body, err
}
