package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
	haltdynamo "github.com/halt-dev/halt/stores/dynamodb"
	haltmemcached "github.com/halt-dev/halt/stores/memcached"
	haltmongo "github.com/halt-dev/halt/stores/mongodb"
	haltpostgres "github.com/halt-dev/halt/stores/postgres"
	haltredis "github.com/halt-dev/halt/stores/redis"
)

const storeUsage = `where the budgets are kept:
memory:
redis://host:6379
postgres://user:password@host:5432/database
mongodb://host:27017/database
dynamodb://host:8000/table, or dynamodb:///table for AWS, as its environment variables say
memcached://host:11211,host:11211`

// timeout is how long a decision may take in the demo: more than a service would allow, for servers that have just been
// started.
const timeout = time.Second

// setup is how long it may take to connect and to make tables.
const setup = 15 * time.Second

// openStore returns the store that the address names, with what it needs in its database, and what closes it. Its errors do
// not tell the address, which may hold a password.
func openStore(ctx context.Context, address string) (halt.Store, func(), error) {
	scheme, _, found := strings.Cut(address, ":")
	open, known := map[string]func(context.Context, string) (halt.Store, func(), error){
		"memory":      openMemory,
		"redis":       openRedis,
		"rediss":      openRedis,
		"postgres":    openPostgres,
		"postgresql":  openPostgres,
		"mongodb":     openMongo,
		"mongodb+srv": openMongo,
		"dynamodb":    openDynamo,
		"memcached":   openMemcached,
	}[scheme]
	if !found || !known {
		return nil, nil, errors.New("-store must begin with one of memory:, redis:, rediss:, postgres:, mongodb:, dynamodb: and memcached: as its scheme")
	}
	ctx, cancel := context.WithTimeout(ctx, setup)
	defer cancel()
	store, closer, err := open(ctx, address)
	if err != nil {
		if _, ok := errors.AsType[*url.Error](err); ok { // it tells the address, or what it took for a part of it
			err = errNoURL
		}
		return nil, nil, fmt.Errorf("opening the %s store: %w", scheme, err)
	}
	return store, closer, nil
}

var errNoURL = errors.New("the address is no URL; in a password / # ? % and @ are written as %2F %23 %3F %25 and %40")

func openMemory(context.Context, string) (halt.Store, func(), error) {
	return memory.New(nil), func() {}, nil
}

func openRedis(ctx context.Context, address string) (halt.Store, func(), error) {
	o, err := redis.ParseURL(address)
	if err != nil {
		return nil, nil, err
	}
	client := redis.NewClient(o)
	closer := func() { _ = client.Close() }
	if err := client.Ping(ctx).Err(); err != nil {
		closer()
		return nil, nil, err
	}
	store, err := haltredis.New(client, &haltredis.Options{Timeout: timeout})
	return store, closer, err
}

func openPostgres(ctx context.Context, address string) (halt.Store, func(), error) {
	pool, err := pgxpool.New(ctx, address)
	if err != nil {
		return nil, nil, err
	}
	if err := haltpostgres.Migrate(ctx, pool, nil); err != nil {
		pool.Close()
		return nil, nil, err
	}
	store, err := haltpostgres.New(pool, &haltpostgres.Options{Timeout: timeout})
	return store, pool.Close, err
}

func openMongo(ctx context.Context, address string) (halt.Store, func(), error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, nil, err
	}
	database := strings.TrimPrefix(u.Path, "/")
	if database == "" {
		database = "halt"
	}
	client, err := mongo.Connect(options.Client().ApplyURI(address))
	if err != nil {
		return nil, nil, err
	}
	closer := func() { _ = client.Disconnect(context.WithoutCancel(ctx)) }
	store, err := haltmongo.New(client.Database(database).Collection("halt"), &haltmongo.Options{Timeout: timeout})
	if err == nil {
		err = store.EnsureIndexes(ctx)
	}
	if err != nil {
		closer()
		return nil, nil, err
	}
	return store, closer, nil
}

// openDynamo opens a table of DynamoDB Local, if the address has a host, or else of AWS.
func openDynamo(ctx context.Context, address string) (halt.Store, func(), error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, nil, err
	}
	table := strings.Trim(u.Path, "/")
	if table == "" {
		table = "halt"
	}
	var load []func(*awsconfig.LoadOptions) error
	var local []func(*dynamodb.Options)
	if u.Host != "" {
		load = append(load, awsconfig.WithRegion("us-east-1"),
			awsconfig.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("local", "local", "")))
		local = append(local, func(o *dynamodb.Options) { o.BaseEndpoint = aws.String("http://" + u.Host) })
	}
	config, err := awsconfig.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, nil, err
	}
	client := dynamodb.NewFromConfig(config, local...)
	if err := haltdynamo.CreateTable(ctx, client, table); err != nil {
		return nil, nil, err
	}
	store, err := haltdynamo.New(client, table, &haltdynamo.Options{Timeout: timeout})
	return store, func() {}, err
}

func openMemcached(_ context.Context, address string) (halt.Store, func(), error) {
	servers := strings.Split(strings.TrimPrefix(address, "memcached://"), ",")
	store, err := haltmemcached.New(servers, &haltmemcached.Options{Timeout: timeout})
	if err != nil {
		return nil, nil, err
	}
	return store, func() { _ = store.Close() }, nil
}

// freshStore is a store in which nobody has used anything yet, whatever is in the one around which it is: every key gets a
// mark that no other run has. -drive counts on it.
type freshStore struct {
	halt.Store
	mark string
}

func newFreshStore(s halt.Store) halt.Store { return freshStore{s, rand.Text() + "/"} }

func (s freshStore) Take(ctx context.Context, cs []halt.Charge, ds []halt.Decision) error {
	marked := make([]halt.Charge, len(cs))
	for i, c := range cs {
		c.Key = s.mark + c.Key
		marked[i] = c
	}
	return s.Store.Take(ctx, marked, ds)
}

func (s freshStore) Reset(ctx context.Context, p halt.Policy, key string) error {
	return s.Store.Reset(ctx, p, s.mark+key)
}

// Name is the store's own, for the dashboard.
func (s freshStore) Name() string {
	if n, ok := s.Store.(interface{ Name() string }); ok {
		return n.Name()
	}
	return "custom"
}
