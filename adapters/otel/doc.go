// Package haltotel shows what a limiter decides to OpenTelemetry: a span per call, and metrics.
//
//	observer, err := haltotel.New(nil) // the global TracerProvider and MeterProvider
//	limiter := halt.New(store, &halt.Options{Observers: []halt.Observer{observer}})
//
// It needs OpenTelemetry's API only; which SDK and exporters there are is the program's choice. One observer can serve
// several limiters.
//
// # Metrics
//
//	halt.decisions       counter    {decision}  halt.policy, halt.plan, http.route, halt.outcome
//	halt.cost            counter    {cost}      halt.policy, halt.plan, http.route
//	halt.cost_returned   counter    {cost}      halt.policy, halt.plan, http.route
//	halt.failed_open     counter    {decision}  halt.policy, halt.plan, http.route
//	halt.store.duration  histogram  s           halt.store, error.type
//	halt.series          updowncounter {series}
//
// halt.decisions counts charges that take: of a call of two policies, both. Its halt.outcome is
//
//	allowed         the call was admitted, the cost spent
//	refused         it does not fit
//	blocked         its key is blocked by Policy.Block
//	shadow_allowed  a rule on trial would have admitted it
//	shadow_refused  a rule on trial would have refused it
//	error           the store could not decide
//
// A charge that fits, in a call that another refused, is neither: it is not counted, and neither is a Peek, nor a call
// whose caller gave up. A Debit and a
// Credit are no decisions but corrections: a Debit adds to halt.cost, a Credit to halt.cost_returned, so both are
// monotonic and what was truly spent is the difference. Of an InFlight policy that difference is who is inside. What
// shadow charges spend is not counted. halt.failed_open counts those of the errors whose request went on nevertheless.
//
// halt.store.duration times calls to the store, those that only correct included. Of a store that answers within a
// microsecond one call in 16 is recorded, chosen at random, because recording one takes longer than such a decision: its
// distribution is right, its count is not that of the calls. Of all slower stores, and of what fails or belongs to a
// sampled trace, every call is recorded. error.type is the failure's kind, see [halt.ErrorKind], or "canceled" if it was the
// caller who gave up; never its text.
//
// # Cardinality
//
// No metric has a key. The distinct combinations of policy, plan and route are bounded by [Options].MaxSeries: beyond it
// new ones count under the route [Other], and then under the policy and the plan [Other] too. halt.series is how many
// there are. A plan or route of more than 256 bytes is Other.
//
// # Traces
//
// A call within a sampled trace, or a recording span, gets a span halt.take, a child of it, of kind internal, around the
// store: what the store's client traces is its child. Outside of a trace there is none, so a limiter in a background loop
// does not fill the tracing backend with roots. Attributes are of the charge that decided: the one that refused, else the
// one with the least remaining; halt.policies names all. The span's status is an error exactly if the store failed, not if a
// request was refused or its caller gave up.
//
// Metrics are recorded with the span's context, so that the SDK's exemplars link to it.
package haltotel
