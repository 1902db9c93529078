package haltotel

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"runtime/debug"
	"strings"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// Options are an observer's. The zero value, or nil, is the default.
type Options struct {
	// TracerProvider makes the spans. Default: the global one, also if it is set later. For no spans:
	// noop.NewTracerProvider().
	TracerProvider trace.TracerProvider
	// MeterProvider makes the instruments. Default: the global one; what is decided before that is set is not counted. For
	// no metrics: noop.NewMeterProvider().
	MeterProvider metric.MeterProvider
	// RouteKey is the attribute that tells the route. Default: "http.route". Choose another, such as
	// "graphql.operation.name", where routes are something else.
	RouteKey attribute.Key
	// MaxSeries bounds how many combinations of policy, plan and route are told apart. Default: 250, which with all outcomes
	// stays below the SDK's own limit of 2000. See the package's documentation for what becomes of others.
	MaxSeries int
	// SpanKey turns a charge's key into a span's attribute halt.key. Default: nil, spans have none. A key is often somebody's
	// address or name: [HashKeys] makes a pseudonym of it. Metrics never have keys. It is called concurrently, for spans that
	// record only.
	SpanKey func(key string) string
}

const (
	defaultMaxSeries = 250
	defaultRouteKey  = attribute.Key("http.route")
)

// withDefaults returns the options with every optional value filled in, or an error that names every fault.
func (o *Options) withDefaults() (Options, error) {
	var c Options
	if o != nil {
		c = *o
	}
	var errs []error
	if c.MaxSeries < 0 {
		errs = append(errs, errors.New("halt/otel: Options.MaxSeries must be 0 (250) or more"))
	}
	if c.RouteKey == errorKey || strings.HasPrefix(string(c.RouteKey), "halt.") {
		errs = append(errs, errors.New("halt/otel: Options.RouteKey must not be an attribute of this package's own"))
	}
	if c.MaxSeries == 0 {
		c.MaxSeries = defaultMaxSeries
	}
	if c.RouteKey == "" {
		c.RouteKey = defaultRouteKey
	}
	if c.TracerProvider == nil {
		c.TracerProvider = otel.GetTracerProvider()
	}
	if c.MeterProvider == nil {
		c.MeterProvider = otel.GetMeterProvider()
	}
	return c, errors.Join(errs...)
}

// HashKeys returns a function for [Options].SpanKey: a pseudonym of 16 hexadecimal digits, by HMAC-SHA256. Whoever knows the
// secret can tell whose it is by trying, nobody else can; so it must be long and random, and the same in all processes
// whose spans are to be compared. It is safe for concurrent use.
func HashKeys(secret []byte) func(key string) string {
	secret = append([]byte(nil), secret...)
	return func(key string) string {
		h := hmac.New(sha256.New, secret)
		h.Write([]byte(key))
		return hex.EncodeToString(h.Sum(nil)[:8])
	}
}

// scope is the name of the tracer and the meter.
const scope = "github.com/halt-dev/halt/adapters/otel"

// version is this module's in the program, "" where it isn't a released one.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, m := range info.Deps {
		if m.Path == scope && m.Replace == nil && m.Version != "(devel)" {
			return m.Version
		}
	}
	return ""
}
