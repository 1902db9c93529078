package haltredis

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest/testserver"
)

func TestMain(m *testing.M) {
	if job := os.Getenv(childEnv); job != "" {
		if err := child(job); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	redis.SetLogger(quiet{}) // servers are down here on purpose
	os.Exit(runTests(m))
}

// ExampleAddr is the address of a server for the examples, which have no test to start one with.
var ExampleAddr string

func runTests(m *testing.M) int {
	tb := new(mainTB)
	defer tb.end()
	ExampleAddr = testserver.Redis(tb).Addr()
	return m.Run()
}

// mainTB is what starting a server needs of a test.
type mainTB struct {
	testing.TB // of which nothing else is called
	cleanups   []func()
	failed     bool
}

func (*mainTB) Helper() {}

func (m *mainTB) Cleanup(f func()) { m.cleanups = append(m.cleanups, f) }

func (m *mainTB) Logf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func (m *mainTB) Failed() bool { return m.failed }

func (m *mainTB) Errorf(format string, args ...any) {
	m.failed = true
	m.Logf(format, args...)
}

func (m *mainTB) Fatalf(format string, args ...any) {
	m.Errorf(format, args...)
	m.end()
	os.Exit(1)
}

func (m *mainTB) end() {
	for _, f := range slices.Backward(m.cleanups) {
		f()
	}
}

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
	d, err := s.TakeOne(context.Background(), c)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}
