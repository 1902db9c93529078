package databases

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest/testserver"
	haltdynamo "github.com/halt-dev/halt/stores/dynamodb"
	haltmemcached "github.com/halt-dev/halt/stores/memcached"
	haltmongo "github.com/halt-dev/halt/stores/mongodb"
	haltpostgres "github.com/halt-dev/halt/stores/postgres"
	haltredis "github.com/halt-dev/halt/stores/redis"
)

// database is a store and its server, or its cluster's servers, which are started once for all tests of the store.
type database struct {
	name  string
	start func(testing.TB) (addrs []string)
	// prepare makes what has to be there, by the address of the server itself; nil: nothing.
	prepare func(t *testing.T, addr string)
	// open makes a client and a store that reach the servers by the network. The client is as its makers' defaults are, but for what
	// the store's documentation asks for. closer ends both.
	open func(t *testing.T, n *network, timeout time.Duration) (s halt.Store, closer func())
	// timeout is that of the store. A call on a good network has to be decided within it, on a busy machine too.
	timeout time.Duration
	// locks: calls of two charges are transactions of several round trips. One whose end the network swallowed stays open, and keeps
	// its documents from everybody until the server ends it, after a minute (transactionLifetimeLimitSeconds). What such calls
	// drew on is then not looked at, and the test says so.
	locks bool
	// enough is how many decisions show that all is as before; a fraction of a second's.
	enough int64
}

var databases = []database{
	{
		name: "redis", timeout: 50 * time.Millisecond, enough: 500,
		start: func(tb testing.TB) []string { return []string{testserver.Redis(tb).Addr()} },
		open:  openRedis,
	},
	{
		// Most calls of two charges are on two slots.
		name: "redis cluster", timeout: 100 * time.Millisecond, enough: 500,
		start: func(tb testing.TB) []string { return testserver.RedisCluster(tb, 3).Addrs() },
		open:  openRedisCluster,
	},
	{
		name: "postgres", timeout: 100 * time.Millisecond, enough: 300,
		start:   func(tb testing.TB) []string { return []string{testserver.Postgres(tb).Addr()} },
		prepare: preparePostgres, open: openPostgres,
	},
	{
		name: "dynamodb", timeout: 200 * time.Millisecond, enough: 100,
		start:   func(tb testing.TB) []string { return []string{testserver.DynamoDB(tb).Addr()} },
		prepare: prepareDynamoDB, open: openDynamoDB,
	},
	{
		name: "memcached", timeout: 50 * time.Millisecond, enough: 500,
		start: func(tb testing.TB) []string { return []string{testserver.Memcached(tb).Addr()} },
		open:  openMemcached,
	},
	{
		// The server is written in Python, and it is the slowest.
		name: "mongodb", timeout: 300 * time.Millisecond, enough: 100, locks: true,
		start:   func(tb testing.TB) []string { return []string{testserver.MongoDB(tb).Addr()} },
		prepare: prepareMongoDB, open: openMongoDB,
	},
}

func init() { logging.Disable() } // go-redis tells of each connection that it can't make

func openRedis(t *testing.T, n *network, timeout time.Duration) (halt.Store, func()) {
	t.Helper()
	return redisStore(t, redis.NewClient(&redis.Options{Addr: n.addr}), timeout)
}

func openRedisCluster(t *testing.T, n *network, timeout time.Duration) (halt.Store, func()) {
	t.Helper()
	return redisStore(t, redis.NewClusterClient(&redis.ClusterOptions{Addrs: n.servers(), Dialer: n.dial, ReadTimeout: timeout}), timeout)
}

func redisStore(t *testing.T, client redis.UniversalClient, timeout time.Duration) (halt.Store, func()) {
	t.Helper()
	s, err := haltredis.New(client, &haltredis.Options{Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	return s, func() { _ = client.Close() }
}

// postgresPool connects within a second or not at all. By default pgx gives a connection two minutes, in which it takes up one of
// the pool's few places (4 here) even if nobody waits for it any more: a pool that met a network which swallows everything then
// stays out of order for that long after the network's return.
func postgresPool(t *testing.T, addr string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(context.Background(), "postgres://postgres@"+addr+"/postgres?sslmode=disable&connect_timeout=1")
	if err != nil {
		t.Fatal(err)
	}
	return pool
}

func preparePostgres(t *testing.T, addr string) {
	t.Helper()
	pool := postgresPool(t, addr)
	defer pool.Close()
	if err := haltpostgres.Migrate(context.Background(), pool, nil); err != nil {
		t.Fatal(err)
	}
}

func openPostgres(t *testing.T, n *network, timeout time.Duration) (halt.Store, func()) {
	t.Helper()
	pool := postgresPool(t, n.addr)
	s, err := haltpostgres.New(pool, &haltpostgres.Options{Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	return s, pool.Close
}

const dynamoTable = "limits"

// dynamoClient has the SDK's own transport, of which this can close what is left.
func dynamoClient(addr string) (*dynamodb.Client, func()) {
	transport := awshttp.NewBuildableClient().GetTransport()
	transport.MaxIdleConnsPerHost = 100 // or new connections would be made all the time
	return dynamodb.New(dynamodb.Options{
		Region: "local", BaseEndpoint: aws.String("http://" + addr),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "local", SecretAccessKey: "local"}, nil
		}),
		HTTPClient: &http.Client{Transport: transport},
	}), transport.CloseIdleConnections
}

func prepareDynamoDB(t *testing.T, addr string) {
	t.Helper()
	client, closer := dynamoClient(addr)
	defer closer()
	if err := haltdynamo.CreateTable(context.Background(), client, dynamoTable); err != nil {
		t.Fatal(err)
	}
}

func openDynamoDB(t *testing.T, n *network, timeout time.Duration) (halt.Store, func()) {
	t.Helper()
	client, closer := dynamoClient(n.addr)
	s, err := haltdynamo.New(client, dynamoTable, &haltdynamo.Options{Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	return s, closer
}

func openMemcached(t *testing.T, n *network, timeout time.Duration) (halt.Store, func()) {
	t.Helper()
	s, err := haltmemcached.New([]string{n.addr}, &haltmemcached.Options{Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	return s, func() { _ = s.Close() }
}

// mongoClient connects within a second or not at all, and hears from the server once a second. By default the driver gives a
// connection 30 s, and makes no more than two at a time (maxConnecting): if both met a network which swallows everything, no call
// gets a connection for that long after the network's return. And the driver holds a server for lost, after connections to it
// broke, until its monitor hears from it, which can take heartbeatFrequencyMS, 10 s by default. Writes are not retried since
// SecantusDB is slow at that.
func mongoClient(t *testing.T, addr string) (*mongo.Collection, func()) {
	t.Helper()
	client, err := mongo.Connect(options.Client().
		ApplyURI("mongodb://" + addr + "/?directConnection=true&retryWrites=false&connectTimeoutMS=1000&heartbeatFrequencyMS=1000"))
	if err != nil {
		t.Fatal(err)
	}
	return client.Database("app").Collection("limits"), func() {
		// It ends the sessions on the server, for which it would wait half a minute if that is out of reach.
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		_ = client.Disconnect(ctx) // it has disconnected all the same
	}
}

func prepareMongoDB(t *testing.T, addr string) {
	t.Helper()
	collection, closer := mongoClient(t, addr)
	defer closer()
	s, err := haltmongo.New(collection, nil)
	if err == nil {
		err = s.EnsureIndexes(context.Background())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func openMongoDB(t *testing.T, n *network, timeout time.Duration) (halt.Store, func()) {
	t.Helper()
	collection, closer := mongoClient(t, n.addr)
	s, err := haltmongo.New(collection, &haltmongo.Options{Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	return s, closer
}
