package main

import (
	"net/http"
	"testing"
	"time"
)

// A comparison is honest only between things that limit: with a limit of five, five pass, the sixth doesn't, and another
// key is not touched by it.
func TestEveryDeciderLimits(t *testing.T) {
	for _, d := range deciders() {
		if d.Name == loopName {
			continue
		}
		t.Run(d.Name, func(t *testing.T) {
			take, closer := d.New(ruleFive, 10)
			defer closer()
			for _, k := range []string{"a", "b"} {
				for i := range 5 {
					if !take(k) {
						t.Fatalf("key %s: request %d was refused, five are allowed", k, i+1)
					}
				}
				if take(k) {
					t.Fatalf("key %s: a sixth request was allowed", k)
				}
			}
		})
	}
}

// What a contender holds for many keys is all there: none is forgotten to make room, which would look like thrift.
func TestEveryDeciderRemembers(t *testing.T) {
	const keys = 20_000
	for _, d := range deciders() {
		if d.Name == loopName {
			continue
		}
		t.Run(d.Name, func(t *testing.T) {
			take, closer := d.New(ruleRefused, keys)
			defer closer()
			for i := range keys {
				if !take(key(i)) {
					t.Fatalf("key %d: its first request was refused", i)
				}
			}
			for i := range keys {
				if take(key(i)) {
					t.Fatalf("key %d: its second request was allowed", i)
				}
			}
		})
	}
}

func TestEveryHandlerLimits(t *testing.T) {
	for _, f := range frameworks() {
		for _, h := range f.Handlers {
			if h.Name == bareName {
				continue
			}
			t.Run(f.Name+" "+h.Name, func(t *testing.T) {
				s := h.start(ruleFive)
				for client := range 2 {
					for i := range 6 {
						want := http.StatusNoContent
						if i == 5 {
							want = http.StatusTooManyRequests
						}
						if got := s.status(client); got != want {
							t.Fatalf("client %d, request %d: %d, want %d", client, i+1, got, want)
						}
					}
				}
			})
		}
	}
}

// What a contender spends on a measurement is on what is to be compared: the answers, and their headers or the lack of them.
func TestRoundsAreChecked(t *testing.T) {
	for _, f := range frameworks() {
		for _, h := range f.Handlers {
			t.Run(f.Name+" "+h.Name, func(t *testing.T) {
				headers := h.Name != bareName && !h.Silent
				r := h.start(ruleClients).round(0)
				if r.check(headers) == nil && headers {
					t.Error("no fault is found with answers that aren't there")
				}
				for range 2 {
					r.empty()
					r.serve()
					if err := r.check(headers); err != nil {
						t.Error(err)
					}
					if r.check(!headers) == nil {
						t.Error("the headers were not looked at")
					}
				}
			})
		}
	}
}

// Every request of a walk comes once, whatever their order.
func TestWalk(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range walk(1000) {
		seen[k] = true
	}
	for i := range 1000 {
		if !seen[key(i)] {
			t.Fatalf("key %d is missing", i)
		}
	}
}

// The whole run works: every contender, every scenario, the children too.
func TestMeasuresAll(t *testing.T) {
	if testing.Short() {
		t.Skip("measures for a while")
	}
	o := options{passes: 1, took: time.Millisecond, log: t.Logf}
	ss := scenarios(size{many: 100, few: 10, million: 1000})
	if _, err := decideAll(deciders(), ss, o); err != nil {
		t.Error(err)
	}
	if _, err := serveAll(frameworks(), o); err != nil {
		t.Error(err)
	}
	for _, d := range deciders() {
		if d.Name == loopName {
			continue
		}
		if _, err := weigh(d, 20_000); err != nil {
			t.Error(err)
		}
	}
}

// The ratios rest on the bare framework coming first, and on the target being that of a peer that sends headers as Halt does.
func TestFrameworks(t *testing.T) {
	for _, f := range frameworks() {
		if f.Handlers[0].Name != bareName || f.Handlers[1].Name != haltName || len(f.Handlers) < 3 {
			t.Errorf("%s: %v, want the bare one, Halt, and peers", f.Name, f.names())
		}
		want := 0.5
		for _, h := range f.Handlers {
			if h.Silent {
				want = 1
			}
		}
		if f.atMost() != want {
			t.Errorf("%s: at most %v, want %v", f.Name, f.atMost(), want)
		}
	}
}
