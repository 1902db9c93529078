package haltpostgres

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/jackc/pgx/v5/pgconn"

	halt "github.com/halt-dev/halt/core"
)

// errCorrupt is what a call gets that meets a row which is not Halt's. It names no key.
var errCorrupt error = &halt.StoreError{
	Kind: halt.ErrCorrupt, Cause: errors.New("halt/postgres: a row holds what is no state; it was left as it is"),
}

// errLocked is what a call gets if somebody else has kept a row locked.
var errLocked error = &halt.StoreError{
	Kind: halt.ErrContention, Cause: errors.New("halt/postgres: another transaction keeps a row locked"),
}

// errClock is what a call gets on calendar periods if the clocks of this process and of PostgreSQL are whole periods apart,
// and stay so.
var errClock error = &halt.StoreError{
	Kind: halt.ErrStore, Cause: errors.New("halt/postgres: the clock of PostgreSQL is beyond the calendar's neighbouring periods"),
}

// errReply is what the calls of a batch get whose answer makes no sense.
var errReply error = &halt.StoreError{
	Kind: halt.ErrStore, Cause: errors.New("halt/postgres: the function's answer is not the one that follows from the rows"),
}

// errIsolation is what a call gets on a transaction of the caller's that is of another isolation level.
var errIsolation error = &halt.StoreError{
	Kind: halt.ErrStore, Cause: errors.New("halt/postgres: the transaction is not READ COMMITTED"),
}

// What PostgreSQL calls the errors that mean something here: https://www.postgresql.org/docs/current/errcodes-appendix.html
const (
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	lockNotAvailable     = "55P03"
	queryCanceled        = "57014"
	cannotConnectNow     = "57P03"
	tooManyConnections   = "53300"
	undefinedFunction    = "42883"
	invalidSchemaName    = "3F000"
)

// typed returns an error of the driver as one of halt's kinds.
func typed(err error) error {
	var e *halt.StoreError
	var reply *pgconn.PgError
	var timeout net.Error
	kind := halt.ErrStore
	switch {
	case err == nil || errors.As(err, &e):
		return err
	case errors.As(err, &reply):
		switch reply.Code {
		case queryCanceled:
			kind = halt.ErrDeadline
		case serializationFailure, deadlockDetected, lockNotAvailable:
			kind = halt.ErrContention
		case undefinedFunction, invalidSchemaName:
			err = fmt.Errorf("halt/postgres: the schema is not there, or older than this program: see Migrate: %w", err)
		}
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		kind = halt.ErrDeadline
	}
	return &halt.StoreError{Kind: kind, Cause: err}
}

// outcome is what became of a statement.
type outcome int

const (
	failed  outcome = iota // it changed nothing, and would fail again
	late                   // the time is up, and it may have run
	unknown                // it may have run
	undone                 // it changed nothing, and may run if it is sent again
	blocked                // likewise: a row was locked for too long
)

// outcomeOf tells what became of a statement from the error that came instead of its answer. A transaction in which
// PostgreSQL reports an error is rolled back, whatever the error; only if the connection ends it may have been committed.
func outcomeOf(err error) outcome {
	var reply *pgconn.PgError
	var connect *pgconn.ConnectError
	var timeout net.Error
	switch {
	case errors.As(err, &connect):
		if errors.As(err, &reply) && reply.Code != cannotConnectNow && reply.Code != tooManyConnections {
			return failed // such as a wrong password
		}
		return undone
	case errors.As(err, &reply):
		switch {
		case reply.Code == lockNotAvailable:
			return blocked
		case reply.Code == serializationFailure, reply.Code == deadlockDetected:
			return undone
		case reply.Severity == "FATAL", reply.Severity == "PANIC":
			return unknown
		}
		return failed
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return late
	case pgconn.SafeToRetry(err):
		return undone
	}
	return unknown
}
