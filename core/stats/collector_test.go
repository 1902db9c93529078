package stats

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// TestSumsUnderConcurrency sends known decisions from many goroutines, with snapshots in between, and adds them up.
func TestSumsUnderConcurrency(t *testing.T) {
	c := New(&Options{ShowKeys: true})
	l := limiter(c)
	var allowed, refused, cost atomic.Int64
	policies := []halt.Policy{perHour(1000), {Name: "b", Plan: "pro", Limit: 700, Window: time.Hour, Algorithm: halt.SlidingWindow}}
	const workers, each = 8, 3000
	done := make(chan struct{})
	var watcher, senders sync.WaitGroup
	watcher.Go(func() {
		last := int64(0)
		for {
			s := c.Snapshot()
			n := s.Total.Allowed + s.Total.Refused
			if n < last || n > workers*each {
				t.Errorf("%d calls, after %d", n, last)
				return
			}
			last = n
			select {
			case <-done:
				return
			default:
			}
		}
	})
	for w := range workers {
		senders.Go(func() {
			for i := range each {
				n := int64(1 + i%3)
				call := halt.Call{
					Charges: []halt.Charge{policies[i%2].Charge(fmt.Sprint("user:", (i+w)%5), n)}, Route: fmt.Sprint("/", i%4),
				}
				if err := l.Do(context.Background(), &call); err != nil {
					t.Error(err)
					return
				}
				if call.Decisions.Allowed() {
					allowed.Add(1)
					cost.Add(n)
				} else {
					refused.Add(1)
				}
			}
		})
	}
	senders.Wait()
	close(done)
	watcher.Wait()

	s := c.Snapshot()
	if s.Total.Allowed != allowed.Load() || s.Total.Refused != refused.Load() || refused.Load() == 0 {
		t.Errorf("%d allowed and %d refused, but %d and %d were sent", s.Total.Allowed, s.Total.Refused, allowed.Load(), refused.Load())
	}
	var byPolicy, byPlan ChargeCounts
	for _, p := range s.Policies {
		byPolicy.add(p.ChargeCounts)
	}
	for _, p := range s.Plans {
		byPlan.add(p.ChargeCounts)
	}
	want := ChargeCounts{Allowed: allowed.Load(), Refused: refused.Load(), Cost: cost.Load()}
	if byPolicy != want || byPlan != want || len(s.Policies) != 2 || len(s.Plans) != 2 {
		t.Errorf("by policy %+v, by plan %+v, but sent %+v", byPolicy, byPlan, want)
	}
	var byRoute Counts
	for _, r := range s.Routes {
		byRoute.Allowed += r.Allowed
		byRoute.Refused += r.Refused
	}
	if byRoute != s.Total || len(s.Routes) != 4 {
		t.Errorf("by route %+v in %d, in all %+v", byRoute, len(s.Routes), s.Total)
	}
	if sumOf(s.TopRefused.Keys) != refused.Load() || s.TopRefused.Total != refused.Load() || sumOf(s.TopSpending.Keys) != cost.Load() {
		t.Errorf("top keys: %+v and %+v", s.TopRefused, s.TopSpending)
	}
}

func sumOf(ks []KeyCount) (n int64) {
	for _, k := range ks {
		n += k.Count
	}
	return n
}

// TestWhatIsCountedAsWhat goes through the modes and outcomes, one by one.
func TestWhatIsCountedAsWhat(t *testing.T) {
	c := New(&Options{ShowKeys: true})
	l := limiter(c)
	api := perHour(2)
	of := func(m halt.Mode, n int64) halt.Charge {
		ch := api.Charge("ann", n)
		ch.Mode = m
		return ch
	}
	do(t, l, "/a", of(halt.Take, 1), of(halt.Shadow, 1)) // allowed, and the shadow too
	do(t, l, "/a", of(halt.Take, 1), of(halt.Shadow, 2)) // allowed, the shadow refuses
	do(t, l, "/b", of(halt.Take, 1))                     // refused
	do(t, l, "/b", of(halt.Peek, 1))                     // a question
	do(t, l, "/b", of(halt.Debit, 5))                    // a correction
	credit := of(halt.Credit, 2)
	credit.Taken = 2
	do(t, l, "/b", credit)
	if err := l.Do(t.Context(), &halt.Call{Charges: []halt.Charge{of(halt.Take, 100)}, Route: "/b", Internal: true}); err != nil {
		t.Fatal(err)
	}
	locked := halt.Policy{Name: "login", Limit: 1, Window: time.Minute, Block: time.Hour}
	allow(t, l, locked, "ann", 3) // allowed, refused and from then on blocked, blocked
	quota := halt.Policy{Name: "monthly", Plan: "free", Limit: 1, Algorithm: halt.FixedWindow, Period: halt.Period{Unit: halt.Year}}
	allow(t, l, quota, "ann", 3)
	endless := halt.Policy{Name: "endless", Limit: halt.Unlimited}
	allow(t, l, endless, "ann", 2)
	inside := halt.Policy{Name: "inside", Limit: 5, Window: time.Minute, Algorithm: halt.InFlight}
	do(t, l, "/b", inside.Charge("all", 1), perHour(2).Charge("ann", 1)) // refused by one, the other would fit

	s := c.Snapshot()
	if want := (Counts{Allowed: 2 + 1 + 1 + 2, Refused: 1 + 2 + 2 + 1, Blocked: 2, ShadowRefused: 1}); s.Total != want {
		t.Errorf("in all %+v, not %+v", s.Total, want)
	}
	if s.QuotasExceeded != 2 {
		t.Errorf("%d quotas exceeded, not 2", s.QuotasExceeded)
	}
	want := map[string]ChargeCounts{
		"api":     {Allowed: 2, Refused: 2, ShadowAllowed: 1, ShadowRefused: 1, Cost: 2 + 5 - 2},
		"login":   {Allowed: 1, Refused: 2, Blocked: 2, Cost: 1},
		"monthly": {Allowed: 1, Refused: 2, Cost: 1},
		"endless": {Allowed: 2, Cost: 2},
	}
	for _, p := range s.Policies {
		if p.ChargeCounts != want[p.Policy] {
			t.Errorf("%s: %+v, not %+v", p.Policy, p.ChargeCounts, want[p.Policy])
		}
		delete(want, p.Policy)
		switch p.Policy {
		case "api":
			if p.Limit != 2 || p.Window != time.Hour || p.Capacity != 2 || p.Algorithm != "token bucket" || p.Peak != 1 {
				t.Errorf("%+v", p)
			}
		case "monthly":
			if p.Period != "year,UTC" || p.Plan != "free" {
				t.Errorf("%+v", p)
			}
		case "endless":
			if p.Limit != halt.Unlimited || p.Capacity != 0 || p.Peak != 0 {
				t.Errorf("%+v", p)
			}
		}
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
	wantRoutes := []RouteCounts{{"/a", Counts{Allowed: 2, ShadowRefused: 1}}, {"/b", Counts{Refused: 2}}}
	if !reflect.DeepEqual(s.Routes, wantRoutes) {
		t.Errorf("routes %+v, not %+v", s.Routes, wantRoutes)
	}
	if k := s.TopSpending.Keys[0]; k.Policy != "api" || k.Key != "ann" || k.Count != 7 || s.TopSpending.Total != 7+1+1+2 {
		t.Errorf("top spending: %+v", s.TopSpending)
	}
	for _, k := range s.TopRefused.Keys {
		if k.Count != 2 || k.Error != 0 || k.Quota != (k.Policy == "monthly") {
			t.Errorf("top refused: %+v", k)
		}
	}
}

// TestKeysAreHidden makes sure that nothing of a key gets out, unless asked for.
func TestKeysAreHidden(t *testing.T) {
	for _, show := range []bool{false, true} {
		c := New(&Options{ShowKeys: show})
		l := limiter(c)
		allow(t, l, perHour(1), "secret-key", 3)
		allow(t, l, perHour(1), "other-key", 2)
		s := c.Snapshot()
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), "secret-key") != show {
			t.Errorf("ShowKeys %v: %s", show, b)
		}
		if s.TopRefused.Shown != show || len(s.TopRefused.Keys) != 2 || s.TopRefused.Keys[0].Key == s.TopRefused.Keys[1].Key {
			t.Errorf("ShowKeys %v: %+v", show, s.TopRefused)
		}
	}
}

// TestErrorTextsAreHidden: they may hold what a driver said.
func TestErrorTextsAreHidden(t *testing.T) {
	c := New(&Options{ShowKeys: true})
	do(t, halt.New(broken{}, &halt.Options{Observers: []halt.Observer{c}}), "/a", perHour(1).Charge("k", 1))
	body := get(c, "GET", "/", "application/json").Body.String()
	if strings.Contains(body, "hunter2") || !strings.Contains(body, `"errors":{"store":1}`) {
		t.Errorf("%s", body)
	}
}

// TestEventWithoutDecisions: what no Limiter shows is not counted, and is in nobody's way.
func TestEventWithoutDecisions(t *testing.T) {
	c := New(nil)
	for range 2 * len(c.stripes) {
		c.End(t.Context(), &halt.Event{Charges: []halt.Charge{*charge("k")}})
	}
	allow(t, limiter(c), perHour(1), "k", 1)
	if s := c.Snapshot(); s.Total != (Counts{Allowed: 1}) {
		t.Errorf("%+v", s.Total)
	}
}

// TestKeyUnderManyPolicies: a call's charges have the same key, and are told apart.
func TestKeyUnderManyPolicies(t *testing.T) {
	c := New(&Options{TopKeys: maxTopKeys})
	l := limiter(c)
	const n = 90
	for i := range n {
		allow(t, l, halt.Policy{Name: fmt.Sprint("p", i), Limit: 1, Window: time.Hour}, "ann", i+2)
	}
	top := c.Snapshot().TopRefused.Keys
	if len(top) != n {
		t.Fatalf("%d keys, not %d", len(top), n)
	}
	for i, k := range top {
		if k.Policy != fmt.Sprint("p", n-1-i) || k.Count != int64(n-i) || k.Key != top[0].Key {
			t.Errorf("at place %d: %+v", i, k)
		}
	}
}

// TestCardinalityIsBounded uses more names than there is room for: the sums stay right.
func TestCardinalityIsBounded(t *testing.T) {
	c := New(nil)
	l := limiter(c)
	const n = 1000
	for i := range n {
		p := halt.Policy{Name: fmt.Sprint("p", i), Plan: strings.Repeat("é", 100) + fmt.Sprint(i), Limit: 1, Window: time.Hour}
		do(t, l, strings.Repeat("/x", i), p.Charge("k", 1))
	}
	s := c.Snapshot()
	if len(s.Policies) != maxPolicies+1 || len(s.Routes) > maxRoutes+1 {
		t.Errorf("%d policies and %d routes", len(s.Policies), len(s.Routes))
	}
	var sum, routes int64
	for _, p := range s.Policies {
		sum += p.Allowed
		if p.Policy == Other && (p.Allowed != n-maxPolicies || p.Limit != 0) {
			t.Errorf("%+v", p)
		}
		if len(p.Plan) > maxLabel || strings.ContainsRune(p.Plan, '\uFFFD') {
			t.Errorf("plan %q", p.Plan)
		}
	}
	for _, r := range s.Routes {
		routes += r.Allowed
	}
	if sum != n || routes != n-1 || s.Total.Allowed != n { // the first call had no route
		t.Errorf("%d by policy, %d by route, %d in all", sum, routes, s.Total.Allowed)
	}
}

// TestNamesOfOneSlot makes sure that policies whose names meet in a stripe's memory of them are told apart.
func TestNamesOfOneSlot(t *testing.T) {
	c := New(nil)
	l := limiter(c)
	for range 3 {
		for _, name := range []string{"axb", "cxb", "axb"} { // as long, and of the same middle and end
			if slotOf(name, "") != slotOf("axb", "") {
				t.Fatal("they don't meet")
			}
			allow(t, l, halt.Policy{Name: name, Limit: 100, Window: time.Hour}, "k", 1)
		}
	}
	s := c.Snapshot()
	if len(s.Policies) != 2 || s.Policies[0].Allowed != 6 || s.Policies[1].Allowed != 3 {
		t.Errorf("%+v", s.Policies)
	}
}

func TestAddSaturates(t *testing.T) {
	for _, test := range [][3]int64{
		{1, 2, 3},
		{-2, 5, 3},
		{5, -7, -2},
		{0, 0, 0},
		{math.MaxInt64, 1, math.MaxInt64},
		{math.MaxInt64, -1, math.MaxInt64 - 1},
		{1 << 62, 1 << 62, math.MaxInt64},
		{-1 << 62, math.MinInt64 + 1, math.MinInt64},
		{math.MinInt64, math.MaxInt64, -1},
	} {
		if got := add(test[0], test[1]); got != test[2] {
			t.Errorf("%d + %d is %d", test[0], test[1], got)
		}
	}
}

func TestNewPanics(t *testing.T) {
	for _, n := range []int{-1, maxTopKeys + 1} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("TopKeys %d passes", n)
				}
			}()
			New(&Options{TopKeys: n})
		}()
	}
}

// A policy that is changed while it is in use is shown as it is now.
func TestPolicyThatChanges(t *testing.T) {
	c := New(nil)
	l := limiter(c)
	p := halt.Policy{Name: "quota", Limit: 5, Algorithm: halt.FixedWindow, Period: halt.Period{Unit: halt.Month}}
	for _, change := range []func(){
		func() {}, func() { p.Period.Unit = halt.Day }, func() { p.Limit = 7 },
		func() { p.Period, p.Window = halt.Period{}, time.Hour }, func() { p.Algorithm = halt.SlidingWindow },
	} {
		change()
		allow(t, l, p, "ann", 1)
		want := ""
		if p.Period != (halt.Period{}) {
			want = p.Period.String()
		}
		got := c.Snapshot().Policies[0]
		if got.Limit != p.Limit || got.Period != want || got.Window != p.Window || got.Algorithm != p.Algorithm.String() {
			t.Errorf("%+v is shown as %+v", p, got)
		}
	}
}
