package guard_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
)

// Requests of many kinds share the pool: none sees what is another's.
func TestPoolKeepsRequestsApart(t *testing.T) {
	w := newWorld(t)
	failed := errors.New("no plan")
	own := func(r *request, what string, key string) {
		if !strings.HasSuffix(key, r.user) && key != "everyone" {
			t.Errorf("%s of %s is %s's", what, r.user, key)
		}
	}
	g := w.guard(guard.Config[*request]{
		Attach: true,
		Exempt: func(r *request) bool { return r.route == "exempt" },
		Route:  func(r *request) string { return r.route },
		OnError: func(r *request, err error) {
			if want := map[string]error{"fails": failed, "keyless": guard.ErrNoKey}[r.route]; want == nil || !errors.Is(err, want) {
				t.Errorf("of %s OnError was told %v", r.user, err)
			}
		},
		Rules: []guard.Rule[*request]{
			{Policy: fixed("all", 1<<40), Key: guard.Everyone[*request]()},
			{
				Key: byUser(), Cost: func(r *request) int64 { return r.cost },
				Resolve: func(_ context.Context, r *request) (halt.Policy, error) {
					if r.route == "fails" {
						return halt.Policy{}, failed
					}
					return fixed("plan-"+r.user, 100), nil
				},
				Settle: func(r *request, o guard.Outcome) int64 {
					if o.Reserved != r.cost || o.Status != r.status {
						t.Errorf("%s settles %+v", r.user, o)
					}
					return 1
				},
			},
			{Policy: fixed("twice", 100), Key: guard.By("account", func(r *request) string { return r.account }).And(byUser())},
			{Policy: fixed("twice", 100), Key: guard.By("account", func(r *request) string { return r.account }).And(byUser())},
			{Policy: inFlight(1), Key: byUser(), Shadow: true},
		},
	})
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Go(func() {
			r := &request{user: fmt.Sprintf("u%04d", i), account: "acc", route: "plain", cost: int64(i%40 + 2), status: 200 + i%300}
			switch i % 5 {
			case 1:
				r.route = "fails"
			case 2:
				r.route = "exempt"
			case 3:
				r.route, r.account = "keyless", ""
			case 4:
				r.cost = 1000 // too much
			}
			for range 3 {
				d, ran := serve(t.Context(), g, r, func(ctx context.Context) {
					v := guard.VerdictOf(ctx)
					want := 4
					switch i % 5 {
					case 1:
						want = 3
					case 2:
						want = 0
					}
					if len(v.Charges) != want || len(v.Decisions) != want {
						t.Errorf("%s has %d charges, want %d", r.user, len(v.Charges), want)
					}
					for _, c := range v.Charges {
						own(r, "the verdict", c.Key)
						if strings.HasPrefix(c.Policy.Name, "plan-") && (c.Policy.Name != "plan-"+r.user || c.Cost != r.cost) {
							t.Errorf("%s has the charge %+v", r.user, c)
						}
					}
				})
				switch {
				case i%5 == 3 && (ran || d.Reason != guard.MissingKey || d.Policy.Name != "twice"),
					i%5 == 4 && (ran || d.Policy.Name != "plan-"+r.user || len(d.Violated) != 1),
					i%5 < 3 && !ran:
					t.Errorf("%s of kind %d: ran %v, %+v", r.user, i%5, ran, d)
				}
			}
		})
	}
	wg.Wait()
	for i := 0; i < 1000; i += 5 {
		user := fmt.Sprintf("u%04d", i)
		w.wantRemaining(fixed("plan-"+user, 100), "user:"+user, 97) // three requests, settled to 1 each
		w.wantRemaining(fixed("twice", 100), "11:account:acc&user:"+user, 94)
	}
}

// A key of a megabyte leaves nothing behind that the next request would meet, and fills no store.
func TestHugeKeyThenSmall(t *testing.T) {
	w := newWorld(t)
	g := w.rules(guard.Rule[*request]{Policy: fixed("api", 1), Key: byUser().And(byUser())})
	w.admit(g, &request{user: strings.Repeat("x", 1<<20)}, &request{user: "ann"})
	w.deny(g, &request{user: "ann"}, guard.QuotaExceeded)
	w.deny(g, &request{user: strings.Repeat("x", 1<<20)}, guard.QuotaExceeded)
	for _, call := range w.store.taken() {
		if n := len(call[0].Key); n > 65 {
			t.Errorf("the store got a key of %d bytes", n)
		}
	}
}
