package haltgqlgen_test

import (
	"context"
	"testing"
	"time"

	haltgqlgen "github.com/halt-dev/halt/adapters/gqlgen"
	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

// TestGivenBackMeanwhile: fields that were refused stay refused if it all fits a moment later, and spend nothing then.
func TestGivenBackMeanwhile(t *testing.T) {
	p := policy("logins", 3)
	p.Block = time.Minute
	var s *site
	calls := 0
	l := halt.New(memory.New(nil), &halt.Options{Observers: []halt.Observer{observer(func(*halt.Event) {
		if calls++; calls == 2 { // after those that fit, before it is asked when the others would
			if err := s.limiter.Reset(context.Background(), p, ip); err != nil {
				t.Error(err)
			}
		}
	})}})
	s = newSiteOn(t, l, haltgqlgen.Config{Fields: loginRule(p)})
	if a := s.do(t, logins(5), nil); a.refused() != 2 || calls != 4 {
		t.Errorf("%d calls: %s", calls, a.Body)
	}
	if d, err := l.Peek(t.Context(), p, ip); err != nil || d.Blocked || d.Remaining != 3 {
		t.Errorf("%+v, %v", d, err)
	}
}

// contended is a store on which somebody else is always faster.
type contended struct{ halt.Store }

func (contended) Take(_ context.Context, cs []halt.Charge, ds []halt.Decision) error {
	for i, c := range cs {
		ds[i] = halt.Decision{Mode: c.Mode, Limit: c.Policy.Limit, Remaining: c.Policy.Limit, RetryAfter: time.Second}
	}
	return nil
}

// TestContention: an operation that loses again and again gives up, and executes nothing.
func TestContention(t *testing.T) {
	s := newSiteOn(t, halt.New(contended{memory.New(nil)}, nil), haltgqlgen.Config{Fields: loginRule(policy("logins", 100))})
	if a := s.do(t, logins(3), nil); a.refused() != 3 || s.Total() != 0 {
		t.Errorf("%s", a.Body)
	}
}
