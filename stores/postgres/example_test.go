package haltpostgres_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	halt "github.com/halt-dev/halt/core"
	haltpostgres "github.com/halt-dev/halt/stores/postgres"
)

// Two replicas of a service, each with a pool of its own, share the budgets of their callers.
func Example() {
	ctx := context.Background()
	policy := halt.Policy{Name: "api", Limit: 3, Window: time.Hour}
	options := &haltpostgres.Options{Schema: "example_limits"}
	for replica := range 2 {
		pool, err := pgxpool.New(ctx, serverDSN())
		if err != nil {
			fmt.Println(err)
			return
		}
		defer pool.Close()
		if err := haltpostgres.Migrate(ctx, pool, options); err != nil {
			fmt.Println(err)
			return
		}
		store, err := haltpostgres.New(pool, options)
		if err != nil {
			fmt.Println(err)
			return
		}
		limiter := halt.New(store, nil)
		if replica == 0 { // what an earlier run of this example has left
			if err := limiter.Reset(ctx, policy, "alice"); err != nil {
				fmt.Println(err)
			}
		}
		for range 2 {
			d, err := limiter.Allow(ctx, policy, "alice")
			if err != nil {
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

// With database/sql, by pgx's driver.
func ExampleNewSQL() {
	ctx := context.Background()
	db, err := sql.Open("pgx", serverDSN())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	options := &haltpostgres.Options{Schema: "example_sql"}
	if err := haltpostgres.MigrateSQL(ctx, db, options); err != nil {
		fmt.Println(err)
		return
	}
	store, err := haltpostgres.NewSQL(db, options)
	if err != nil {
		fmt.Println(err)
		return
	}
	d, err := halt.New(store, nil).Allow(ctx, halt.Policy{Name: "api", Limit: 1000, Window: time.Second}, "alice")
	fmt.Println(d.Allowed, err)
	// Output: true <nil>
}

// Those who migrate their databases with a tool of their own give it these statements.
func ExampleSchema() {
	statements, err := haltpostgres.Schema(&haltpostgres.Options{Schema: "limits", Unlogged: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	for line := range strings.Lines(statements) {
		if strings.HasPrefix(line, "CREATE") {
			fmt.Print(line)
		}
	}
	// Output:
	// CREATE TABLE IF NOT EXISTS "limits".version (
	// CREATE UNLOGGED TABLE IF NOT EXISTS "limits".budgets (
	// CREATE OR REPLACE FUNCTION "limits".decide_1(
	// CREATE OR REPLACE FUNCTION "limits".reset_1(keys bytea[], patience integer, careful boolean) RETURNS text
	// CREATE OR REPLACE FUNCTION "limits".sweep_1(page bigint, pages integer) RETURNS text
}
