package haltpostgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
)

// run runs statements that a test needs.
func run(tb testing.TB, pool *pgxpool.Pool, statements ...string) {
	tb.Helper()
	for _, s := range statements {
		if _, err := pool.Exec(context.Background(), s, pgx.QueryExecModeSimpleProtocol); err != nil {
			tb.Fatalf("%s: %v", s, err)
		}
	}
}

// one returns the only value that a query has.
func one[T any](tb testing.TB, pool *pgxpool.Pool, query string, args ...any) (v T) {
	tb.Helper()
	if err := pool.QueryRow(context.Background(), query, args...).Scan(&v); err != nil {
		tb.Fatalf("%s: %v", query, err)
	}
	return v
}

// Migrate starts from nothing, from an empty schema, from an older version, and from its own; a newer one it refuses.
func TestMigrate(t *testing.T) {
	pool, ctx := connect(t, dsn), context.Background()
	for _, c := range []struct{ name, before string }{
		{"nothing", ""},
		{"an empty schema", "CREATE SCHEMA {}"},
		{"an older version", "CREATE SCHEMA {}; CREATE TABLE {}.version (version integer NOT NULL); INSERT INTO {}.version VALUES (0)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := patientIn(schemaName(t))
			run(t, pool, strings.ReplaceAll(c.before, "{}", o.Schema))
			s := open(t, pool, o)
			if d := take(t, s, lasting(5).Charge("k", 1)); d.Remaining != 4 {
				t.Errorf("%+v", d)
			}
			if err := Migrate(ctx, pool, o); err != nil {
				t.Errorf("once more: %v", err)
			}
			if n := one[int](t, pool, "SELECT sum(version)::int FROM "+o.Schema+".version"); n != version {
				t.Errorf("the version is %d", n)
			}
			run(t, pool, "UPDATE "+o.Schema+".version SET version = 99")
			if err := Migrate(ctx, pool, o); !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), "99") {
				t.Errorf("with a schema of version 99: %v", err)
			}
			if d := take(t, s, lasting(5).Charge("k", 1)); d.Remaining != 3 {
				t.Errorf("it no longer works: %+v", d)
			}
		})
	}
	if err := Migrate(ctx, nil, nil); err == nil {
		t.Error("Migrate of nil succeeded")
	}
	if err := MigrateSQL(ctx, nil, nil); err == nil {
		t.Error("MigrateSQL of nil succeeded")
	}
	if err := Migrate(ctx, pool, &Options{Schema: "Halt"}); err == nil {
		t.Error("a wrong name succeeded")
	}
}

// Before the schema is there, the error says what to do.
func TestNotMigrated(t *testing.T) {
	for _, before := range []string{"", "CREATE SCHEMA {}"} {
		o := patientIn(schemaName(t))
		pool := connect(t, dsn)
		run(t, pool, strings.ReplaceAll(before, "{}", o.Schema))
		s, err := New(pool, o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := storetest.TakeOne(t.Context(), s, lasting(1).Charge("k", 1)); !errors.Is(err, halt.ErrStore) || !strings.Contains(err.Error(), "Migrate") {
			t.Errorf("without a schema: %v", err)
		}
	}
}

// What Schema returns can be run by any tool, again and again, and leaves Migrate nothing to do.
func TestSchema(t *testing.T) {
	o, pool := patientIn(schemaName(t)), connect(t, dsn)
	text, err := Schema(o)
	if err != nil {
		t.Fatal(err)
	}
	run(t, pool, text, text)
	before := one[string](t, pool, "SELECT string_agg(xmin::text, ' ') FROM pg_proc WHERE pronamespace = $1::regnamespace", o.Schema)
	agrees(t, open(t, pool, o), pool)
	after := one[string](t, pool, "SELECT string_agg(xmin::text, ' ') FROM pg_proc WHERE pronamespace = $1::regnamespace", o.Schema)
	if before != after {
		t.Error("Migrate has made the functions anew")
	}
	if _, err := Schema(&Options{Schema: `a"b`}); err == nil {
		t.Error("a wrong name has a Schema")
	}
}

// The table is logged unless it is made otherwise.
func TestUnlogged(t *testing.T) {
	pool := connect(t, dsn)
	for _, unlogged := range []bool{false, true} {
		o := patientIn(schemaName(t))
		o.Unlogged = unlogged
		open(t, pool, o)
		open(t, pool, patientIn(o.Schema)) // leaves it as it is
		want := map[bool]string{false: "p", true: "u"}[unlogged]
		if got := one[string](t, pool, "SELECT relpersistence::text FROM pg_class WHERE oid = $1::regclass", o.Schema+".budgets"); got != want {
			t.Errorf("Unlogged: %t makes a table of kind %q", unlogged, got)
		}
	}
}

// role makes a role that has only what is granted, and returns what makes a pool that role's.
func role(tb testing.TB, admin *pgxpool.Pool, name string, grants ...string) func(*pgxpool.Config) {
	tb.Helper()
	run(tb, admin, "CREATE ROLE "+name+" LOGIN PASSWORD 'secret'")
	tb.Cleanup(func() { run(tb, admin, "DROP OWNED BY "+name+" CASCADE", "DROP ROLE "+name) })
	run(tb, admin, grants...)
	return func(c *pgxpool.Config) { c.ConnConfig.User, c.ConnConfig.Password = name, "secret" }
}

// service makes the schema and the roles that the documentation describes: one which owns the schema and has migrated it, and
// a service's. It returns what makes a pool the service's.
func service(tb testing.TB, admin *pgxpool.Pool, schema string) func(*pgxpool.Config) {
	tb.Helper()
	owner, app := schema+"_owner", schema+"_app"
	migrating := connect(tb, dsn, role(tb, admin, owner, "CREATE SCHEMA "+schema+" AUTHORIZATION "+owner))
	open(tb, migrating, patientIn(schema))
	return role(tb, admin, app, "GRANT USAGE ON SCHEMA "+schema+" TO "+app, "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA "+schema+" TO "+app)
}

// Who may use a schema and create in it can make all that is in it, by Migrate or by the statements of Schema, though not a schema.
func TestMigratingRole(t *testing.T) {
	admin := connect(t, dsn)
	for _, how := range []string{"Migrate", "Schema"} {
		o := patientIn(schemaName(t))
		name := o.Schema + "_creator"
		run(t, admin, "CREATE SCHEMA "+o.Schema)
		pool := connect(t, dsn, role(t, admin, name, "GRANT USAGE, CREATE ON SCHEMA "+o.Schema+" TO "+name))
		if how == "Schema" {
			text, err := Schema(o)
			if err != nil {
				t.Fatal(err)
			}
			run(t, pool, text, text)
		}
		if d := take(t, open(t, pool, o), lasting(5).Charge("k", 1)); d.Remaining != 4 {
			t.Errorf("by %s: %+v", how, d)
		}
		_, err := pool.Exec(t.Context(), "CREATE SCHEMA "+o.Schema+"_more")
		var reply *pgconn.PgError
		if !errors.As(err, &reply) || reply.Code != "42501" {
			t.Errorf("the role may create schemas: %v", err)
		}
	}
}

// The role that the documentation describes can do all that a store does, and nothing else.
func TestRole(t *testing.T) {
	admin := connect(t, dsn)
	o := patientIn(schemaName(t))
	pool := connect(t, dsn, service(t, admin, o.Schema))
	agrees(t, open(t, pool, o), admin) // Migrate has nothing to do
	for _, statement := range []string{
		"SELECT * FROM {}.budgets", "DELETE FROM {}.budgets", "UPDATE {}.version SET version = 2", "CREATE TABLE {}.mine ()",
		"INSERT INTO {}.budgets VALUES ('k', 0, 0, 0, 0, 0)",
	} {
		_, err := pool.Exec(t.Context(), strings.ReplaceAll(statement, "{}", o.Schema))
		var reply *pgconn.PgError
		if !errors.As(err, &reply) || reply.Code != "42501" {
			t.Errorf("%s: %v", statement, err)
		}
	}
	// Others may not even call the functions.
	other := o.Schema + "_other"
	stranger, err := New(connect(t, dsn, role(t, admin, other, "GRANT USAGE ON SCHEMA "+o.Schema+" TO "+other)), o)
	if err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"Take": func() error {
			_, err := storetest.TakeOne(t.Context(), stranger, lasting(1).Charge("k", 1))
			return err
		}(),
		"Reset": stranger.Reset(t.Context(), lasting(1), "k"),
		"Sweep": func() error { _, err := stranger.Sweep(t.Context()); return err }(),
	} {
		var reply *pgconn.PgError
		if !errors.As(err, &reply) || reply.Code != "42501" {
			t.Errorf("%s by a role without rights: %v", what, err)
		}
	}
	// Nor does a search_path of the caller's change whom they talk to.
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	for _, s := range []string{
		"CREATE FUNCTION pg_temp.cardinality(bigint[]) RETURNS int LANGUAGE sql AS 'SELECT 1/0'",
		"SET search_path = pg_temp, pg_catalog",
	} {
		if _, err := conn.Exec(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	if d := take(t, open(t, conn, o), lasting(5).Charge("evil", 1)); d.Remaining != 4 {
		t.Errorf("%+v", d)
	}
}

func TestNew(t *testing.T) {
	pool := connect(t, dsn)
	if s, err := New(pool, nil); err != nil || s.Name() != "postgres" {
		t.Errorf("%v, %v", s, err)
	}
	wrong := &Options{Schema: "1", Timeout: -1, MaxBatch: 4001, InFlight: -1, SweepEvery: -1}
	_, err := New(pool, wrong)
	for _, field := range []string{"Schema", "Timeout", "MaxBatch", "InFlight", "SweepEvery"} {
		if err == nil || !strings.Contains(err.Error(), "Options."+field) {
			t.Errorf("a wrong %s is not in the error: %v", field, err)
		}
	}
	for _, name := range []string{"A", "a b", "a-b", `a"`, "pg_halt", "ä", strings.Repeat("a", 64)} {
		if _, err := New(pool, &Options{Schema: name}); err == nil {
			t.Errorf("the schema %q was taken", name)
		}
	}
	for _, none := range []DB{nil, (*pgxpool.Pool)(nil), (*pgxpool.Conn)(nil), (*pgx.Conn)(nil)} {
		if _, err := New(none, nil); err == nil {
			t.Errorf("New took %#v for a pool", none)
		}
	}
	if _, err := NewSQL(nil, nil); err == nil {
		t.Error("NewSQL took nil for a database")
	}
	if fmt.Sprint(typed(nil)) != "<nil>" {
		t.Error("no error is one")
	}
}
