package haltdynamo

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
	"github.com/halt-dev/halt/core/storetest/testserver"
)

// endpointEnv names a server to test on instead of a DynamoDB Local of the tests' own. Then AWS_REGION, AWS_ACCESS_KEY_ID,
// AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN count, too. Tests that kill or stop a server start one all the same.
const endpointEnv = "HALT_TEST_DYNAMODB_ENDPOINT"

// Endpoint is the server of all tests that don't kill it, and of the examples; Table is a table of the examples on it.
var Endpoint, Table string

func TestMain(m *testing.M) {
	processes.Child()
	os.Exit(testserver.Main(m, before))
}

func before(tb testing.TB) {
	if Endpoint = os.Getenv(endpointEnv); Endpoint == "" {
		Endpoint = "http://" + testserver.DynamoDB(tb).Addr()
		tb.Logf("on DynamoDB Local at %s", Endpoint)
	} else {
		tb.Logf("on %s", Endpoint)
	}
	Table = newTable(tb, connect(Endpoint))
}

var ctx = context.Background()

// patient are options for tests on a machine that is busy with other tests, too.
var patient = Options{Timeout: 30 * time.Second}

// connect returns a client of an endpoint. An option may change how it works.
func connect(endpoint string, options ...func(*dynamodb.Options)) *dynamodb.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 100 // or most connections are for one request only
	return dynamodb.New(dynamodb.Options{
		BaseEndpoint: &endpoint,
		Region:       cmp.Or(os.Getenv("AWS_REGION"), "us-east-1"),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{
				AccessKeyID:     cmp.Or(os.Getenv("AWS_ACCESS_KEY_ID"), "test"),
				SecretAccessKey: cmp.Or(os.Getenv("AWS_SECRET_ACCESS_KEY"), "test"),
				SessionToken:    os.Getenv("AWS_SESSION_TOKEN"),
			}, nil
		}),
		HTTPClient: &http.Client{Transport: transport},
	}, options...)
}

var tables atomic.Int64

// newTable makes a table that goes with the test.
func newTable(tb testing.TB, client *dynamodb.Client) string {
	tb.Helper()
	name := fmt.Sprintf("halt-test-%d-%d", os.Getpid(), tables.Add(1))
	if err := CreateTable(ctx, client, name); err != nil {
		tb.Fatalf("%v", err)
	}
	tb.Cleanup(func() {
		if _, err := client.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: &name}); err != nil {
			tb.Errorf("%v", err)
		}
	})
	return name
}

var prefixes atomic.Int64

// fresh returns options with a prefix that nobody has used.
func fresh(o Options) Options {
	o.Prefix = fmt.Sprintf("halt%d.%d:", os.Getpid(), prefixes.Add(1))
	return o
}

// newStore returns a store on the server of all tests, with an empty keyspace unless the options name a prefix.
func newStore(tb testing.TB, client Client, o Options) *Store {
	tb.Helper()
	if o.Prefix == "" {
		o = fresh(o)
	}
	s, err := New(client, Table, &o)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// take takes c, and fails the test at an error.
func take(tb testing.TB, s *Store, c halt.Charge) halt.Decision {
	tb.Helper()
	d, err := storetest.TakeOne(ctx, s, c)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

// lasting is a policy under which nothing comes back while a test runs.
func lasting(limit int64) halt.Policy {
	return halt.Policy{Name: "lasting", Algorithm: halt.FixedWindow, Limit: limit, Window: 1000 * 24 * time.Hour}
}

// eventually waits until done, which it asks again and again.
func eventually(tb testing.TB, what string, done func() bool) {
	tb.Helper()
	const patience = 30 * time.Second
	end := time.NewTimer(patience)
	defer end.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-end.C:
			tb.Fatalf("in %v it did not come to this: %s", patience, what)
		}
	}
}
