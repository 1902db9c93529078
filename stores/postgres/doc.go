// Package haltpostgres is a [halt.Store] in PostgreSQL: budgets that all processes of a service share, decided exactly, in one
// statement or less.
//
//	pool, err := pgxpool.New(ctx, "postgres://localhost/app")
//	...
//	err = haltpostgres.Migrate(ctx, pool, nil) // once, or whenever the program starts
//	...
//	store, err := haltpostgres.New(pool, nil)
//	...
//	limiter := halt.New(store, nil)
//
// It works with PostgreSQL 14 and later; the tests run on 15. The client is pgx's, as a pool or a single connection, or
// database/sql with pgx's driver ([NewSQL]).
//
// # How it decides
//
// A function in the database decides, on PostgreSQL's clock, which it reads when all rows that it needs are locked: clients
// whose clocks differ share a budget as exactly as those whose clocks agree. All charges of a call are one atomic step at one
// instant. Calls that wait for PostgreSQL at the same time go there together, in one statement and one transaction: while batches
// are on their way ([Options].InFlight), what arrives forms the next one. No timer delays anything, and a caller who is alone is sent
// at once. Calls on one key in a batch share one read and one write. Rows are locked in the order of their keys, so that no
// two batches wait for each other.
//
// A refusal changes nothing, unless it blocks.
//
// # What must be in the database
//
// A schema of its own, "halt" unless [Options].Schema says otherwise, with a table of budgets, one of its own version, and three functions. [Migrate] makes
// it, or any tool that runs the statements of [Schema]. The functions run with the rights of who made them (SECURITY DEFINER),
// so a service needs no more than
//
//	GRANT USAGE ON SCHEMA halt TO app;
//	GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA halt TO app;
//
// and reaches the table by these functions alone. The owner should be no superuser.
//
// Rows of budgets that are as ones never seen stay until [Store.Sweep] deletes them, which a service calls now and then, or
// its traffic does by [Options].SweepEvery.
//
// # Failures
//
// Every call ends after [Options].Timeout at the latest, or when its context does, whatever the network does: it is not the
// caller who waits for PostgreSQL, but its batch. A batch that fails is an error for its own calls only, and a row that is not
// Halt's for those that meet it: that matches halt.ErrCorrupt, and the row stays as it is. A row that another transaction keeps
// locked for a quarter of the Timeout fails only the calls that need it, with halt.ErrContention.
//
// A call is sent again, up to three times within a few ms, if it is certain that it changed nothing: a connection was refused, or
// PostgreSQL has rolled it back because of a deadlock or a conflict. If it may have run, because the connection broke, it is sent
// once more, unless it has a Credit or a Debit: those run at most once. Running a Take twice admits less, never more.
//
// # Sessions
//
// Nothing depends on the session: no settings, no prepared statements (pgx's default is to prepare, which serves; any other of its
// modes does, too), so the store works behind PgBouncer in transaction mode. Statements have to be READ COMMITTED. If
// the sessions' default is another isolation level, the store finds out and puts each statement into a transaction of its own, which
// costs two more round trips.
//
// # On a connection or a transaction
//
// On a single connection calls go one after the other, in their callers' goroutines, without batches, and none is sent
// again. A call whose context or Timeout ends closes the connection, as pgx does unless it is configured otherwise.
//
// On a pgx.Tx what a call spends is spent when the transaction is committed, and given back by a rollback. Until then its
// rows are locked: calls by others on the same keys wait, and fail. The transaction has to be READ
// COMMITTED; and an error aborts it.
//
// # What PostgreSQL forgets
//
// With the table logged, as it is by default, what was answered is on the disk, as far as the server's fsync and
// synchronous_commit are on. Unlogged it is empty after a crash, and all budgets start afresh. A failover to a standby forgets what that
// had not received. docs/operations.md says how much that is, and what to configure.
package haltpostgres
