package haltdynamo

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

// retryAll lets the client repeat what its own retryer would, but not beyond the deadline. It is for what may run twice.
func retryAll(o *dynamodb.Options) { o.Retryer = &retryer{Retryer: o.Retryer} }

// retryUndone is retryAll for writes: repeated is only what certainly did not run. Of a write that the client
// repeated after losing an answer, and that was then refused, nobody could tell whether it ran the first time, or will.
func retryUndone(o *dynamodb.Options) { o.Retryer = &retryer{Retryer: o.Retryer, onlyUndone: true} }

// retryer asks the client's own, whose attempts, delays and budget stay in force. It serves one operation.
type retryer struct {
	aws.Retryer
	onlyUndone bool
	deadline   time.Time
	release    func(error) error // gives back the token of the repetition that is about to come
}

func (r *retryer) IsErrorRetryable(err error) bool {
	return (!r.onlyUndone || undone(err)) && r.Retryer.IsErrorRetryable(err)
}

// GetAttemptToken is what the SDK prefers to GetInitialToken, where the client's retryer has it.
func (r *retryer) GetAttemptToken(ctx context.Context) (func(error) error, error) {
	if v2, ok := r.Retryer.(aws.RetryerV2); ok {
		return v2.GetAttemptToken(ctx)
	}
	return r.GetInitialToken(), nil
}

func (r *retryer) GetRetryToken(ctx context.Context, err error) (release func(error) error, _ error) {
	r.deadline, _ = ctx.Deadline()
	release, tokenErr := r.Retryer.GetRetryToken(ctx, err)
	r.release = release
	return release, tokenErr
}

// RetryDelay gives up if the delay would outlast the deadline: then the caller learns at once what the matter is, rather than
// late and only that it took too long. The token that was drawn for the repetition goes back.
func (r *retryer) RetryDelay(attempt int, err error) (time.Duration, error) {
	d, delayErr := r.Retryer.RetryDelay(attempt, err)
	if delayErr != nil || r.deadline.IsZero() || d < time.Until(r.deadline) {
		return d, delayErr
	}
	_ = r.release(nil) // the budget is the client's
	return 0, err
}
