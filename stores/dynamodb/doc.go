// Package haltdynamo is a [halt.Store] in a table of Amazon DynamoDB: budgets that all processes of a service share, with nothing
// to run beside.
//
//	config, err := config.LoadDefaultConfig(ctx) // of the SDK
//	client := dynamodb.NewFromConfig(config)
//	err = haltdynamo.CreateTable(ctx, client, "limits") // or by Terraform: see docs/operations.md
//	store, err := haltdynamo.New(client, "limits", nil)
//	...
//	limiter := halt.New(store, nil)
//
// # How it decides
//
// DynamoDB can't compute, so this process does, by package cas, and writes the outcome on condition that nobody has written
// meanwhile. All calls of a process that wait for the same budget share one write. What a budget's item was last is remembered: a
// key that one process uses costs one write for each decision or for many, and no read. If the condition fails, DynamoDB's
// answer holds what is there, and the decision is made again upon that. A refusal or a Peek is decided upon a consistent read.
//
// A call of several charges is one transaction (TransactWriteItems): one atomic step at one instant. It has at most 100 charges;
// one with more is refused with halt.ErrInvalidCharge.
//
// # Time
//
// The time is this process's, corrected by the Date of DynamoDB's answers where the two contradict each other, from the first
// decision on, which therefore takes a read more. So a process whose clock is a day off decides within about a second of
// DynamoDB's time, and one whose clock is kept right by NTP by its own. What is left of the difference is in the bounds: package
// cas says how.
//
// # Capacity
//
// An item never has more than 1024 bytes, so that a write of one takes one write unit, whatever the algorithm and the key:
// keys over 400 bytes, and those that are not printable text, are represented by their SHA-256.
//
//   - a decision that is admitted: 1 write unit, shared by all that wait for the same key in this process at the time
//   - the same, if another process has written the key since, or this one does not remember it: 1 more, for each time that this
//     happens, unless the item's time is over
//   - a refusal, or a Peek: 1 read unit, shared in the same way
//   - a call of n charges: 2n write units if it is admitted, n read units if not; calls that wait at the same time go together, and
//     share what they have in common
//
// A partition of DynamoDB carries 1000 write units a second and an item is in one, so one key can't be written more often than
// that, by all processes together; more decisions than that on one key are only possible because they share writes.
//
// The SDK keeps ten connections that nobody uses, so a process with more calls at a time makes new ones all the time: raise
// MaxIdleConnsPerHost of its HTTP client, as in the example.
//
// # Failures
//
// Every call ends after [Options].Timeout at the latest, or when its context does. If DynamoDB has no capacity for it, the error
// matches [ErrThrottled]; the client's own retries, delays and budget of retries stay in force, but one that could not come
// before the timeout is not waited for. Of writes, what is repeated is only what certainly did not run: a write whose answer was lost
// is looked for first, by the nonce that every value bears. If others have written since, a Take is decided again, which only
// admits less, and a Credit or a Debit is an error. An item that is not Halt's matches halt.ErrCorrupt, for the calls that meet
// it, and stays as it is.
//
// A new process needs time for DNS, TLS and credentials, and its first decision for a read more: let it make one Peek at its
// start, with a context that waits for longer than a Timeout if it has to be repeated, and give Timeout room for three round trips.
//
// # What is not promised
//
// In a global table each region would admit the whole limit: use a table of one region. Deleting the table or its items
// makes budgets start afresh. DynamoDB deletes items some time after their budgets are as ones never seen; until then they do no
// harm.
package haltdynamo
