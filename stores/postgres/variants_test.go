package haltpostgres

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
)

// agrees holds a store of the schema to the arithmetic, for some hundred calls, and to the bound of a key for which many call
// at once.
func agrees(t *testing.T, s *Store, admin *pgxpool.Pool) {
	t.Helper()
	d := newDifferential(t, s, admin)
	for range 8 {
		d.plant()
		d.move()
		d.batch(40)
	}
	s.now = nil
	p, q := lasting(100), lasting(1000)
	q.Name, q.Algorithm, q.Window = "other", halt.SlidingWindow, p.Window/10
	var admitted atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 10 {
				ds := make(halt.Decisions, 2)
				if err := s.Take(context.Background(), []halt.Charge{q.Charge("crowd", 1), p.Charge("crowd", 1)}, ds); err != nil {
					t.Error(err)
				}
				if ds.Allowed() {
					admitted.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := admitted.Load(); n != 100 {
		t.Errorf("%d were admitted, of 100", n)
	}
	if d := take(t, s, q.Charge("crowd", 0)); d.Remaining != 900 {
		t.Errorf("the other budget has %d left, not 900", d.Remaining)
	}
	if err := s.Reset(context.Background(), p, "crowd"); err != nil {
		t.Error(err)
	}
	if d := take(t, s, p.Charge("crowd", 1)); d.Remaining != 99 {
		t.Errorf("after a Reset %d are left, not 99", d.Remaining)
	}
	if _, err := s.Sweep(context.Background()); err != nil {
		t.Error(err)
	}
}

// On a single connection all is as on a pool, one call after the other.
func TestConn(t *testing.T) {
	c, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	agrees(t, open(t, c, patientIn(schemaName(t))), connect(t, dsn))

	pool := connect(t, dsn)
	pc, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Release()
	agrees(t, open(t, pc, patientIn(schemaName(t))), connect(t, dsn))
}

// By database/sql it is the same.
func TestSQL(t *testing.T) {
	for _, level := range []string{"read committed", "serializable"} {
		t.Run(level, func(t *testing.T) {
			o := patientIn(schemaName(t))
			db, err := sql.Open("pgx", withParam(dsn, "default_transaction_isolation", level))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() })
			for range 2 {
				if err := MigrateSQL(t.Context(), db, o); err != nil {
					t.Fatal(err)
				}
			}
			s, err := NewSQL(db, o)
			if err != nil {
				t.Fatal(err)
			}
			agrees(t, s, connect(t, dsn))
		})
	}
}

// withParam adds a parameter of the session to a DSN.
func withParam(dsn, name, value string) string {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("host=%s port=%d user=%s password='%s' dbname=%s %s='%s'", config.Host, config.Port, config.User, config.Password, config.Database, name, value)
}

// So it is in every mode of pgx's.
func TestModes(t *testing.T) {
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec,
	} {
		t.Run(mode.String(), func(t *testing.T) {
			s, _ := newStore(t, &patient, func(c *pgxpool.Config) { c.ConnConfig.DefaultQueryExecMode = mode })
			agrees(t, s, connect(t, dsn))
		})
	}
}

// A store whose sessions begin REPEATABLE READ or SERIALIZABLE works all the same.
func TestIsolation(t *testing.T) {
	for _, level := range []string{"repeatable read", "serializable"} {
		t.Run(level, func(t *testing.T) {
			s, _ := newStore(t, &patient, func(c *pgxpool.Config) {
				c.ConnConfig.RuntimeParams["default_transaction_isolation"] = level
			})
			agrees(t, s, connect(t, dsn))
		})
	}
}

// Without batches it is the same, too.
func TestUnbatched(t *testing.T) {
	o := patient
	o.MaxBatch = 1
	s, pool := newStore(t, &o)
	agrees(t, s, pool)
}

// In a transaction of the caller's, what was spent goes with a rollback.
func TestTransaction(t *testing.T) {
	ctx := context.Background()
	s, pool := newStore(t, &patient)
	name, p := patientIn(s.schemaOf(t)), lasting(10)
	for _, commit := range []bool{false, true} {
		tx, err := pool.Begin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		inside := open(t, tx, name)
		if d := take(t, inside, p.Charge("k", 3)); d.Remaining != 7 {
			t.Errorf("inside: %+v", d)
		}
		want, end := int64(10), tx.Rollback
		if commit {
			want, end = 7, tx.Commit
		}
		if err := end(ctx); err != nil {
			t.Fatal(err)
		}
		if d := take(t, s, p.Charge("k", 0)); d.Remaining != want {
			t.Errorf("committed: %t, but %d are left", commit, d.Remaining)
		}
	}
	// A setting of the function's ends with it.
	tx, err := pool.BeginTx(ctx, pgx.TxOptions{})
	if err != nil {
		t.Fatal(err)
	}
	take(t, open(t, tx, name), p.Charge("k", 0))
	var timeout string
	if err := tx.QueryRow(ctx, "SHOW lock_timeout").Scan(&timeout); err != nil || timeout != "0" {
		t.Errorf("afterwards lock_timeout is %q (%v)", timeout, err)
	}
	if err := tx.Rollback(ctx); err != nil {
		t.Error(err)
	}
	// Of another isolation level it can't be, and is none the worse for it.
	tx, err = pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	inside, err := New(tx, name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := storetest.TakeOne(ctx, inside, p.Charge("k", 1)); halt.ErrorKind(err) != "store" {
		t.Errorf("in a REPEATABLE READ transaction: %v", err)
	}
	if err := tx.Commit(ctx); err != nil {
		t.Error(err)
	}
}

// schemaOf returns the name of the store's schema.
func (s *Store) schemaOf(tb testing.TB) string {
	tb.Helper()
	var name string
	if _, err := fmt.Sscanf(s.decideSQL, "SELECT %q", &name); err != nil {
		tb.Fatal(err)
	}
	return name
}
