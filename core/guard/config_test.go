package guard_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
)

// faults returns the fields that an error of New names.
func faults(t *testing.T, err error) []string {
	t.Helper()
	if !errors.Is(err, guard.ErrInvalidConfig) {
		t.Fatalf("the error is %v, want one that matches ErrInvalidConfig", err)
	}
	var invalid *halt.InvalidError
	if !errors.As(err, &invalid) {
		t.Fatalf("the error is a %T", err)
	}
	var fields []string
	for _, f := range invalid.Faults {
		fields = append(fields, f.Field)
		if f.Want == "" || !strings.Contains(err.Error(), f.Field+" must be "+f.Want) {
			t.Errorf("the text %q lacks %+v", err, f)
		}
	}
	return fields
}

func TestInvalidConfigs(t *testing.T) {
	w := newWorld(t)
	user, api := byUser(), fixed("api", 10)
	bucket := halt.Policy{Name: "bucket", Limit: 1, Window: time.Second}
	blocking := api
	blocking.Block = time.Minute
	none := func(string) func(*request) string { return nil }
	resolve := resolves(api)
	type rules = []guard.Rule[*request]
	for _, test := range []struct {
		name string
		c    guard.Config[*request]
		want []string
	}{
		{"nothing", guard.Config[*request]{}, []string{"Rules"}},
		{"no policy, no key", guard.Config[*request]{Rules: rules{{}}}, []string{"Rules[0].Policy", "Rules[0].Key"}},
		{"both policy and Resolve", guard.Config[*request]{Rules: rules{{Policy: api, Resolve: resolve, Key: user}}}, []string{"Rules[0].Policy"}},
		{
			"every fault of a policy",
			guard.Config[*request]{Rules: rules{{Policy: halt.Policy{Name: "a b", Limit: -5, Burst: -3}, Key: user}}},
			[]string{"Rules[0].Policy.Name", "Rules[0].Policy.Limit", "Rules[0].Policy.Window", "Rules[0].Policy.Burst"},
		},
		{"token bucket with Settle", guard.Config[*request]{Rules: rules{{Policy: bucket, Key: user, Settle: keeps(0)}}}, []string{"Rules[0].Policy.Algorithm"}},
		{"leaky bucket with Settle", guard.Config[*request]{Rules: rules{{Policy: queue, Key: user, Settle: keeps(0)}}}, []string{"Rules[0].Policy.Algorithm"}},
		{"unequal policies of one name", guard.Config[*request]{Rules: rules{{Policy: api, Key: user}, {Policy: blocking, Key: guard.Everyone[*request]()}}}, []string{"Rules[1].Policy.Name"}},
		{
			"two of them",
			guard.Config[*request]{Rules: rules{{Policy: api, Key: user}, {Policy: blocking, Key: user}, {Policy: fixed("api", 3), Key: user}}},
			[]string{"Rules[1].Policy.Name", "Rules[2].Policy.Name", "Rules[2].Policy.Name"},
		},
		{"in shadow too", guard.Config[*request]{Rules: rules{{Policy: api, Key: user, Shadow: true}, {Policy: blocking, Key: user, Shadow: true}}}, []string{"Rules[1].Policy.Name"}},
		{"negative timeout", guard.Config[*request]{ResolveTimeout: -1, Rules: rules{{Resolve: resolve, Key: user}}}, []string{"ResolveTimeout"}},
		{"key of no function", guard.Config[*request]{Rules: rules{{Policy: api, Key: guard.By("user", none(""))}}}, []string{"Rules[0].Key"}},
		{"key of no appending function", guard.Config[*request]{Rules: rules{{Policy: api, Key: guard.ByAppend[*request]("user", nil)}}}, []string{"Rules[0].Key"}},
		{"invalid key", guard.Config[*request]{Rules: rules{{Policy: api, Key: guard.Invalid[*request]("made with care")}}}, []string{"Rules[0].Key"}},
		{"Or of a zero key", guard.Config[*request]{Rules: rules{{Policy: api, Key: user.Or(guard.Key[*request]{})}}}, []string{"Rules[0].Key"}},
		{"zero key's Or", guard.Config[*request]{Rules: rules{{Policy: api, Key: guard.Key[*request]{}.Or(user)}}}, []string{"Rules[0].Key"}},
		{"And of a zero key", guard.Config[*request]{Rules: rules{{Policy: api, Key: user.And(guard.Key[*request]{})}}}, []string{"Rules[0].Key"}},
		{"an invalid key inside others", guard.Config[*request]{Rules: rules{{Policy: api, Key: user.Or(user.And(guard.Invalid[*request]("x")))}}}, []string{"Rules[0].Key"}},
		{"all at once", guard.Config[*request]{ResolveTimeout: -time.Second, Rules: rules{
			{Policy: halt.Policy{Name: "api", Limit: 0, Window: time.Second}, Key: user, Settle: keeps(0)},
			{Key: guard.By("User", func(*request) string { return "" })},
			{Policy: api, Resolve: resolve},
			{Policy: api, Key: user},
		}}, []string{
			"ResolveTimeout", "Rules[0].Policy.Limit", "Rules[0].Policy.Algorithm", "Rules[1].Policy", "Rules[1].Key",
			"Rules[2].Policy", "Rules[2].Key", "Rules[3].Policy.Name",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			g, err := guard.New(w.limiter, test.c)
			if g != nil {
				t.Error("there is a guard beside the error")
			}
			if got := faults(t, err); !slices.Equal(got, test.want) {
				t.Errorf("faults of %v, want %v\n%v", got, test.want, err)
			}
		})
	}
	t.Run("no limiter", func(t *testing.T) {
		_, err := guard.New(nil, guard.Config[*request]{})
		if got := faults(t, err); len(got) != 2 {
			t.Errorf("faults of %v, want the limiter and Rules", got)
		}
	})
}

func TestValidConfigs(t *testing.T) {
	w := newWorld(t)
	user, api := byUser(), fixed("api", 10)
	unlimited := halt.Policy{Name: "staff", Limit: halt.Unlimited}
	for name, rules := range map[string][]guard.Rule[*request]{
		"equal policies of one name":      {{Policy: api, Key: user}, {Policy: api, Key: guard.Everyone[*request]()}},
		"another in shadow":               {{Policy: api, Key: user}, {Policy: fixed("api", 3), Key: user, Shadow: true}},
		"an unlimited bucket with Settle": {{Policy: unlimited, Key: user, Settle: keeps(0)}},
		"in flight with Settle":           {{Policy: inFlight(1), Key: user, Settle: keeps(0)}},
	} {
		if _, err := guard.New(w.limiter, guard.Config[*request]{Rules: rules}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKinds(t *testing.T) {
	w := newWorld(t)
	for kind, valid := range map[string]bool{
		"user": true, "a": true, "api-key_2": true, strings.Repeat("x", 32): true,
		"": false, "User": false, "2fa": false, "-a": false, "_a": false, "a b": false, "a:b": false, "a&b": false, "ä": false, "a\x00": false,
		strings.Repeat("x", 33): false,
	} {
		for what, key := range map[string]guard.Key[*request]{
			"By":       guard.By(kind, func(r *request) string { return r.user }),
			"ByAppend": guard.ByAppend(kind, func(b []byte, r *request) []byte { return append(b, r.user...) }),
		} {
			_, err := guard.New(w.limiter, guard.Config[*request]{Rules: []guard.Rule[*request]{{Policy: fixed("api", 1), Key: key}}})
			if valid != (err == nil) {
				t.Errorf("%s of kind %q: %v", what, kind, err)
			}
		}
	}
}

// A guard keeps its rules: a slice that its maker changes later changes nothing.
func TestConfigIsCopied(t *testing.T) {
	w := newWorld(t)
	rules := []guard.Rule[*request]{{Policy: fixed("api", 1), Key: byUser()}}
	g := w.rules(rules...)
	rules[0] = guard.Rule[*request]{}
	w.admit(g, success)
	w.deny(g, success, guard.QuotaExceeded)
}
