package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest/testserver"
	haltpostgres "github.com/halt-dev/halt/stores/postgres"
)

const pgxModule = "github.com/jackc/pgx/v5"

// keyspaces numbers what each contender has of its own on a server.
var keyspaces atomic.Int64

func keyspace() string { return fmt.Sprintf("bench_%d", keyspaces.Add(1)) }

func postgresDatabase() database {
	const least = "`UPDATE … RETURNING`"
	on := func(name, how string, p halt.Policy) databaseDecider {
		return databaseDecider{
			Name: name, Module: ours + "stores/postgres", How: how, Limits: true,
			New: func(r rule, addr string) (take, func(), error) { return haltOnPostgres(addr, r, p) },
		}
	}
	return database{
		Name:  "PostgreSQL",
		Start: func(tb testing.TB) string { return testserver.Postgres(tb).Addr() },
		Version: func(addr string) (v string, err error) {
			pool, err := postgresPool(addr)
			if err != nil {
				return "", err
			}
			defer pool.Close()
			err = pool.QueryRow(context.Background(), "SHOW server_version").Scan(&v)
			return v + ", fsync off", err
		},
		Least: least,
		Deciders: []databaseDecider{
			on(haltName, "`Limiter.Allow` on `haltpostgres.New(pool, nil)`: token bucket", halt.Policy{}),
			on("halt, sliding window", "the same, Precision 10", halt.Policy{Algorithm: halt.SlidingWindow}),
			{Name: least, Module: pgxModule, How: "prepared; adds 1 to a counter that is there", New: newPostgresUpdate},
			{Name: getThenSet, Module: pgxModule, How: "reads a counter, compares, and writes it: what a store without an atomic step does", Limits: true, New: newPostgresGetThenSet},
		},
	}
}

func postgresPool(addr string) (*pgxpool.Pool, error) {
	return pgxpool.New(context.Background(), "postgres://postgres@"+addr+"/postgres?sslmode=disable&pool_max_conns=16")
}

func haltOnPostgres(addr string, r rule, p halt.Policy) (take, func(), error) {
	ctx := context.Background()
	pool, err := postgresPool(addr)
	if err != nil {
		return nil, nil, err
	}
	schema := keyspace()
	if err := haltpostgres.Migrate(ctx, pool, &haltpostgres.Options{Schema: schema}); err != nil {
		return nil, nil, err
	}
	s, err := haltpostgres.New(pool, &haltpostgres.Options{Schema: schema, Timeout: patience})
	return haltOn(s, p, r), dropping(pool, "SCHEMA", schema), err
}

// dropping returns what ends a contender.
func dropping(pool *pgxpool.Pool, kind, name string) func() {
	return func() {
		// What stays behind slows the others alike.
		_, _ = pool.Exec(context.Background(), fmt.Sprintf("DROP %s %s CASCADE", kind, pgx.Identifier{name}.Sanitize()))
		pool.Close()
	}
}

// postgresCounters makes a table of counters that are at 0.
func postgresCounters(addr string) (pool *pgxpool.Pool, table string, err error) {
	if pool, err = postgresPool(addr); err != nil {
		return nil, "", err
	}
	ctx, table := context.Background(), keyspace()
	if _, err := pool.Exec(ctx, fmt.Sprintf("CREATE TABLE %s (key text PRIMARY KEY, n bigint NOT NULL) WITH (fillfactor = 70)", table)); err != nil {
		return nil, "", err
	}
	_, err = pool.Exec(ctx, fmt.Sprintf("INSERT INTO %s SELECT key, 0 FROM unnest($1::text[]) AS key", table), append(walk(10_000), "somebody", "a", "b"))
	return pool, table, err
}

func newPostgresUpdate(_ rule, addr string) (take, func(), error) {
	pool, table, err := postgresCounters(addr)
	if err != nil {
		return nil, nil, err
	}
	ctx, statement := context.Background(), fmt.Sprintf("UPDATE %s SET n = n + 1 WHERE key = $1 RETURNING n", table)
	return func(key string) bool {
		var n int64
		return pool.QueryRow(ctx, statement, key).Scan(&n) == nil
	}, dropping(pool, "TABLE", table), nil
}

func newPostgresGetThenSet(r rule, addr string) (take, func(), error) {
	pool, table, err := postgresCounters(addr)
	if err != nil {
		return nil, nil, err
	}
	ctx := context.Background()
	get, set := fmt.Sprintf("SELECT n FROM %s WHERE key = $1", table), fmt.Sprintf("UPDATE %s SET n = $2 WHERE key = $1", table)
	return func(key string) bool {
		var n int64
		if err := pool.QueryRow(ctx, get, key).Scan(&n); err != nil || n >= r.Limit {
			return false
		}
		_, err := pool.Exec(ctx, set, key, n+1)
		return err == nil
	}, dropping(pool, "TABLE", table), nil
}
