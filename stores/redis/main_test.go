package haltredis

import (
	"context"
	"os"
	"testing"

	"github.com/redis/go-redis/v9"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
	"github.com/halt-dev/halt/core/storetest/testserver"
)

func TestMain(m *testing.M) {
	processes.Child()
	redis.SetLogger(quiet{}) // servers are down here on purpose
	os.Exit(testserver.Main(m, func(tb testing.TB) { ExampleAddr = testserver.Redis(tb).Addr() }))
}

// ExampleAddr is the address of a server for the examples, which have no test to start one with.
var ExampleAddr string

type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// connect returns a client of a server, closed with the test.
func connect(tb testing.TB, addr string) *redis.Client {
	tb.Helper()
	c := redis.NewClient(&redis.Options{Addr: addr})
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

// newStore returns a store on a server of its own.
func newStore(tb testing.TB, o *Options) (*Store, *redis.Client, *testserver.Server) {
	tb.Helper()
	server := testserver.Redis(tb)
	c := connect(tb, server.Addr())
	return open(tb, c, o), c, server
}

// open is New for options that are right.
func open(tb testing.TB, c redis.UniversalClient, o *Options) *Store {
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
