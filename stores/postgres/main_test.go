package haltpostgres

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
	"github.com/halt-dev/halt/core/storetest/testserver"
)

// dsnEnv names a server that runs elsewhere, for all tests that don't kill or stop theirs. Its user has to be a superuser.
const dsnEnv = "HALT_TEST_POSTGRES_DSN"

// dsn is that of the server of most tests, which have a schema each.
var dsn string

// ExampleDSN is the address of a server for the examples, which have no test to start one with.
var ExampleDSN string

func TestMain(m *testing.M) {
	if job := os.Getenv(childEnv); job != "" {
		if err := child(job); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	processes.Child()
	os.Exit(testserver.Main(m, before))
}

func before(tb testing.TB) {
	tb.Helper()
	if dsn = os.Getenv(dsnEnv); dsn == "" {
		dsn = serverDSN(testserver.Postgres(tb))
	}
	ExampleDSN = dsn
	config, err := pgx.ParseConfig(dsn)
	if err == nil {
		var c *pgx.Conn
		if c, err = pgx.Connect(context.Background(), dsn); err == nil {
			tb.Logf("PostgreSQL %s at %s", c.PgConn().ParameterStatus("server_version"), net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port))))
			err = c.Close(context.Background())
		}
	}
	if err != nil {
		tb.Fatalf("%v", err)
	}
	tb.Cleanup(func() { dropExamples(tb) })
}

// dropExamples leaves nothing behind on a server that goes on.
func dropExamples(tb testing.TB) {
	tb.Helper()
	c, err := pgx.Connect(context.Background(), dsn)
	if err == nil {
		_, err = c.Exec(context.Background(), "DROP SCHEMA IF EXISTS example_limits, example_sql CASCADE")
		_ = c.Close(context.Background())
	}
	if err != nil {
		tb.Errorf("%v", err)
	}
}

func serverDSN(s *testserver.Server) string {
	return "postgres://postgres@" + s.Addr() + "/postgres?sslmode=disable"
}

var schemas atomic.Int64

// schemaName returns the name of a schema that no other test has, which is dropped with the test.
func schemaName(tb testing.TB) string {
	tb.Helper()
	name := fmt.Sprintf("halt_test_%d_%d", os.Getpid(), schemas.Add(1))
	tb.Cleanup(func() {
		c, err := pgx.Connect(context.Background(), dsn)
		if err == nil {
			_, err = c.Exec(context.Background(), "DROP SCHEMA IF EXISTS "+name+" CASCADE")
			_ = c.Close(context.Background())
		}
		if err != nil {
			tb.Errorf("dropping the schema: %v", err)
		}
	})
	return name
}

// connect returns a pool, closed with the test.
func connect(tb testing.TB, dsn string, change ...func(*pgxpool.Config)) *pgxpool.Pool {
	tb.Helper()
	c, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range change {
		f(c)
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(pool.Close)
	return pool
}

// newStore returns a store in a schema of its own on the tests' server.
func newStore(tb testing.TB, o *Options, change ...func(*pgxpool.Config)) (*Store, *pgxpool.Pool) {
	tb.Helper()
	c := Options{}
	if o != nil {
		c = *o
	}
	if c.Schema == "" {
		c.Schema = schemaName(tb)
	}
	pool := connect(tb, dsn, change...)
	return open(tb, pool, &c), pool
}

// open is Migrate and New for options that are right.
func open(tb testing.TB, db DB, o *Options) *Store {
	tb.Helper()
	if err := Migrate(context.Background(), db, o); err != nil {
		tb.Fatal(err)
	}
	s, err := New(db, o)
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
