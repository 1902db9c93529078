package main

import (
	"context"
	"net/http"
	"strconv"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest/testserver"
	haltdynamo "github.com/halt-dev/halt/stores/dynamodb"
)

const dynamoModule = "github.com/aws/aws-sdk-go-v2/service/dynamodb"

func dynamoDatabase() database {
	const least = "UpdateItem `ADD`"
	on := func(name, how string, p halt.Policy) databaseDecider {
		return databaseDecider{
			Name: name, Module: ours + "stores/dynamodb", How: how, Limits: true,
			New: func(r rule, addr string) (take, func(), error) {
				client, table, err := dynamoTable(addr)
				if err != nil {
					return nil, nil, err
				}
				s, err := haltdynamo.New(client, table, &haltdynamo.Options{Timeout: patience})
				return haltOn(s, p, r), deletingTable(client, table), err
			},
		}
	}
	return database{
		Name:    "DynamoDB",
		Start:   func(tb testing.TB) string { return testserver.DynamoDB(tb).Addr() },
		Version: func(string) (string, error) { return "(DynamoDB Local 1.25.1)", nil },
		Least:   least,
		Deciders: []databaseDecider{
			on(haltName, "`Limiter.Allow` on `haltdynamo.New(client, table, nil)`: token bucket", halt.Policy{}),
			on("halt, sliding window", "the same, Precision 10", halt.Policy{Algorithm: halt.SlidingWindow}),
			{Name: least, Module: dynamoModule, How: "returning the new value", New: newDynamoAdd},
			{Name: getThenSet, Module: dynamoModule, How: "a consistent GetItem, compare, PutItem", Limits: true, New: newDynamoGetThenSet},
		},
	}
}

func dynamoTable(addr string) (*dynamodb.Client, string, error) {
	client := dynamodb.New(dynamodb.Options{
		Region: "local", BaseEndpoint: aws.String("http://" + addr),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "local", SecretAccessKey: "local"}, nil
		}),
		HTTPClient: awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.MaxIdleConnsPerHost = databaseCallers }),
	})
	table := keyspace()
	return client, table, haltdynamo.CreateTable(context.Background(), client, table)
}

func deletingTable(client *dynamodb.Client, table string) func() {
	return func() {
		// What stays behind slows the others alike.
		_, _ = client.DeleteTable(context.Background(), &dynamodb.DeleteTableInput{TableName: &table})
	}
}

func dynamoKey(key string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{"k": &types.AttributeValueMemberS{Value: key}}
}

func newDynamoAdd(_ rule, addr string) (take, func(), error) {
	client, table, err := dynamoTable(addr)
	if err != nil {
		return nil, nil, err
	}
	ctx := context.Background()
	return func(key string) bool {
		_, err := client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
			TableName: &table, Key: dynamoKey(key), UpdateExpression: aws.String("ADD n :one"),
			ExpressionAttributeValues: map[string]types.AttributeValue{":one": &types.AttributeValueMemberN{Value: "1"}},
			ReturnValues:              types.ReturnValueUpdatedNew,
		})
		return err == nil
	}, deletingTable(client, table), nil
}

func newDynamoGetThenSet(r rule, addr string) (take, func(), error) {
	client, table, err := dynamoTable(addr)
	if err != nil {
		return nil, nil, err
	}
	ctx := context.Background()
	return func(key string) bool {
		out, err := client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &table, Key: dynamoKey(key), ConsistentRead: aws.Bool(true)})
		if err != nil {
			return false
		}
		var n int64
		if v, ok := out.Item["n"].(*types.AttributeValueMemberN); ok {
			n, _ = strconv.ParseInt(v.Value, 10, 64)
		}
		if n >= r.Limit {
			return false
		}
		item := dynamoKey(key)
		item["n"] = &types.AttributeValueMemberN{Value: strconv.FormatInt(n+1, 10)}
		_, err = client.PutItem(ctx, &dynamodb.PutItemInput{TableName: &table, Item: item})
		return err == nil
	}, deletingTable(client, table), nil
}
