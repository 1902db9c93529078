package httpkit_test

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
	"github.com/halt-dev/halt/core/httpkit"
)

func resolves(p halt.Policy) func(context.Context, *http.Request) (halt.Policy, error) {
	return func(context.Context, *http.Request) (halt.Policy, error) { return p, nil }
}

func costs(n int64) func(*http.Request) int64 { return func(*http.Request) int64 { return n } }

// Each is the answer to the second request of a client.
func TestHeaderFields(t *testing.T) {
	ip := framework.ByIP()
	inside := halt.Policy{Name: "inside", Limit: 9, Window: time.Minute, Algorithm: halt.InFlight}
	for _, test := range []struct {
		name                 string
		rules                []rule
		policy, limit, retry string
		legacy               [3]string
		status               int
	}{
		{
			name:  "one policy",
			rules: []rule{{Policy: perHour("api", 100), Key: ip}}, status: 200,
			policy: `"api";q=100;w=3600`, limit: `"api";r=98;t=3600`, legacy: [3]string{"100", "98", "3600"},
		},
		{
			name: "several", rules: []rule{{Policy: perHour("b", 100), Key: everyone()}, {Policy: perHour("a", 50), Key: ip, Cost: costs(20)}}, status: 200,
			policy: `"a";q=50;w=3600, "b";q=100;w=3600`, limit: `"a";r=10;t=3600, "b";r=98;t=3600`, legacy: [3]string{"50", "10", "3600"},
		},
		{
			name: "of several the third is resolved", rules: []rule{{Policy: perHour("a", 9), Key: ip}, {Policy: perHour("b", 8), Key: ip}, {Resolve: resolves(perHour("c", 7)), Key: ip}}, status: 200,
			policy: `"a";q=9;w=3600, "b";q=8;w=3600, "c";q=7;w=3600`, limit: `"a";r=7;t=3600, "b";r=6;t=3600, "c";r=5;t=3600`, legacy: [3]string{"7", "5", "3600"},
		},
		{
			name: "resolved", rules: []rule{{Resolve: resolves(perHour("plan", 100)), Key: ip}}, status: 200,
			policy: `"plan";q=100;w=3600`, limit: `"plan";r=98;t=3600`, legacy: [3]string{"100", "98", "3600"},
		},
		{
			name: "shadow and in flight stay out", rules: []rule{{Policy: perHour("seen", 1), Key: ip, Shadow: true}, {Policy: inside, Key: ip}, {Policy: perHour("api", 3), Key: ip}}, status: 200,
			policy: `"api";q=3;w=3600`, limit: `"api";r=1;t=3600`, legacy: [3]string{"3", "1", "3600"},
		},
		{name: "shadow alone", rules: []rule{{Policy: perHour("seen", 1), Key: ip, Shadow: true}}, status: 200},
		{name: "in flight alone", rules: []rule{{Policy: inside, Key: ip}}, status: 200},
		{name: "unlimited", rules: []rule{{Policy: halt.Policy{Name: "staff", Limit: halt.Unlimited}, Key: ip}}, status: 200},
		{name: "no rule applies", rules: []rule{{Policy: perHour("api", 1), Key: ip, Cost: costs(0)}}, status: 200},
		{
			name: "a calendar quota has no window", rules: []rule{{Policy: halt.Policy{Name: "quota", Limit: 10, Period: halt.Period{Unit: halt.Day}, Algorithm: halt.FixedWindow}, Key: ip}}, status: 200,
			policy: `"quota";q=10`, limit: `"quota";r=8;t=43200`, legacy: [3]string{"10", "8", "43200"},
		},
		{
			name: "a window under a second is left out", rules: []rule{{Policy: halt.Policy{Name: "fast", Limit: 10, Window: 999 * time.Millisecond, Algorithm: halt.FixedWindow}, Key: ip}}, status: 200,
			policy: `"fast";q=10`, limit: `"fast";r=8;t=1`, legacy: [3]string{"10", "8", "1"},
		},
		{
			name: "seconds are rounded up", rules: []rule{{Policy: halt.Policy{Name: "odd", Limit: 10, Window: 1500 * time.Millisecond}, Key: ip, Cost: costs(4)}}, status: 200,
			policy: `"odd";q=10;w=2`, limit: `"odd";r=2;t=2`, legacy: [3]string{"10", "2", "2"},
		},
		{
			name: "settled: the reserved figures stand", rules: []rule{{Policy: perHour("logins", 5), Key: ip, Settle: guard.ChargeOn[*http.Request](401)}}, status: 200,
			policy: `"logins";q=5;w=3600`, limit: `"logins";r=4;t=3600`, legacy: [3]string{"5", "4", "3600"},
		},
		{
			name: "one name on two keys: the tighter", rules: []rule{{Policy: perHour("api", 10), Key: ip}, {Policy: perHour("api", 10), Key: everyone(), Cost: costs(3)}}, status: 200,
			policy: `"api";q=10;w=3600`, limit: `"api";r=4;t=3600`, legacy: [3]string{"10", "4", "3600"},
		},
		{
			name: "one name on two keys, equally tight: once", status: 200,
			rules:  []rule{{Policy: perHour("api", 10), Key: ip}, {Policy: perHour("api", 10), Key: everyone()}},
			policy: `"api";q=10;w=3600`, limit: `"api";r=8;t=3600`, legacy: [3]string{"10", "8", "3600"},
		},
		{
			name: "refused", rules: []rule{{Policy: perHour("api", 1), Key: ip}}, status: 429, retry: "3600",
			policy: `"api";q=1;w=3600`, limit: `"api";r=0;t=3600`, legacy: [3]string{"1", "0", "3600"},
		},
		{
			name: "refused by two: each its own, Retry-After the longest", status: 429, retry: "43200",
			rules: []rule{
				{Policy: halt.Policy{Name: "day", Limit: 3, Window: 24 * time.Hour, Algorithm: halt.FixedWindow}, Key: ip, Cost: costs(2)},
				{Policy: perHour("api", 1), Key: ip},
				{Policy: perHour("free", 9), Key: ip},
			},
			policy: `"day";q=3;w=86400, "api";q=1;w=3600, "free";q=9;w=3600`, limit: `"day";r=1;t=43200, "api";r=0;t=3600, "free";r=8;t=3600`,
			legacy: [3]string{"3", "1", "43200"},
		},
		{
			name: "one name refused and admitted: the refusal", status: 429, retry: "3600",
			rules:  []rule{{Policy: perHour("api", 10), Key: ip, Cost: costs(6)}, {Resolve: resolves(perHour("api", 4)), Key: everyone()}},
			policy: `"api";q=10;w=3600`, limit: `"api";r=4;t=3600`, legacy: [3]string{"10", "4", "3600"},
		},
		{
			name: "never: no t, no Retry-After", rules: []rule{{Policy: perHour("api", 5), Key: ip, Cost: costs(6)}}, status: 429,
			policy: `"api";q=5;w=3600`, limit: `"api";r=5`, legacy: [3]string{"5", "5", "0"},
		},
		{
			name: "in flight refuses: a hint", rules: []rule{{Policy: halt.Policy{Name: "inside", Limit: 1, Window: time.Minute, Algorithm: halt.InFlight, Precision: 60}, Key: ip, Cost: costs(1), Settle: func(*http.Request, guard.Outcome) int64 { return 1 }}},
			status: 429, retry: "1",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, style := range []httpkit.Style{httpkit.Standard, httpkit.Legacy, httpkit.NoHeaders} {
				w := newWorld(t)
				h := wrap(t, w.limiter, config{Rules: test.rules, Headers: style}, nil)
				get(h)
				got := get(h)
				if got.Code != test.status {
					t.Errorf("status %d, want %d", got.Code, test.status)
				}
				want := map[string]string{"Retry-After": test.retry, "RateLimit": "", "RateLimit-Policy": ""}
				legacy := [3]string{}
				switch style {
				case httpkit.Standard:
					want["RateLimit"], want["RateLimit-Policy"] = test.limit, test.policy
				case httpkit.Legacy:
					if legacy = test.legacy; legacy[2] != "" {
						seconds, err := strconv.ParseInt(legacy[2], 10, 64)
						if err != nil {
							t.Fatal(err)
						}
						legacy[2] = strconv.FormatInt(noon.Unix()+seconds, 10)
					}
				case httpkit.NoHeaders:
				}
				want["X-RateLimit-Limit"], want["X-RateLimit-Remaining"], want["X-RateLimit-Reset"] = legacy[0], legacy[1], legacy[2]
				for name, value := range want {
					wantHeader(t, got.Result().Header, name, value)
				}
			}
		})
	}
}

func TestChainsOfMiddlewares(t *testing.T) {
	ip := framework.ByIP()
	chain := func(t *testing.T, styles [2]httpkit.Style, outer, inner []rule) http.Header {
		t.Helper()
		w := newWorld(t)
		h := wrap(t, w.limiter, config{Rules: inner, Headers: styles[1]}, nil)
		return get(wrap(t, w.limiter, config{Rules: outer, Headers: styles[0]}, h)).Result().Header
	}
	standard := [2]httpkit.Style{}
	legacy := [2]httpkit.Style{httpkit.Legacy, httpkit.Legacy}
	t.Run("two names", func(t *testing.T) {
		h := chain(t, standard, []rule{{Policy: perHour("a", 5), Key: ip}}, []rule{{Policy: perHour("b", 6), Key: ip}})
		wantHeader(t, h, "RateLimit-Policy", `"a";q=5;w=3600, "b";q=6;w=3600`)
		wantHeader(t, h, "RateLimit", `"a";r=4;t=3600, "b";r=5;t=3600`)
	})
	t.Run("one name: the inner replaces", func(t *testing.T) {
		h := chain(t, standard, []rule{{Policy: perHour("a", 5), Key: ip}, {Policy: perHour("b", 9), Key: ip}}, []rule{{Policy: perHour("a", 8), Key: everyone()}})
		wantHeader(t, h, "RateLimit-Policy", `"b";q=9;w=3600, "a";q=8;w=3600`)
		wantHeader(t, h, "RateLimit", `"b";r=8;t=3600, "a";r=7;t=3600`)
	})
	t.Run("the inner shows nothing", func(t *testing.T) {
		h := chain(t, standard, []rule{{Policy: perHour("a", 5), Key: ip}}, []rule{{Policy: perHour("b", 6), Key: ip, Shadow: true}})
		wantHeader(t, h, "RateLimit", `"a";r=4;t=3600`)
	})
	t.Run("legacy: the tighter stays", func(t *testing.T) {
		for name, limits := range map[string][2]int64{"outer": {5, 9}, "inner": {9, 5}} {
			h := chain(t, legacy, []rule{{Policy: perHour("a", limits[0]), Key: ip}}, []rule{{Policy: perHour("b", limits[1]), Key: ip}})
			for field, want := range map[string]string{"Limit": "5", "Remaining": "4", "Reset": strconv.FormatInt(noon.Unix()+3600, 10)} {
				wantHeader(t, h, "X-RateLimit-"+field, want)
			}
			if t.Failed() {
				t.Fatalf("where the %s is tighter", name)
			}
		}
	})
	t.Run("legacy: a refusal stays, however much remains", func(t *testing.T) {
		h := chain(t, legacy, []rule{{Policy: perHour("a", 5), Key: ip}}, []rule{{Policy: perHour("b", 9), Key: ip, Cost: costs(10)}})
		wantHeader(t, h, "X-RateLimit-Limit", "9")
	})
	t.Run("lines of others", func(t *testing.T) {
		w := newWorld(t)
		h := wrap(t, w.limiter, config{Rules: []rule{{Policy: perHour("a", 5), Key: ip}}}, nil)
		before := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			rw.Header()["Ratelimit"] = []string{`"x";r=1`, `"y";r=2, "a";r=9`}
			h.ServeHTTP(rw, r)
		})
		wantHeader(t, get(before).Result().Header, "RateLimit", `"x";r=1, "y";r=2, "a";r=4;t=3600`)
	})
}

// plainHeader is a framework's header that is no http.Header.
type plainHeader map[string]string

func (h plainHeader) Get(key string) string { return h[key] }
func (h plainHeader) Set(key, value string) { h[key] = value }

func TestHeaderOfAnotherFramework(t *testing.T) {
	w := newWorld(t)
	k := httpkit.MustNew(w.limiter, framework, config{Rules: []rule{{Policy: perHour("a", 1), Key: everyone()}}})
	for _, want := range []plainHeader{
		{"Ratelimit": `"x";r=1, "a";r=0;t=3600`, "Ratelimit-Policy": `"a";q=1;w=3600`},
		{"Ratelimit": `"x";r=1, "a";r=0;t=3600`, "Ratelimit-Policy": `"a";q=1;w=3600`, "Retry-After": "3600"},
	} {
		h := plainHeader{"Ratelimit": `"x";r=1`}
		r := from("192.0.2.1:80")
		k.Enter(r.Context(), r, h).Leave(guard.Outcome{})
		for _, key := range []string{"Ratelimit", "Ratelimit-Policy", "Retry-After"} {
			if h[key] != want[key] {
				t.Errorf("%s: %q, want %q", key, h[key], want[key])
			}
		}
		if keys := len(h); keys != len(want) {
			t.Errorf("%d fields, want %d", keys, len(want))
		}
	}
}

func TestFieldsAreSetBeforeTheHandler(t *testing.T) {
	w := newWorld(t)
	h := wrap(t, w.limiter, config{Rules: []rule{{Policy: perHour("a", 5), Key: everyone()}}}, http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		wantHeader(t, rw.Header(), "RateLimit", `"a";r=4;t=3600`)
		rw.Header().Add("Ratelimit-Policy", "more") // must not write into the other field's memory
	}))
	got := get(h).Result().Header
	wantHeader(t, got, "RateLimit", `"a";r=4;t=3600`)
	if !slices.Equal(got["Ratelimit-Policy"], []string{`"a";q=5;w=3600`, "more"}) {
		t.Errorf("RateLimit-Policy is %q", got["Ratelimit-Policy"])
	}
}

// Who waits for X-RateLimit-Reset doesn't come before the budget is whole, whatever part of a second it is.
func TestLegacyResetIsNotEarly(t *testing.T) {
	for _, after := range []time.Duration{0, time.Microsecond, 300 * time.Millisecond, 999999 * time.Microsecond} {
		w := newWorld(t)
		w.clock.Advance(after)
		h := wrap(t, w.limiter, config{Rules: []rule{{Policy: halt.Policy{Name: "api", Limit: 7, Window: time.Minute}, Key: framework.ByIP()}}, Headers: httpkit.Legacy}, nil)
		whole := w.clock.Now().Time().Add(time.Minute/7 + time.Microsecond).Truncate(time.Microsecond) // to the tick, in which it is counted
		got, err := strconv.ParseInt(get(h).Header().Get("X-RateLimit-Reset"), 10, 64)
		if late := time.Unix(got, 0).Sub(whole); err != nil || late < -time.Microsecond || late >= time.Second+time.Microsecond {
			t.Errorf("%v past the second, the reset is told %v late (%v)", after, late, err)
		}
	}
}
