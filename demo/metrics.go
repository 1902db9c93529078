package main

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	haltotel "github.com/halt-dev/halt/adapters/otel"
	halt "github.com/halt-dev/halt/core"
)

const metricsPath = "/metrics"

// newMetrics returns an observer that counts decisions by OpenTelemetry, and what serves the counts to Prometheus. A service
// of your own has its MeterProvider already, and needs no more than haltotel.New(nil).
func newMetrics() (halt.Observer, http.Handler, error) {
	registry := prometheus.NewRegistry()
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry))
	if err != nil {
		return nil, nil, err
	}
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter))
	observer, err := haltotel.New(&haltotel.Options{MeterProvider: meters})
	if err != nil {
		return nil, nil, err
	}
	return observer, promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}), nil
}
