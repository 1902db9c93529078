package haltdynamo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// CreateTable creates the table of a [Store], pays for it by request, and has DynamoDB delete what is no longer needed. It
// returns when the table can be used. If there is one already it only makes sure of the latter, so it may be called at every
// start, by many processes at once; a table of another shape is an error, and is left as it is.
//
// It needs permission for CreateTable, DescribeTable, DescribeTimeToLive and UpdateTimeToLive, which a service that decides
// does not. For CloudFormation and Terraform see docs/operations.md.
func CreateTable(ctx context.Context, client *dynamodb.Client, table string) error {
	_, err := client.CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName:            &table,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String(keyAttribute), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String(keyAttribute), KeyType: types.KeyTypeHash}},
		BillingMode:          types.BillingModePayPerRequest,
	})
	var exists *types.ResourceInUseException
	if err != nil && !errors.As(err, &exists) {
		return fmt.Errorf("halt/dynamodb: creating the table %s: %w", table, err)
	}
	if err := awaitTable(ctx, client, table); err != nil {
		return err
	}
	return expire(ctx, client, table)
}

// awaitTable returns when the table can be used.
func awaitTable(ctx context.Context, client *dynamodb.Client, table string) error {
	for {
		out, err := client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &table})
		var missing *types.ResourceNotFoundException
		switch {
		case errors.As(err, &missing): // not known everywhere yet
		case err != nil:
			return fmt.Errorf("halt/dynamodb: asking for the table %s: %w", table, err)
		case !fits(out.Table):
			return fmt.Errorf("halt/dynamodb: the table %s has another primary key than the string %q", table, keyAttribute)
		case out.Table.TableStatus == types.TableStatusActive, out.Table.TableStatus == types.TableStatusUpdating:
			return nil
		case out.Table.TableStatus != types.TableStatusCreating:
			return fmt.Errorf("halt/dynamodb: the table %s is %s", table, out.Table.TableStatus)
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("halt/dynamodb: the table %s is not there yet: %w", table, err)
		}
	}
}

// fits tells whether a table has the primary key of a Store's.
func fits(t *types.TableDescription) bool {
	if len(t.KeySchema) != 1 || aws.ToString(t.KeySchema[0].AttributeName) != keyAttribute {
		return false
	}
	for _, a := range t.AttributeDefinitions {
		if aws.ToString(a.AttributeName) == keyAttribute {
			return a.AttributeType == types.ScalarAttributeTypeS
		}
	}
	return false
}

// expire has DynamoDB delete items whose time is over.
func expire(ctx context.Context, client *dynamodb.Client, table string) error {
	for failed := false; ; failed = true {
		out, err := client.DescribeTimeToLive(ctx, &dynamodb.DescribeTimeToLiveInput{TableName: &table})
		if err != nil {
			return fmt.Errorf("halt/dynamodb: asking for the expiry of %s: %w", table, err)
		}
		if d := out.TimeToLiveDescription; d.TimeToLiveStatus == types.TimeToLiveStatusEnabled || d.TimeToLiveStatus == types.TimeToLiveStatusEnabling {
			if name := aws.ToString(d.AttributeName); name != ttlAttribute {
				return fmt.Errorf("halt/dynamodb: the table %s expires items by the attribute %q and not %q", table, name, ttlAttribute)
			}
			return nil
		}
		_, err = client.UpdateTimeToLive(ctx, &dynamodb.UpdateTimeToLiveInput{
			TableName:               &table,
			TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: aws.String(ttlAttribute), Enabled: aws.Bool(true)},
		})
		if err == nil {
			return nil
		}
		if failed { // and not because another process was quicker
			return fmt.Errorf("halt/dynamodb: having items of %s expire: %w", table, err)
		}
	}
}

// pause waits before the table is looked at again.
func pause(ctx context.Context) error {
	t := time.NewTimer(250 * time.Millisecond)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
