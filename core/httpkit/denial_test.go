package httpkit_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
	"github.com/halt-dev/halt/core/httpkit"
)

type problem struct {
	Type, Title, Detail string
	Status              int
	Violated            []string `json:"violated-policies"`
}

func TestProblem(t *testing.T) {
	for _, test := range []struct {
		denial guard.Denial
		want   problem
	}{
		{
			guard.Denial{Reason: guard.QuotaExceeded, Violated: []string{"a.b-c_D9", "inside"}},
			problem{Type: "https://iana.org/assignments/http-problem-types#quota-exceeded", Title: "Too Many Requests", Status: 429, Violated: []string{"a.b-c_D9", "inside"}},
		},
		{
			guard.Denial{Reason: guard.QuotaExceeded},
			problem{Type: "https://iana.org/assignments/http-problem-types#quota-exceeded", Title: "Too Many Requests", Status: 429, Violated: []string{}},
		},
		{
			guard.Denial{Reason: guard.MissingKey, Policy: halt.Policy{Name: "secret"}},
			problem{Type: "about:blank", Title: "Bad Request", Status: 400, Detail: "The request lacks what says whose limit it counts against."},
		},
		{
			guard.Denial{Reason: guard.Unavailable, Policy: halt.Policy{Name: "secret"}},
			problem{Type: "about:blank", Title: "Service Unavailable", Status: 503, Detail: "The request's limits could not be checked."},
		},
	} {
		body := httpkit.Problem(test.denial)
		d := json.NewDecoder(strings.NewReader(string(body)))
		d.DisallowUnknownFields()
		var got problem
		if err := d.Decode(&got); err != nil || d.More() {
			t.Fatalf("%s: %v", body, err)
		}
		if got.Type != test.want.Type || got.Title != test.want.Title || got.Detail != test.want.Detail ||
			got.Status != test.want.Status || !slices.Equal(got.Violated, test.want.Violated) || (got.Violated == nil) != (test.want.Violated == nil) {
			t.Errorf("%s says %+v, want %+v", body, got, test.want)
		}
		if got.Status != test.denial.Status() {
			t.Errorf("%s: the answer's status is %d", body, test.denial.Status())
		}
	}
}

// Whatever goes wrong inside, no word of it reaches the client.
func TestAnswersTellNoInternals(t *testing.T) {
	const secret = "secret"
	inner := errors.New(secret)
	for _, test := range []struct {
		name   string
		store  error
		rule   rule
		status int
	}{
		{"the store fails", inner, rule{Policy: perHour("api", 1), Key: everyone()}, 503},
		{"a resolver errs", nil, rule{Key: everyone(), Resolve: func(context.Context, *http.Request) (halt.Policy, error) { return halt.Policy{}, inner }}, 503},
		{"a resolver panics", nil, rule{Key: everyone(), Resolve: func(context.Context, *http.Request) (halt.Policy, error) { panic(secret) }}, 503},
		{"an invalid policy", nil, rule{Key: everyone(), Resolve: func(context.Context, *http.Request) (halt.Policy, error) {
			return halt.Policy{Name: secret + "\r\nX: y"}, nil
		}}, 503},
		{"a key panics", nil, rule{Policy: perHour("api", 1), Key: guard.By("user", func(*http.Request) string { panic(secret) })}, 503},
		{"a cost panics", nil, rule{Policy: perHour("api", 1), Key: everyone(), Cost: func(*http.Request) int64 { panic(secret) }}, 503},
		{"no key", nil, rule{Policy: perHour("api", 1), Key: guard.By(secret, func(*http.Request) string { return "" })}, 400},
		{"no address", nil, rule{Policy: perHour("api", 1), Key: framework.ByAddress(func(*http.Request) string { return secret })}, 400},
		{"the key of a refused", nil, rule{Policy: perHour("api", 1), Cost: costs(2), Key: guard.By("user", func(*http.Request) string { return secret })}, 429},
	} {
		for _, style := range []httpkit.Style{httpkit.Standard, httpkit.Legacy} {
			store := decided(func(c *halt.Charge) (halt.Decision, error) {
				return halt.Decision{Allowed: c.Cost <= c.Policy.Limit, RetryAfter: time.Second}, test.store
			})
			h := wrap(t, halt.New(store, nil), config{Rules: []rule{test.rule}, FailClosed: true, Headers: style}, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				t.Error("the handler ran")
			}))
			got := get(h)
			wantHeader(t, got.Result().Header, "Content-Type", "application/problem+json")
			retry := ""
			if test.status == 429 {
				retry = "1"
			}
			wantHeader(t, got.Result().Header, "Retry-After", retry)
			var p problem
			if err := json.Unmarshal(got.Body.Bytes(), &p); err != nil || p.Status != test.status || got.Code != test.status {
				t.Errorf("%s: %d with %s", test.name, got.Code, got.Body)
			}
			var answer strings.Builder
			_ = got.Result().Header.Write(&answer)
			if answer.WriteString(got.Body.String()); strings.Contains(answer.String(), secret) {
				t.Errorf("%s: the answer tells it:\n%s", test.name, answer.String())
			}
		}
	}
}

func TestFailingOpenTellsTheClientNothing(t *testing.T) {
	store := decided(func(*halt.Charge) (halt.Decision, error) { return halt.Decision{}, errors.New("down") })
	told := 0
	h := wrap(t, halt.New(store, nil), config{
		Rules:   []rule{{Policy: perHour("api", 1), Key: everyone()}},
		OnError: func(*http.Request, error) { told++ },
	}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	got := get(h)
	if got.Code != http.StatusTeapot || len(got.Result().Header) != 0 || told != 1 {
		t.Errorf("%d with %v, OnError was told %d times", got.Code, got.Result().Header, told)
	}
}

func TestOnDenied(t *testing.T) {
	w := newWorld(t)
	var seen guard.Denial
	h := wrap(t, w.limiter, config{
		Rules: []rule{{Policy: perHour("api", 1), Key: everyone()}},
		OnDenied: func(rw http.ResponseWriter, _ *http.Request, d guard.Denial) {
			wantHeader(t, rw.Header(), "Retry-After", "3600")
			seen = d
			rw.WriteHeader(420)
		},
	}, nil)
	get(h)
	if got := get(h); got.Code != 420 || seen.Reason != guard.QuotaExceeded || seen.Policy.Name != "api" {
		t.Errorf("%d, denial %+v", got.Code, seen)
	}
}

func TestInvalidConfigNamesEveryFault(t *testing.T) {
	_, err := httpkit.New(halt.New(admitting(), nil), framework, config{
		Headers: 9,
		Rules: []rule{
			{Policy: perHour("api", 0), Key: framework.ByHeader("not a field")},
			{Policy: perHour("b", 1), Key: framework.ByAPIKey("")},
			{Policy: perHour("c", 1), Key: framework.ByAddress(nil)},
		},
	})
	if !errors.Is(err, guard.ErrInvalidConfig) {
		t.Fatalf("the error is %v", err)
	}
	for _, field := range []string{"Rules[0].Policy.Limit", "Rules[0].Key", "Rules[1].Key", "Rules[2].Key", "Headers"} {
		if !strings.Contains(err.Error(), field+" must be ") {
			t.Errorf("%q does not name %s", err, field)
		}
	}
	if _, err := httpkit.New(halt.New(admitting(), nil), framework, config{Headers: 3, Rules: []rule{{Policy: perHour("api", 1), Key: everyone()}}}); err == nil || !strings.Contains(err.Error(), "Headers") {
		t.Errorf("Headers alone: %v", err)
	}
	defer func() {
		if err, ok := recover().(error); !ok || !errors.Is(err, guard.ErrInvalidConfig) {
			t.Errorf("MustNew panicked with %v", err)
		}
	}()
	httpkit.MustNew(nil, framework, config{})
	t.Error("MustNew returned")
}
