// Package combine gathers the calls that wait for a database into batches, for stores whose database can decide many
// calls in one round trip: all of a server, or all on one key.
//
// There is no timer. A call that finds its queue idle is sent at once. While as many batches of the queue as may be are on
// their way, calls wait, and what waits when one is back is the next batch. So an idle store adds nothing to a call's time, and
// a busy one answers many calls with one round trip.
//
// A batch has a context of its own. A caller whose context ends returns at once, and neither stalls nor cancels the calls
// that share its batch; if it leaves while it still waits for its turn, nothing of its call is sent.
//
// A [Combiner] is what a store keeps, a [Sender] what it implements, a [Call] what a batch is made of.
package combine
