package guard

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	store "github.com/halt-dev/halt/core/memory"
)

// What waits in the pool holds nothing of the requests before, in all the memory that it has.
func TestReleasedPassHoldsNothing(t *testing.T) {
	api := halt.Policy{Name: "api", Limit: 5, Window: time.Hour, Algorithm: halt.FixedWindow, Block: time.Minute}
	unlike := api
	unlike.Limit = 6
	rule := func(p halt.Policy) Rule[string] {
		return Rule[string]{Policy: p, Key: By("user", func(s string) string { return s })}
	}
	found := func(p halt.Policy, err error) Rule[string] {
		r := rule(halt.Policy{})
		r.Resolve = func(context.Context, string) (halt.Policy, error) { return p, err }
		return r
	}
	settled, none := rule(api), rule(api)
	settled.Settle = ChargeOn[string](401)
	none.Key = By("none", func(string) string { return "" })
	for name, rules := range map[string][]Rule[string]{
		"one":             {rule(api)},
		"settled":         {settled},
		"found":           {found(api, nil)},
		"merged":          {rule(api), settled, found(api, nil)},
		"taken over":      {found(unlike, nil), rule(api), found(halt.Policy{Name: "other", Limit: 1, Window: time.Hour}, nil)},
		"failed":          {found(api, errors.New("no")), found(unlike, nil)},
		"no key":          {found(api, nil), rule(api), none},
		"refused":         {found(halt.Policy{Name: "one", Limit: 1, Window: time.Hour}, nil), settled},
		"failed, refused": {rule(api), found(api, errors.New("no")), rule(api)},
	} {
		for _, closed := range []bool{false, true} {
			g, err := New(halt.New(store.New(nil), nil), Config[string]{Rules: rules, FailClosed: closed, OnError: func(string, error) {}})
			if err != nil {
				t.Fatal(err)
			}
			for _, status := range []int{200, 401, 401, 401, 401, 401, 401} {
				p := g.Enter(t.Context(), "ann")
				p.Leave(Outcome{Status: status})
				// Nobody else has it: it may be looked at in the pool.
				if p.r != "" || p.ctx != nil || !reflect.DeepEqual(p.denial, Denial{}) || p.call.Route+p.after.Route != "" {
					t.Errorf("%s: %q %v %+v", name, p.r, p.ctx, p.denial)
				}
				for _, c := range p.call.Charges[:cap(p.call.Charges)] {
					if c.Key != "" || c.Policy.Name != "" && c.Policy != api {
						t.Errorf("%s: %+v", name, c)
					}
				}
				for _, e := range p.entries[:cap(p.entries)] {
					if e.resolved != (halt.Policy{}) {
						t.Errorf("%s: %+v", name, e)
					}
				}
				for _, c := range p.after.Charges[:cap(p.after.Charges)] {
					if c != (halt.Charge{}) {
						t.Errorf("%s: %+v", name, c)
					}
				}
				for _, d := range p.due[:cap(p.due)] {
					if d != (due{}) {
						t.Errorf("%s: %+v", name, d)
					}
				}
			}
		}
	}
}
