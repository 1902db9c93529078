package haltdynamo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/cas"
)

// register is a table as a cas.TransactionRegister and cas.TimeRegister.
type register struct {
	client Client
	table  string
	clock  func() halt.Instant
	offset cas.Offset
	dated  atomic.Bool // an answer has told what the time is there
}

func (r *register) Load(ctx context.Context, key string) (cas.Entry, error) {
	sent := r.clock()
	out, err := r.client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: &r.table, Key: keyOf(key), ConsistentRead: aws.Bool(true),
	}, retryAll)
	if err != nil {
		return cas.Entry{}, typed(err)
	}
	r.observe(sent, &out.ResultMetadata)
	r.dated.Store(true)
	return entryOf(out.Item), nil
}

func (r *register) CompareAndSwap(ctx context.Context, key string, old cas.Entry, value []byte, life time.Duration) (cas.Result, error) {
	if !r.dated.Load() {
		// What this process has decided so far it has by its own clock, which may be hours off. It is to decide once more.
		found, err := r.Load(ctx, key)
		if err != nil {
			return cas.Result{}, cas.NotDone(err)
		}
		return cas.Result{Found: true, Entry: found}, nil
	}
	sent, is := r.clock(), unchanged(old, r.now())
	var metadata *middleware.Metadata
	var err error
	if value == nil {
		var out *dynamodb.DeleteItemOutput
		if out, err = r.client.DeleteItem(ctx, &dynamodb.DeleteItemInput{
			TableName: &r.table, Key: keyOf(key),
			ConditionExpression: &is.expression, ExpressionAttributeValues: is.values,
			ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
		}, retryUndone); err == nil {
			metadata = &out.ResultMetadata
		}
	} else {
		var out *dynamodb.PutItemOutput
		if out, err = r.client.PutItem(ctx, &dynamodb.PutItemInput{
			TableName: &r.table, Item: itemOf(key, value, r.now(), life),
			ConditionExpression: &is.expression, ExpressionAttributeValues: is.values,
			ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
		}, retryUndone); err == nil {
			metadata = &out.ResultMetadata
		}
	}
	if err == nil {
		r.observe(sent, metadata)
		return cas.Result{Swapped: true}, nil
	}
	r.observeRefusal(sent, err)
	var changed *types.ConditionalCheckFailedException
	var conflict *types.TransactionConflictException
	switch {
	case errors.As(err, &changed):
		// Nothing in the way of what was to be nothing: what there is was not returned.
		return cas.Result{Found: len(changed.Item) > 0 || old.Value != nil, Entry: entryOf(changed.Item)}, nil
	case errors.As(err, &conflict):
		return cas.Result{}, nil // a transaction is writing the item, and nobody can tell yet what it will be
	case undone(err):
		return cas.Result{}, cas.NotDone(typed(err))
	}
	return cas.Result{}, typed(err)
}

// mostActions is how many items a transaction has at most.
const mostActions = 100

func (r *register) SwapAll(ctx context.Context, swaps []cas.Swap) (swapped bool, err error) {
	if len(swaps) > mostActions {
		return false, cas.NotDone(&halt.StoreError{
			Kind: halt.ErrInvalidCharge, Cause: fmt.Errorf("halt/dynamodb: a call of more than %d charges", mostActions),
		})
	}
	if !r.dated.Load() { // as above
		if _, err := r.Load(ctx, swaps[0].Key); err != nil {
			return false, cas.NotDone(err)
		}
		return false, nil
	}
	sent := r.clock()
	actions := make([]types.TransactWriteItem, len(swaps))
	for i := range swaps {
		actions[i] = r.action(&swaps[i])
	}
	// The SDK's ClientRequestToken would keep two sendings from both running, but if the second is refused, because others write
	// at that moment, the first may be still to come.
	out, err := r.client.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: actions}, retryUndone)
	if err == nil {
		r.observe(sent, &out.ResultMetadata)
		return true, nil
	}
	var canceled *types.TransactionCanceledException
	switch {
	case errors.As(err, &canceled) && beaten(canceled):
		return false, nil
	case undone(err):
		return false, cas.NotDone(typed(err))
	}
	return false, typed(err)
}

// action returns the part of a transaction that is one swap.
func (r *register) action(s *cas.Swap) types.TransactWriteItem {
	is := unchanged(s.Old, r.now())
	if bytes.Equal(s.Old.Value, s.Value) && (s.Old.Value == nil) == (s.Value == nil) {
		return types.TransactWriteItem{ConditionCheck: &types.ConditionCheck{
			TableName: &r.table, Key: keyOf(s.Key), ConditionExpression: &is.expression, ExpressionAttributeValues: is.values,
		}}
	}
	return types.TransactWriteItem{Put: &types.Put{
		TableName: &r.table, Item: itemOf(s.Key, s.Value, r.now(), s.Life),
		ConditionExpression: &is.expression, ExpressionAttributeValues: is.values,
	}}
}

// Ahead returns how far DynamoDB's clock is ahead of this process's, as far as the Date of its answers shows.
func (r *register) Ahead(string) time.Duration { return r.offset.Ahead() }

// now returns DynamoDB's time.
func (r *register) now() halt.Instant {
	return r.clock() + halt.Instant(r.offset.Ahead()/time.Microsecond)
}

// observe learns from the Date of an answer to what was sent then. It is in whole seconds.
func (r *register) observe(sent halt.Instant, m *middleware.Metadata) {
	if date, ok := awsmiddleware.GetServerTime(*m); ok {
		r.offset.Observe(sent, r.clock(), halt.InstantOf(date), time.Second)
	}
}

// observeRefusal learns from an answer that is an error. What was in the way of a swap is decided upon next: by the right time, also
// after a long sleep of a process that is woken for each request.
func (r *register) observeRefusal(sent halt.Instant, err error) {
	var answer *smithyhttp.ResponseError
	if !errors.As(err, &answer) || answer.Response == nil {
		return
	}
	if date, err := http.ParseTime(answer.Response.Header.Get("Date")); err == nil {
		r.offset.Observe(sent, r.clock(), halt.InstantOf(date), time.Second)
	}
}
