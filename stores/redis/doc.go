// Package haltredis is a [halt.Store] in Redis: budgets that all processes of a service share, decided exactly, in one round
// trip or less.
//
//	client := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
//	store, err := haltredis.New(client, nil)
//	...
//	limiter := halt.New(store, nil)
//
// It works with Redis 6.2 and later, and with servers that do the same, such as Valkey and KeyDB; modules are not needed. The
// client is go-redis's, for a single server, a Sentinel or a cluster.
//
// # How it decides
//
// One Lua script decides, on Redis's clock: clients whose clocks differ share a budget as exactly as those whose clocks agree.
// All charges of a call are one atomic step at one instant. Calls that wait for Redis at the same time go there together, in
// one run of the script: while batches are on their way ([Options].InFlight), what arrives forms the next one. No timer delays
// anything, and a caller who is alone is sent at once. Calls on one key in a batch share one read and one write.
//
// A refusal writes nothing, unless it blocks. An entry expires once its key is as one never seen, and little later: a
// bucket's at most a quarter of that time and about two seconds.
//
// # Failures
//
// Every call ends after [Options].Timeout at the latest, or when its context does, whatever the network does: it is not the
// caller who waits for Redis, but its batch. A batch that fails is an error for its own calls only, and a value that is not
// Halt's for those that meet it: that matches halt.ErrCorrupt, and the value stays as it is.
//
// A call is sent again, up to four times within about 21 ms, if it is certain that it did not run: while Redis is loading, a
// key is moving, a connection was refused. If it may have run, it is sent once more, unless it has a Credit or a Debit: those
// run at most once, and go-redis is kept from repeating them by itself. Running a Take twice admits less, never more.
//
// # Cluster
//
// A key's slot is decided by the caller's key, so that a call with any number of policies on one key is one atomic step. A
// call whose keys are in several slots is decided slot by slot: first it is only looked at, everywhere at once, and if any
// slot refuses, nothing is spent. Else the slots are taken from one after the other, in the order of the charges (those
// with leaky buckets last), and what was taken is given back if a later one refuses after all. So such a call may be refused
// falsely when others take from the same keys, and for a moment others may be refused because of it; never is more admitted
// than the policies say. Put the most specific key first and shared ones last. It takes a round trip for each slot and one
// more, all within the one Timeout: a call that runs out of it has its error at once, and what is to be given back is given
// back after that. [Options].SlotTag makes every call atomic, by putting all keys into one slot.
//
// On a cluster set the client's ReadTimeout to about the store's timeout, or ContextTimeoutEnabled: while a key is moving,
// calls go through the cluster's client, and a node that does not answer then holds up their batch for that long (the callers
// don't wait for it). For single servers, Sentinel and all other calls to clusters the store sets its timeout itself.
//
// # What Redis forgets
//
// A server that is restarted without its data, a failover that loses what was not yet replicated, and the eviction of keys all
// make budgets start afresh, or from where they were a moment ago. docs/operations.md says how much that can be, and how to
// configure Redis.
package haltredis
