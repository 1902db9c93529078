package haltmongo

import (
	"context"
	"errors"

	"go.mongodb.org/mongo-driver/v2/mongo"

	halt "github.com/halt-dev/halt/core"
)

// errCorrupt is what a call gets that meets a document which is not Halt's. It names no key.
var errCorrupt error = &halt.StoreError{
	Kind: halt.ErrCorrupt, Cause: errors.New("halt/mongodb: a document is not Halt's, or damaged; it was left as it is"),
}

// errContention is what a call gets whose documents others write all the time.
var errContention error = &halt.StoreError{
	Kind: halt.ErrContention, Cause: errors.New("halt/mongodb: others wrote the same documents again and again"),
}

// errClock is what a call gets on calendar periods if the clocks of this process and of MongoDB are whole periods apart, and
// stay so.
var errClock error = &halt.StoreError{Kind: halt.ErrStore, Cause: errors.New("halt/mongodb: MongoDB's clock is beyond the calendar's neighbouring periods")}

// errAnswer is what the calls of an update get whose answer is not the one that follows.
var errAnswer error = &halt.StoreError{Kind: halt.ErrStore, Cause: errors.New("halt/mongodb: the update's outcome is not the one that follows from the document")}

// typed returns an error of the driver as one of halt's kinds.
func typed(err error) error {
	var e *halt.StoreError
	switch {
	case err == nil || errors.As(err, &e):
		return err
	case errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded):
		return err
	case mongo.IsDuplicateKeyError(err): // its text tells the key
		return errContention
	case mongo.IsTimeout(err):
		return &halt.StoreError{Kind: halt.ErrDeadline, Cause: err}
	}
	return &halt.StoreError{Kind: halt.ErrStore, Cause: err}
}

// outcome is what became of a command.
type outcome int

const (
	failed     outcome = iota // it changed nothing, or nobody can tell, and is not to be sent again
	conflicted                // it changed nothing, since others were quicker
	unknown                   // it may have changed something, and an answer can be asked for
)

const (
	codeWriteConflict = 112
	codeUnauthorized  = 13
)

// outcomeOf tells what became of an update from the error that came instead of its answer.
func outcomeOf(err error) outcome {
	var server mongo.ServerError
	switch {
	case mongo.IsDuplicateKeyError(err):
		return conflicted
	case errors.As(err, &server) && server.HasErrorCode(codeWriteConflict):
		return conflicted
	case errors.Is(err, mongo.ErrNoDocuments):
		return unknown
	case mongo.IsTimeout(err):
		return failed
	case mongo.IsNetworkError(err), server != nil && server.HasErrorLabel("RetryableWriteError"):
		return unknown
	}
	return failed
}
