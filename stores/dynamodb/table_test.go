package haltdynamo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Many processes make the table at once, and again; a store works in it.
func TestCreateTable(t *testing.T) {
	client := connect(Endpoint)
	table := fmt.Sprintf("halt-test-%d-created", os.Getpid())
	t.Cleanup(func() { _, _ = client.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: &table}) })
	for range 2 {
		var wg sync.WaitGroup
		for range 6 {
			wg.Go(func() {
				if err := CreateTable(ctx, client, table); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	expiry, err := client.DescribeTimeToLive(ctx, &dynamodb.DescribeTimeToLiveInput{TableName: &table})
	if err != nil {
		t.Fatal(err)
	}
	d := expiry.TimeToLiveDescription
	if d.TimeToLiveStatus != types.TimeToLiveStatusEnabled && d.TimeToLiveStatus != types.TimeToLiveStatusEnabling || aws.ToString(d.AttributeName) != ttlAttribute {
		t.Errorf("the expiry is %+v", d)
	}
	described, err := client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &table})
	if err != nil {
		t.Fatal(err)
	}
	if mode := described.Table.BillingModeSummary; mode == nil || mode.BillingMode != types.BillingModePayPerRequest {
		t.Errorf("it is paid for by %+v", mode)
	}
	s, err := New(client, table, &patient)
	if err != nil {
		t.Fatal(err)
	}
	if d := take(t, s, lasting(2).Charge("k", 1)); d.Remaining != 1 {
		t.Errorf("%+v", d)
	}
}

// Tables of other shapes are left as they are.
func TestCreateTableOfAnotherShape(t *testing.T) {
	client := connect(Endpoint)
	attribute := func(name string, as types.ScalarAttributeType) types.AttributeDefinition {
		return types.AttributeDefinition{AttributeName: aws.String(name), AttributeType: as}
	}
	key := func(name string, as types.KeyType) types.KeySchemaElement {
		return types.KeySchemaElement{AttributeName: aws.String(name), KeyType: as}
	}
	for i, c := range []struct {
		attributes []types.AttributeDefinition
		keys       []types.KeySchemaElement
		ttl, says  string
	}{
		{[]types.AttributeDefinition{attribute("k", "B")}, []types.KeySchemaElement{key("k", "HASH")}, "", "primary key"},
		{[]types.AttributeDefinition{attribute("id", "S")}, []types.KeySchemaElement{key("id", "HASH")}, "", "primary key"},
		{[]types.AttributeDefinition{attribute("k", "S"), attribute("sort", "S")}, []types.KeySchemaElement{key("k", "HASH"), key("sort", "RANGE")}, "", "primary key"},
		{[]types.AttributeDefinition{attribute("k", "S")}, []types.KeySchemaElement{key("k", "HASH")}, "ttl", `"ttl"`},
	} {
		table := fmt.Sprintf("halt-test-%d-other-%d", os.Getpid(), i)
		if _, err := client.CreateTable(ctx, &dynamodb.CreateTableInput{
			TableName: &table, AttributeDefinitions: c.attributes, KeySchema: c.keys, BillingMode: types.BillingModePayPerRequest,
		}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = client.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: &table}) })
		if c.ttl != "" {
			if _, err := client.UpdateTimeToLive(ctx, &dynamodb.UpdateTimeToLiveInput{
				TableName: &table, TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: &c.ttl, Enabled: aws.Bool(true)},
			}); err != nil {
				t.Fatal(err)
			}
		}
		err := CreateTable(ctx, client, table)
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), table) {
			t.Errorf("number %d: %v", i, err)
		}
	}
}

// A table that takes long to come is waited for, until the context ends.
func TestCreateTableWaits(t *testing.T) {
	client, f := newFaults()
	creating := `,"Table":{"TableStatus":"CREATING","KeySchema":[{"AttributeName":"k","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"k","AttributeType":"S"}]}`
	f.use(only("DescribeTable", 1, answers(400, "ResourceNotFoundException", "")))
	if err := CreateTable(ctx, client, Table); err != nil || f.count("DescribeTable") != 2 {
		t.Errorf("a table that is not known yet: %v, asked %d times", err, f.count("DescribeTable"))
	}
	f.use(only("DescribeTable", 1, answers(200, "", creating)))
	if err := CreateTable(ctx, client, Table); err != nil || f.count("DescribeTable") != 2 {
		t.Errorf("a table in the making: %v, asked %d times", err, f.count("DescribeTable"))
	}
	f.use(only("DescribeTable", 1, answers(200, "", strings.ReplaceAll(creating, "CREATING", "DELETING"))))
	if err := CreateTable(ctx, client, Table); err == nil || !strings.Contains(err.Error(), "DELETING") {
		t.Errorf("a table that goes: %v", err)
	}
	short, cancel := context.WithCancel(ctx)
	defer cancel()
	slow := answers(200, "", creating)
	f.use(only("DescribeTable", 1000, func(operation string, r *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		defer cancel()
		return slow(operation, r, send)
	}))
	if err := CreateTable(short, client, Table); !errors.Is(err, context.Canceled) {
		t.Errorf("a table that does not come: %v", err)
	}
	f.use(only("UpdateTimeToLive", 1000, answers(400, "AccessDeniedException", "")))
	if err := CreateTable(ctx, client, Table); err != nil {
		t.Errorf("a table that is as it should be needs no permission to change it: %v", err)
	}
}
