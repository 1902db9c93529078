package httpkit_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
	"github.com/halt-dev/halt/core/httpkit"
	"github.com/halt-dev/halt/core/storetest"
)

var discard = log.New(io.Discard, "", 0)

// Only a rule with a Settle needs the status: without one the handler gets what the server gave.
func TestWriterIsWrappedOnlyWhereARuleSettles(t *testing.T) {
	var got http.ResponseWriter
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { got = w })
	settle := func(*http.Request, guard.Outcome) int64 { return 0 }
	for _, test := range []struct {
		name string
		c    config
		same bool
	}{
		{"no Settle", config{Rules: []rule{{Policy: perHour("api", 9), Key: everyone()}}}, true},
		{"in flight", config{Rules: []rule{{Policy: halt.Policy{Name: "in", Limit: 1, Window: time.Minute, Algorithm: halt.InFlight}, Key: everyone()}}}, true},
		{"exempt", config{Exempt: func(*http.Request) bool { return true }, Rules: []rule{{Policy: perHour("api", 9), Key: everyone(), Settle: settle}}}, true},
		{"Settle", config{Rules: []rule{{Policy: perHour("api", 9), Key: everyone(), Settle: settle}}}, false},
		{"Settle in shadow", config{Rules: []rule{{Policy: perHour("api", 9), Key: everyone(), Settle: settle, Shadow: true}}}, false},
	} {
		w := newWorld(t)
		s := &server{header: http.Header{}}
		wrap(t, w.limiter, test.c, handler).ServeHTTP(s, httptest.NewRequest(http.MethodGet, "/", nil))
		if same := got == http.ResponseWriter(s); same != test.same {
			t.Errorf("%s: the handler got a %T", test.name, got)
		}
	}
}

func TestSettleByStatus(t *testing.T) {
	w := newWorld(t)
	status := 200
	h := wrap(t, w.limiter, config{Rules: []rule{{Policy: perHour("logins", 2), Key: everyone(), Settle: guard.ChargeOn[*http.Request](401)}}},
		http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(status) }))
	for i, test := range []struct{ status, want int }{{200, 200}, {200, 200}, {500, 500}, {401, 401}, {200, 200}, {401, 401}, {200, 429}} {
		status = test.status
		if got := get(h).Code; got != test.want {
			t.Errorf("answer %d: %d, want %d", i, got, test.want)
		}
	}
}

// A handler's panic goes on as it is, settles as a 500 and gives the place back.
func TestPanicOfTheHandler(t *testing.T) {
	for name, value := range map[string]any{"abort": http.ErrAbortHandler, "other": "handler"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			var o guard.Outcome
			place := halt.Policy{Name: "in", Limit: 1, Window: time.Minute, Algorithm: halt.InFlight}
			h := wrap(t, w.limiter, config{Rules: []rule{
				{Policy: place, Key: everyone()},
				{Policy: perHour("api", 9), Key: everyone(), Settle: func(_ *http.Request, got guard.Outcome) int64 { o = got; return 0 }},
			}}, http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
				rw.WriteHeader(201)
				panic(value)
			}))
			for range 2 {
				func() {
					defer func() {
						if got := recover(); got != value {
							t.Errorf("recovered %v, want %v", got, value)
						}
					}()
					get(h)
				}()
				if o.Status != 500 {
					t.Errorf("settled with %+v", o)
				}
				o = guard.Outcome{}
			}
		})
	}
}

func TestVerdictIsInTheContext(t *testing.T) {
	for _, attach := range []bool{false, true} {
		w := newWorld(t)
		sent := httptest.NewRequest(http.MethodGet, "/", nil)
		h := wrap(t, w.limiter, config{Attach: attach, Rules: []rule{{Policy: perHour("api", 9), Key: everyone()}}},
			http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				d, ok := guard.VerdictOf(r.Context()).Of("api")
				if ok != attach || attach && d.Remaining != 8 {
					t.Errorf("with Attach %v the decision is %+v, %v", attach, d, ok)
				}
				if (r == sent) == attach {
					t.Errorf("with Attach %v the request is the same: %v", attach, r == sent)
				}
			}))
		h.ServeHTTP(httptest.NewRecorder(), sent)
	}
}

// incomparable is a context whose type has no ==.
type incomparable struct {
	context.Context
	_ []int
}

func TestContextThatCannotBeCompared(t *testing.T) {
	for _, attach := range []bool{false, true} {
		w := newWorld(t)
		ran := false
		h := wrap(t, w.limiter, config{Attach: attach, Rules: []rule{{Policy: perHour("api", 9), Key: everyone()}}},
			http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ran = true }))
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		h.ServeHTTP(httptest.NewRecorder(), r.WithContext(incomparable{Context: t.Context()}))
		if !ran {
			t.Error("the handler didn't run")
		}
	}
}

func TestExemptRequests(t *testing.T) {
	w := newWorld(t)
	h := wrap(t, w.limiter, config{Exempt: framework.Paths("/items/*"), Rules: []rule{{Policy: perHour("api", 1), Key: everyone()}}}, nil)
	for range 3 {
		if got := get(h); got.Code != 200 || len(got.Result().Header) != 0 {
			t.Errorf("%d with %v", got.Code, got.Result().Header)
		}
	}
}

// The body of a refused request is never read, and its client gets the answer all the same.
func TestRefusedRequestWithABody(t *testing.T) {
	w := newWorld(t)
	h := wrap(t, w.limiter, config{Rules: []rule{{Policy: perHour("api", 1), Key: everyone(), Cost: costs(2)}}},
		http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the handler ran") }))
	s := httptest.NewServer(h)
	defer s.Close()
	for range 3 {
		resp, err := s.Client().Post(s.URL, "text/plain", strings.NewReader(strings.Repeat("x", 100_000)))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusTooManyRequests || !strings.Contains(string(body), `"violated-policies":["api"]`) {
			t.Errorf("%d with %q, %v", resp.StatusCode, body, err)
		}
	}
}

var oneASecond = halt.Policy{Name: "queue", Limit: 60, Window: time.Minute, Algorithm: halt.LeakyBucket, Burst: 5}

func TestDelayIsSpentBeforeTheHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := wrap(t, halt.New(storetest.NewModel(nil), nil), config{Rules: []rule{{Policy: oneASecond, Key: everyone()}}}, nil)
		start := time.Now()
		get(h)
		get(h)
		get(h)
		if waited := time.Since(start); waited != 2*time.Second {
			t.Errorf("three requests took %v, want 2s", waited)
		}
	})
}

// If it is a deadline of the server's own that ends the delay, somebody reads the answer: it must not be an empty 200.
func TestDelayBeyondADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := wrap(t, halt.New(storetest.NewModel(nil), nil), config{Rules: []rule{{Policy: oneASecond, Key: everyone()}}}, nil)
		get(h)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx))
		if rec.Code != http.StatusServiceUnavailable {
			t.Errorf("%d, want 503", rec.Code)
		}
	})
}

// A client that hangs up during its delay: its handler doesn't run, its goroutine ends, its place in flight is free.
func TestClientHangsUpDuringTheDelay(t *testing.T) {
	clock := storetest.NewClock(noon)
	store := &waiting{Store: storetest.NewModel(clock.Now), entered: make(chan struct{}, 4)}
	place := halt.Policy{Name: "in", Limit: 2, Window: time.Hour, Algorithm: halt.InFlight}
	slow := oneASecond
	slow.Limit, slow.Window = 1, time.Hour // nobody's turn comes in this test
	outcome := make(chan guard.Outcome, 4)
	k := httpkit.MustNew(halt.New(store, nil), framework, config{Rules: []rule{
		{Policy: slow, Key: everyone()},
		{Policy: place, Key: everyone()},
		{Policy: perHour("api", 9), Key: everyone(), Settle: func(_ *http.Request, o guard.Outcome) int64 { outcome <- o; return 0 }},
	}})
	ran, ended := make(chan struct{}, 4), make(chan struct{}, 4)
	inner := httpkit.Wrap(k, nil)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ran <- struct{}{} }))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner.ServeHTTP(w, r)
		ended <- struct{}{}
	}))
	defer s.Close()
	send := func(ctx context.Context) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := s.Client().Do(r)
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	if err := send(t.Context()); err != nil { // the first needs not wait
		t.Fatal(err)
	}
	<-store.entered
	<-ran
	<-ended
	<-outcome
	for range 3 { // more often than there are places
		ctx, cancel := context.WithCancel(t.Context())
		answered := make(chan error)
		go func() { answered <- send(ctx) }()
		<-store.entered // decided: it waits now
		cancel()
		if err := <-answered; !errors.Is(err, context.Canceled) {
			t.Fatalf("the client got %v", err)
		}
		<-ended
		if o := <-outcome; o.Status != guard.StatusClientClosed || !errors.Is(o.Err, context.Canceled) {
			t.Errorf("settled with %+v", o)
		}
	}
	if len(ran) != 0 {
		t.Error("the handler ran")
	}
	ds := make([]halt.Decision, 1)
	if err := store.Store.Take(t.Context(), []halt.Charge{{Policy: place, Key: "everyone", Mode: halt.Peek}}, ds); err != nil || ds[0].Remaining != 2 {
		t.Errorf("%d places are free, %v, want 2", ds[0].Remaining, err)
	}
}

// waiting is a Store that tells when it has decided a call that takes.
type waiting struct {
	halt.Store
	entered chan struct{}
}

func (s *waiting) Take(ctx context.Context, cs []halt.Charge, ds []halt.Decision) error {
	err := s.Store.Take(ctx, cs, ds)
	if cs[0].Mode == halt.Take {
		s.entered <- struct{}{}
	}
	return err
}
