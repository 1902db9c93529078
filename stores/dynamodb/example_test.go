package haltdynamo_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	halt "github.com/halt-dev/halt/core"
	haltdynamo "github.com/halt-dev/halt/stores/dynamodb"
)

// newClient returns a client. A service has config.LoadDefaultConfig of the SDK find region and credentials, and uses
// dynamodb.NewFromConfig.
func newClient() *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{
		Region:       "eu-central-1",
		BaseEndpoint: aws.String(serverURL()),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "local", SecretAccessKey: "local"}, nil
		}),
		// The SDK keeps 10 connections that nobody uses; with more callers at a time, new ones would be made all the time.
		HTTPClient: awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.MaxIdleConnsPerHost = 100 }),
	})
}

// Two replicas of a service, each with a client of its own, share the budgets of their callers.
func Example() {
	ctx := context.Background()
	if err := haltdynamo.CreateTable(ctx, newClient(), "limits"); err != nil {
		fmt.Println(err)
		return
	}
	policy := halt.Policy{Name: "api", Limit: 3, Window: time.Hour}
	for replica := range 2 {
		store, err := haltdynamo.New(newClient(), "limits", &haltdynamo.Options{Timeout: 10 * time.Second})
		if err != nil {
			fmt.Println(err)
			return
		}
		limiter := halt.New(store, nil)
		for range 2 {
			d, err := limiter.Allow(ctx, policy, "alice")
			switch {
			case errors.Is(err, haltdynamo.ErrThrottled):
				fmt.Println("the table needs more capacity")
			case err != nil:
				fmt.Println(err)
				return
			}
			fmt.Printf("replica %d: allowed %t, %d left\n", replica, d.Allowed, d.Remaining)
		}
	}
	// Output:
	// replica 0: allowed true, 2 left
	// replica 0: allowed true, 1 left
	// replica 1: allowed true, 0 left
	// replica 1: allowed false, 0 left
}
