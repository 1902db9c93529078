// Package haltmongo is a [halt.Store] in MongoDB: budgets that all processes of a service share, decided exactly, in one round
// trip or less.
//
//	client, err := mongo.Connect(options.Client().ApplyURI("mongodb://localhost"))
//	...
//	store, err := haltmongo.New(client.Database("app").Collection("limits"), nil)
//	...
//	err = store.EnsureIndexes(ctx) // makes the collection, and the index by which MongoDB removes what has expired
//	limiter := halt.New(store, nil)
//
// It is for MongoDB 5.0 and later: a replica set, a sharded cluster or a standalone. The collection should be Halt's alone.
//
// # How it decides
//
// A decision is one findOneAndUpdate with a pipeline, on MongoDB's clock: clients whose clocks differ share a budget as exactly as
// those whose clocks agree. The pipeline computes the next state, in 64-bit integers; what was before and when stays in the
// document, from which the client makes the decision by package algorithm, and checks that it comes to what was written. Calls
// that wait for the same key at the same time are decided by one such update, so that a hot key costs one write for many
// callers. No timer delays anything, and a caller who is alone is sent at once.
//
// An update of a single Take is short: it knows only what is usual, and leaves the rest to a second one. That is the case at the
// first refusal of a policy with Block, at the first Take after the block, and if MongoDB's clock was set back by more than ten seconds.
//
// A refusal writes when it was decided and nothing that later decisions use. So does a Peek, and both make a document for a key
// never seen, which expires at once.
//
// MongoDB's clock, $$NOW, has milliseconds. Windows up to a minute are reckoned in microseconds all the same: the bounds that the
// algorithms promise hold for the instants that the clock tells, and RetryAfter and ResetAfter are rounded up to a
// millisecond, before which the clock would not tell that they are over.
//
// Writes wait for a majority (write concern majority), so that what was admitted survives a failover, and reads are the
// primary's, whatever the collection's options say.
//
// # Calls of several charges
//
// On a replica set or a sharded cluster a call of several charges is one transaction: all of it is spent, or nothing. It reads the
// documents and the clock in one snapshot, and that is the instant of its decisions; it is committed only if nobody has
// written any of the documents meanwhile, or else starts again, with growing pauses, for three quarters of the
// timeout. After that it is halt.ErrContention. Calls of several charges that wait at the same time in one process share a
// transaction. It takes three round trips. A process that dies in the middle of one leaves it open, and MongoDB keeps its documents from being
// written until transactionLifetimeLimitSeconds are over.
//
// A standalone has no transactions. There such a call is decided charge by charge: see halt.TakeEach. It may be refused falsely
// when others take from the same keys, and never admits more than the policies say.
//
// # Failures
//
// Every call ends after [Options].Timeout at the latest, or when its context does: it is not the caller who waits for MongoDB,
// but its batch. A document that is not Halt's, or damaged, is an error of the calls that meet it, which matches halt.ErrCorrupt,
// and it stays as it is; Reset removes it.
//
// Each update carries a number that it leaves in the document. If its answer is lost, the document tells whether it ran, and what
// it came to. Only if somebody else has written the document since, nobody knows: then a Take is sent again, once, which can
// only admit less, and a Credit or Debit is an error. Drivers that retry writes are welcome to: an update that finds its own
// number changes nothing.
//
// docs/operations.md tells of sizing, permissions, sharding and what was tested where.
package haltmongo
