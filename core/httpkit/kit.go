package httpkit

import (
	"context"
	"errors"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
)

// Config is an adapter's configuration over requests of type R and handlers of denials of type H. Each adapter declares
// one of its own with the same fields, documented for its users, and converts it: a field that is missing, or of
// another type, does not compile.
type Config[R, H any] struct {
	Rules          []guard.Rule[R]
	Exempt         func(R) bool
	Headers        Style
	FailClosed     bool
	Attach         bool
	ResolveTimeout time.Duration
	OnDenied       H
	OnError        func(R, error)
}

// Kit decides requests of type R for an adapter, and writes the header fields. It is safe for concurrent use.
type Kit[R any] struct {
	guard    *guard.Guard[R]
	style    Style
	settles  bool
	attach   bool
	policies policyFields
	sole     bool // there is one rule, and its policy is known: it is that of every charge
}

// New returns the kit of one middleware. A Config that can't be used is an error that matches guard.ErrInvalidConfig and
// names every fault.
func New[R, H any](l *halt.Limiter, f Framework[R], c Config[R, H]) (*Kit[R], error) {
	g, err := guard.New(l, guard.Config[R]{
		Rules: c.Rules, Exempt: c.Exempt, Route: f.Route, FailClosed: c.FailClosed, Attach: c.Attach,
		ResolveTimeout: c.ResolveTimeout, OnError: c.OnError,
	})
	if c.Headers > NoHeaders {
		e := &halt.InvalidError{Kind: guard.ErrInvalidConfig}
		_ = errors.As(err, &e) // all faults are told at once
		e.Faults = append(e.Faults, halt.Fault{Field: "Headers", Want: "one of the package's constants"})
		err = e
	}
	if err != nil {
		return nil, err
	}
	k := &Kit[R]{guard: g, style: c.Headers, attach: c.Attach}
	for i := range c.Rules {
		settled := c.Rules[i].Settle != nil
		k.policies.add(&c.Rules[i].Policy, settled)
		k.settles = k.settles || settled
	}
	k.sole = len(c.Rules) == 1 && len(k.policies) == 1
	return k, nil
}

// MustNew is New for wiring: it panics with the error.
func MustNew[R, H any](l *halt.Limiter, f Framework[R], c Config[R, H]) *Kit[R] {
	k, err := New(l, f, c)
	if err != nil {
		panic(err) //nolint:forbidigo // at wiring, as documented
	}
	return k
}

// Header is a response's header. Keys are given in the canonical form of net/http; http.Header is one.
type Header interface {
	Get(key string) string
	Set(key, value string)
}

// Enter decides a request and writes the header fields of what was decided to h. It returns nil if the request is
// exempt; else the pass goes on as package guard describes.
func (k *Kit[R]) Enter(ctx context.Context, r R, h Header) *guard.Pass[R] {
	p := k.guard.Enter(ctx, r)
	if p == nil {
		return nil
	}
	if v := p.Verdict(); k.style != NoHeaders && len(v.Charges) > 0 {
		if k.style == Legacy {
			writeLegacy(h, v)
		} else {
			k.write(h, p, v)
		}
	}
	if !p.Admitted() {
		d, _ := p.Denied()
		if s := d.RetrySeconds(); s > 0 {
			h.Set("Retry-After", decimal(s))
		}
	}
	return p
}
