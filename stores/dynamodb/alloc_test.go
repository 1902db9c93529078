//go:build !race

package haltdynamo

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	halt "github.com/halt-dev/halt/core"
)

// A decision of a caller who is alone allocates little more than the conditional write that it is.
func TestAllocations(t *testing.T) {
	client := connect(Endpoint)
	l := halt.New(newStore(t, client, patient), nil)
	p := halt.Policy{Name: "api", Limit: 1_000_000, Window: time.Hour}
	decision := testing.AllocsPerRun(200, func() {
		if _, err := l.Allow(context.Background(), p, "user:42"); err != nil {
			t.Fatal(err)
		}
	})
	write := testing.AllocsPerRun(200, func() {
		if _, err := client.PutItem(context.Background(), &dynamodb.PutItemInput{
			TableName: &Table, Item: itemOf("user:42", make([]byte, 40), 0, time.Hour),
			ConditionExpression: aws.String("v = :old OR attribute_exists(k) OR attribute_not_exists(k)"), ExpressionAttributeValues: map[string]types.AttributeValue{
				":old": &types.AttributeValueMemberB{Value: make([]byte, 40)},
			},
		}); err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("a decision allocates %v times, a write alone %v times", decision, write)
	if decision > write+30 {
		t.Errorf("a decision allocates %v times, a write alone %v times", decision, write)
	}
}
