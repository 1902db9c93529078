package httpkit_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
	"github.com/halt-dev/halt/core/httpkit"
	"github.com/halt-dev/halt/core/storetest"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // the failures here are meant
	os.Exit(m.Run())
}

type (
	config = httpkit.Config[*http.Request, func(http.ResponseWriter, *http.Request, guard.Denial)]
	rule   = guard.Rule[*http.Request]
)

var framework = httpkit.NetHTTP(func(r *http.Request) string { return r.Pattern })

// decided is a Store that answers every charge as it is told to.
type decided func(c *halt.Charge) (halt.Decision, error)

func (s decided) Take(_ context.Context, cs []halt.Charge, ds []halt.Decision) (err error) {
	for i := range cs {
		if ds[i], err = s(&cs[i]); err != nil {
			return err
		}
		ds[i].Mode, ds[i].Limit = cs[i].Mode, cs[i].Policy.Limit
	}
	return nil
}

func (decided) Reset(context.Context, halt.Policy, string) error { return nil }

// admitting is a Store that does nothing.
func admitting() decided {
	return func(c *halt.Charge) (halt.Decision, error) {
		return halt.Decision{Allowed: true, Remaining: max(c.Policy.Limit-c.Cost, 0), ResetAfter: 17 * time.Second}, nil
	}
}

// world is a limiter on the model, with its clock in the test's hand.
type world struct {
	t       *testing.T
	clock   *storetest.Clock
	limiter *halt.Limiter
}

var noon = time.Date(2025, 6, 2, 12, 0, 0, 0, time.UTC)

func newWorld(t *testing.T) *world {
	t.Helper()
	clock := storetest.NewClock(noon)
	return &world{t: t, clock: clock, limiter: halt.New(storetest.NewModel(clock.Now), nil)}
}

// wrap returns next behind a kit of the configuration.
func wrap(tb testing.TB, l *halt.Limiter, c config, next http.Handler) http.Handler {
	tb.Helper()
	k, err := httpkit.New(l, framework, c)
	if err != nil {
		tb.Fatal(err)
	}
	if next == nil {
		next = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	}
	return httpkit.Wrap(k, c.OnDenied)(next)
}

// get sends a request whose header has these lines, by name and value.
func get(h http.Handler, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/items/7", nil)
	r.RemoteAddr = "192.0.2.1:1234"
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func everyone() guard.Key[*http.Request] { return guard.Everyone[*http.Request]() }

func perHour(name string, limit int64) halt.Policy {
	return halt.Policy{Name: name, Limit: limit, Window: time.Hour, Algorithm: halt.FixedWindow}
}

// wantHeader checks that a field has exactly one line, or none if want is "".
func wantHeader(t *testing.T, h http.Header, name, want string) {
	t.Helper()
	lines := h[http.CanonicalHeaderKey(name)]
	if want == "" && len(lines) != 0 || want != "" && (len(lines) != 1 || lines[0] != want) {
		t.Errorf("%s has the lines %q, want %q", name, lines, want)
	}
}
