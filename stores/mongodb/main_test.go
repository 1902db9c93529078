package haltmongo

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
	"github.com/halt-dev/halt/core/storetest/testserver"
)

// patient are options for tests on a machine that is busy with other tests, too.
var patient = Options{Timeout: 60 * time.Second}

// ExampleURI is the address of the servers of the tests: those that HALT_TEST_MONGODB_URI names, or a SecantusDB. The examples
// need it, too, and have no test to start one with.
var ExampleURI string

// isSecantus tells whether the tests run on SecantusDB, which is slow and knows less.
var isSecantus bool

// database is the tests' own.
var database = fmt.Sprintf("halt_test_%016x", rand.Uint64())

func TestMain(m *testing.M) {
	processes.Child()
	os.Exit(testserver.Main(m, before))
}

func before(tb testing.TB) {
	ExampleURI = os.Getenv("HALT_TEST_MONGODB_URI")
	if isSecantus = ExampleURI == ""; isSecantus {
		ExampleURI = uriOf(testserver.MongoDB(tb))
		// It takes more than a millisecond of a processor for what MongoDB does in a tenth: the suite does less, as with -short. And
		// it waits most of the time, so that more tests run at once than there are processors.
		for name, value := range map[string]string{"test.short": "true", "test.parallel": "4"} {
			if err := flag.Set(name, value); err != nil {
				tb.Fatal(err)
			}
		}
	}
	client := connect(tb, ExampleURI)
	if info, err := client.Database(database).RunCommand(context.Background(), bson.D{field("buildInfo", 1)}).Raw(); err == nil {
		tb.Logf("tested on MongoDB %v (SecantusDB: %t)", info.Lookup("version"), isSecantus)
	}
	tb.Cleanup(func() { _ = client.Database(database).Drop(context.Background()) })
}

// uriOf returns where a SecantusDB is. It does not retry writes: SecantusDB looks through all that it has kept of retryable
// writes at each of them, and after some thousands does nothing else.
func uriOf(s *testserver.Server) string {
	return "mongodb://" + s.Addr() + "/?directConnection=true&retryWrites=false"
}

// anotherURI returns the address of servers for a test that runs beside others: SecantusDB uses one processor.
func anotherURI(tb testing.TB) string {
	tb.Helper()
	if isSecantus {
		return uriOf(testserver.MongoDB(tb))
	}
	return ExampleURI
}

// connect returns a client of the servers, which the test disconnects.
func connect(tb testing.TB, uri string) *mongo.Client {
	tb.Helper()
	c, err := mongo.Connect(options.Client().ApplyURI(uri))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Disconnect(context.Background()) })
	return c
}

var collections atomic.Int64

// newCollection returns a collection of its own.
func newCollection(tb testing.TB, client *mongo.Client) *mongo.Collection {
	tb.Helper()
	c := client.Database(database).Collection(fmt.Sprint("c", collections.Add(1)))
	tb.Cleanup(func() { _ = c.Drop(context.Background()) })
	return c
}

// newStore returns a store in a collection of its own.
func newStore(tb testing.TB, o *Options) *Store {
	tb.Helper()
	return open(tb, newCollection(tb, connect(tb, ExampleURI)), o)
}

// newServer returns a store on a server of its own.
func newServer(tb testing.TB, o *Options, args ...string) (*Store, *testserver.Server) {
	tb.Helper()
	server := testserver.MongoDB(tb, args...)
	return open(tb, newCollection(tb, connect(tb, uriOf(server))), o), server
}

// open is New for options that are right.
func open(tb testing.TB, c *mongo.Collection, o *Options) *Store {
	tb.Helper()
	s, err := New(c, o)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// take takes c, and fails the test at an error.
func take(tb testing.TB, s *Store, c halt.Charge) halt.Decision {
	tb.Helper()
	d, err := storetest.TakeOne(context.Background(), s, c)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}
