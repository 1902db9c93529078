package cas

import (
	"context"
	"errors"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/combine"
)

// Reset forgets what key has used under p, its shadow's budget and blocks included. It returns when that is done, when ctx
// ends, or after the Timeout.
func (s *Store) Reset(ctx context.Context, p halt.Policy, key string) error {
	return combine.Within(ctx, s.o.Timeout, func(ctx context.Context) error {
		for _, m := range []halt.Mode{halt.Take, halt.Shadow} {
			if err := s.remove(ctx, halt.StorageKey(s.o.Prefix, halt.Charge{Policy: p, Key: key, Mode: m})); err != nil {
				return err
			}
		}
		return nil
	})
}

// remove removes what is under the key, whatever it is.
func (s *Store) remove(ctx context.Context, key string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = typed(panicked(r))
		}
	}()
	defer s.memory.forget(key)
	l := slot{key: key}
	until := time.Now().Add(s.o.Timeout)
	for conflicts := 1; ; conflicts++ {
		if !l.confirmed {
			if err := s.load(ctx, &l); err != nil {
				return err
			}
		}
		if l.entry.Value == nil {
			return nil
		}
		sent := time.Now()
		r, err := s.reg.CompareAndSwap(ctx, key, l.entry, nil, 0)
		if err != nil {
			return typed(err)
		}
		if r.Swapped {
			return nil
		}
		paused, err := pause(ctx, conflicts, time.Since(sent), until)
		if err != nil {
			return err
		}
		l.entry, l.confirmed = r.Entry, r.Found && !paused
	}
}

// typed returns an error of the register as one of halt's kinds.
func typed(err error) error {
	var e *halt.StoreError
	switch {
	case err == nil, errors.As(err, &e), errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		return &halt.StoreError{Kind: halt.ErrDeadline, Cause: err}
	}
	return &halt.StoreError{Kind: halt.ErrStore, Cause: err}
}
