package haltgqlgen

import (
	"context"

	"github.com/99designs/gqlgen/graphql"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
)

// Limit returns an extension of one policy and one key that counts operations. It panics as [Operations] does.
func Limit(l *halt.Limiter, p halt.Policy, key Key) graphql.HandlerExtension {
	return Operations(l, Config{Rules: []Rule{{Policy: p, Key: key}}})
}

// Operations returns an extension for a gqlgen server's Use, which applies the limits of c to each operation and to the
// fields that it selects. It panics if c can't be used, with an error that matches guard.ErrInvalidConfig and names every
// fault; and so does Use, if the limits of fields don't fit the server's schema. Call it once per server.
//
// First the Rules are decided, as one call, then the fields, as one more (two or three if some are refused): before
// anything is executed. A leaky bucket's delay is spent in between, in a goroutine that nobody else waits for. The
// extensions that were used before run around it.
//
// An operation that is refused has no data. A field that is refused is null, or its nearest parent that may be, and has an
// error; the rest of the operation is executed. A panic outside of resolvers settles as a 500, and goes on.
func Operations(l *halt.Limiter, c Config) graphql.HandlerExtension {
	e, err := newExtension(l, c)
	if err != nil {
		panic(err) //nolint:forbidigo // at wiring, as documented
	}
	return e
}

// Verdict returns what the Rules of extensions with Attach have decided on the operation that ctx is a resolver's of.
func Verdict(ctx context.Context) guard.Verdict { return guard.VerdictOf(ctx) }
