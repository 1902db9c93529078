// Package guard is Halt's middleware without a protocol: it turns the rules of a [Config] into one call to a
// [halt.Limiter] per request, and what comes of it into a verdict. It is meant for authors of adapters; users find the
// types bound to their framework's context in its adapter, and here what is the same for all: [Verdict], the [Reason] of a
// [Denial], and the errors.
//
// A [Guard] is entered with a request of any type R and left when the request is done:
//
//	pass := g.Enter(ctx, r)
//	if pass == nil {
//		return handle(r) // exempt
//	}
//	outcome := guard.Outcome{Status: 500} // what a panic settles as
//	defer func() { pass.Leave(outcome) }()
//	if denial, denied := pass.Denied(); denied {
//		return refuse(r, denial)
//	}
//	if err := pass.Wait(); err != nil {
//		outcome = guard.Outcome{Status: guard.StatusClientClosed, Err: err}
//		return err
//	}
//	outcome.Status = handle(r)
//
// The functions that a user gives may fail or panic: that spoils only their own rule, is told to OnError or logged, and
// the next request is served. With FailClosed it refuses the request instead.
package guard
