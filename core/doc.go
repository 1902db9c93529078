// Package halt decides whether something may happen now: a request, a login, a query of some cost.
//
// A [Policy] says how much is allowed and how it is counted, a key says whose budget it is, and a [Limiter] decides
// against a [Store], which keeps what was spent:
//
//	limiter := halt.New(memory.New(nil), nil)
//	perMinute := halt.Policy{Name: "api", Limit: 100, Window: time.Minute}
//
//	d, err := limiter.Allow(ctx, perMinute, "user:42")
//	if err != nil {
//		// the store failed: unknown whether it was spent
//	}
//	if !d.Allowed {
//		// come again after d.RetryAfter
//	}
//
// Services that speak HTTP use an adapter instead: package halthttp, or the one of their framework.
//
// # Which algorithm
//
// Each algorithm keeps a bound that holds in every store, under concurrency and across processes; the constants of type
// [Algorithm] state them. TokenBucket, the default, suits most APIs. SlidingWindow is for limits that no interval may
// exceed, such as failed logins; FixedWindow for quotas, by the calendar if [Policy].Period is set; LeakyBucket for what
// must not be hit in bursts; InFlight for how many may be inside at once.
//
// # Several limits at once
//
// A [Charge] is a cost against one budget. A call of several ([Limiter.AllowAll]) is one decision: all of its Takes are
// spent, or none is. Other modes of a charge look without spending (Peek), try a policy out (Shadow), or correct what was
// spent (Debit, Credit).
//
// # Costs known only afterwards
//
// [Limiter.Reserve] takes an estimate, and [Reservation.Settle] replaces it by what it really cost.
//
// # Policies that differ per user, or change
//
// A policy is a plain value, given with each call: it may come from anywhere. [Registry] holds policies by name and
// lets them change while in use; [PolicyCache] loads them per user, say, from a database.
//
// # Errors
//
// A refusal is a [Decision], never an error. Errors are typed, for [errors.Is]: an invalid policy or charge is
// ErrInvalidPolicy or ErrInvalidCharge, with every fault in an [InvalidError]; what a store failed at is ErrDeadline,
// ErrContention, ErrCorrupt or ErrStore. [ErrorKind] labels them for logs and metrics.
//
// # Testing
//
// The memory store goes by the standard library's clock alone: inside a testing/synctest bubble an hour passes at once.
package halt
