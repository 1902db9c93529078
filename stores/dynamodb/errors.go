package haltdynamo

import (
	"errors"
	"net"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"

	halt "github.com/halt-dev/halt/core"
)

// ErrThrottled is what errors match, beside halt.ErrStore and the SDK's own error, if DynamoDB had no capacity for a call: the
// table's or its account's throughput is used up, or that of the partition of a hot key. Nothing was spent by it. Some time
// later, or with more capacity, the same call may be decided.
var ErrThrottled = errors.New("halt/dynamodb: not enough capacity")

// typed returns an error of the client as one of halt's kinds.
func typed(err error) error {
	if throttled(err) {
		return &halt.StoreError{Kind: halt.ErrStore, Cause: &throttle{err}}
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return &halt.StoreError{Kind: halt.ErrDeadline, Cause: err}
	}
	return err
}

// throttle is an error that matches ErrThrottled.
type throttle struct{ cause error }

func (t *throttle) Error() string { return ErrThrottled.Error() + ": " + t.cause.Error() }

func (t *throttle) Unwrap() []error { return []error{ErrThrottled, t.cause} }

// throttled tells whether DynamoDB refused for want of capacity.
func throttled(err error) bool {
	var canceled *types.TransactionCanceledException
	var api smithy.APIError
	switch {
	case errors.As(err, &canceled):
		return hasReason(canceled, "ThrottlingError", "ProvisionedThroughputExceeded")
	case errors.As(err, &api) && api.ErrorCode() != inProgress:
		_, ok := retry.DefaultThrottleErrorCodes[api.ErrorCode()]
		return ok
	}
	return false
}

// beaten tells whether a transaction was cancelled for no other reason than that others had written, or were writing.
func beaten(err *types.TransactionCanceledException) bool {
	return !hasReason(err, "ThrottlingError", "ProvisionedThroughputExceeded", "ValidationError", "ItemCollectionSizeLimitExceeded") &&
		hasReason(err, "ConditionalCheckFailed", "TransactionConflict")
}

func hasReason(err *types.TransactionCanceledException, codes ...string) bool {
	for _, reason := range err.CancellationReasons {
		for _, code := range codes {
			if reason.Code != nil && *reason.Code == code {
				return true
			}
		}
	}
	return false
}

// The codes of refusals that leave it open whether what was asked for was done, or will be.
const (
	inProgress     = "TransactionInProgressException"
	requestTimeout = "RequestTimeout"
)

// undone tells whether an operation that failed certainly changed nothing, nor will: DynamoDB refused it (a status of 4xx
// with a code of its own), or there was no connection to send it on.
func undone(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return true
	}
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	switch api.ErrorCode() {
	case "", "UnknownError", inProgress, requestTimeout, requestTimeout + "Exception":
		return false
	}
	var answer interface{ HTTPStatusCode() int }
	return errors.As(err, &answer) && answer.HTTPStatusCode() >= http.StatusBadRequest && answer.HTTPStatusCode() < http.StatusInternalServerError
}
