package haltpostgres

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
	"github.com/halt-dev/halt/core/storetest/testserver"
)

// load takes from s in some goroutines until stop is called, which returns how many were admitted and the errors by kind.
func load(s *Store, c halt.Charge) (stop func() (admitted int64, failed map[string]int)) {
	var wg sync.WaitGroup
	var over atomic.Bool
	var admitted atomic.Int64
	var mu sync.Mutex
	failed := map[string]int{}
	for range 8 {
		wg.Go(func() {
			for !over.Load() {
				d, err := storetest.TakeOne(context.Background(), s, c)
				switch {
				case err != nil:
					mu.Lock()
					failed[halt.ErrorKind(err)]++
					mu.Unlock()
				case d.Allowed:
					admitted.Add(1)
				}
			}
		})
	}
	return func() (int64, map[string]int) {
		over.Store(true)
		wg.Wait()
		return admitted.Load(), failed
	}
}

// What happens to a server, which nobody else may be using.
func TestServer(t *testing.T) {
	server := testserver.Postgres(t)
	for _, c := range []struct {
		name string
		test func(*testing.T, *testserver.Server, *pgxpool.Pool)
	}{{"Restart", testRestart}, {"Timeout", testTimeout}, {"NoGoroutineStays", testNoGoroutineStays}} {
		t.Run(c.name, func(t *testing.T) { c.test(t, server, connect(t, serverDSN(server))) })
	}
}

// A server that was killed and comes back: what was committed is there, so that never more than the limit is admitted; an
// unlogged table is empty, and admits the limit once more. Meanwhile errors say so.
func testRestart(t *testing.T, server *testserver.Server, pool *pgxpool.Pool) {
	for _, unlogged := range []bool{false, true} {
		t.Run(fmt.Sprintf("Unlogged=%t", unlogged), func(t *testing.T) {
			o := Options{Schema: fmt.Sprintf("restart_%t", unlogged), Unlogged: unlogged}
			s, p := open(t, pool, &o), lasting(1000)
			c := p.Charge("k", 1)
			used := func(at int64) {
				eventually(t, fmt.Sprintf("%d of the limit are used", at), func() bool {
					d, err := storetest.TakeOne(context.Background(), s, p.Charge("k", 0))
					return err == nil && p.Limit-d.Remaining >= at
				})
			}
			stop := load(s, c)
			used(500)
			server.Kill()
			if _, err := storetest.TakeOne(context.Background(), s, c); !errors.Is(err, halt.ErrStore) && !errors.Is(err, halt.ErrDeadline) {
				t.Errorf("with the server down: %v", err)
			}
			server.Restart()
			used(1000)
			most := p.Limit
			if unlogged {
				most *= 2
			}
			if admitted, _ := stop(); admitted > most {
				t.Errorf("%d were admitted over two lives of the server, more than %d", admitted, most)
			}
		})
	}
}

// A server that does not answer costs a call its timeout and no more; deadlines of callers are kept, too.
func testTimeout(t *testing.T, server *testserver.Server, pool *pgxpool.Pool) {
	s := open(t, pool, &Options{Timeout: 50 * time.Millisecond})
	p := lasting(100)
	eventually(t, "it works", func() bool { _, err := storetest.TakeOne(context.Background(), s, p.Charge("k", 1)); return err == nil })
	server.Pause()
	for range 5 {
		start := time.Now()
		_, err := storetest.TakeOne(context.Background(), s, p.Charge("k", 1))
		if !errors.Is(err, halt.ErrDeadline) {
			t.Errorf("a server that does not answer: %v", err)
		}
		// The bound is 20 ms above the timeout, which a machine that is busy with other tests can't keep.
		if took := time.Since(start); took > time.Second {
			t.Errorf("it took %v", took)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if _, err := storetest.TakeOne(ctx, s, p.Charge("k", 1)); !errors.Is(err, halt.ErrDeadline) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a caller's deadline: %v", err)
	}
	if err := s.Reset(ctx, p, "k"); !errors.Is(err, halt.ErrDeadline) {
		t.Errorf("a Reset: %v", err)
	}
	if _, err := s.Sweep(ctx); !errors.Is(err, halt.ErrDeadline) {
		t.Errorf("a Sweep: %v", err)
	}
	server.Resume()
	eventually(t, "it works again", func() bool {
		_, err := storetest.TakeOne(context.Background(), s, p.Charge("k", 0))
		return err == nil
	})
}

// No goroutine stays behind once nobody calls.
func testNoGoroutineStays(t *testing.T, server *testserver.Server, pool *pgxpool.Pool) {
	s := open(t, pool, &Options{Timeout: 20 * time.Millisecond})
	before := runtime.NumGoroutine()
	stop := load(s, lasting(1<<40).Charge("k", 1))
	server.Pause()
	eventually(t, "calls time out", func() bool {
		_, err := storetest.TakeOne(context.Background(), s, lasting(1).Charge("l", 1))
		return errors.Is(err, halt.ErrDeadline)
	})
	server.Resume()
	stop()
	pool.Reset()
	eventually(t, "they are gone", func() bool { return runtime.NumGoroutine() <= before })
}

// Callers who leave return at once, and neither open connections nor close any.
func TestLeave(t *testing.T) {
	s, pool := newStore(t, &patient)
	p := lasting(1 << 40)
	unlock := lock(t, s, pool, p.Charge("k", 1))
	fill(t, pool)
	connections := pool.Stat().NewConnsCount()
	ctx, cancel := context.WithCancel(context.Background())
	errs := make(chan error)
	takeOne := func() { _, err := storetest.TakeOne(ctx, s, p.Charge("k", 1)); errs <- err }
	reset := func() { errs <- s.Reset(ctx, p, "k") }
	go takeOne()
	eventually(t, "a Take waits for the row", func() bool { return waiting(t, s, pool) > 0 })
	go reset()
	eventually(t, "a Reset waits for the row", func() bool { return waiting(t, s, pool) > 1 })
	for range 9 { // who wait for their turn
		go takeOne()
		go reset()
	}
	cancel()
	for range 20 {
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Errorf("a caller who left: %v", err)
		}
	}
	unlock()
	take(t, s, p.Charge("k", 1))
	if n := pool.Stat().NewConnsCount() - connections; n > 0 {
		t.Errorf("20 callers who left opened %d connections", n)
	}
	_, taken := storetest.TakeOne(ctx, s, p.Charge("k", 1))
	_, swept := s.Sweep(ctx)
	for what, err := range map[string]error{"Take": taken, "Reset": s.Reset(ctx, p, "k"), "Sweep": swept} {
		if halt.ErrorKind(err) != "canceled" {
			t.Errorf("a %s with a context that has ended: %v", what, err)
		}
	}
}

// lock makes the row of the charge, and locks it until unlock is called.
func lock(t *testing.T, s *Store, pool *pgxpool.Pool, c halt.Charge) (unlock func()) {
	t.Helper()
	take(t, s, c)
	tx, err := pool.Begin(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(context.Background(), "SELECT FROM "+s.schemaOf(t)+".budgets WHERE key = $1 FOR UPDATE", rowKey(&c)); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := tx.Rollback(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// fill makes all connections that the pool may have.
func fill(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	for range pool.Stat().MaxConns() - pool.Stat().AcquiredConns() {
		c, err := pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Release()
	}
}

// waiting returns how many statements of the store wait for a lock.
func waiting(t *testing.T, s *Store, pool *pgxpool.Pool) (n int) {
	t.Helper()
	err := pool.QueryRow(context.Background(),
		"SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%'||$1||'%'", s.schemaOf(t)+`".`).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A row that another transaction keeps locked, or is about to make, fails the calls that need it, and no others, whatever
// their batches. It costs no connection.
func TestLockedRow(t *testing.T) {
	o := Options{Timeout: 4 * time.Second} // a quarter of which is the longest wait
	for _, made := range []bool{true, false} {
		t.Run(fmt.Sprintf("there=%t", made), func(t *testing.T) {
			t.Parallel() // it waits nearly all the time
			s, pool := newStore(t, &o)
			p := lasting(1000)
			locked := p.Charge("locked", 1)
			if made {
				defer lock(t, s, pool, locked)()
			} else {
				tx, err := pool.Begin(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = tx.Rollback(context.Background()) }()
				take(t, open(t, tx, patientIn(s.schemaOf(t))), locked)
			}
			fill(t, pool)
			connections := pool.Stat().NewConnsCount()
			var wg sync.WaitGroup
			for n := range 2 { // both batches that there may be, one waiting behind the other: all others wait for these
				wg.Go(func() {
					err := s.Take(context.Background(), []halt.Charge{locked, p.Charge("beside", 1)}, make([]halt.Decision, 2))
					if !tooLate(err) {
						t.Errorf("a call of two: %v", err)
					}
				})
				eventually(t, "the call waits for the row", func() bool { return waiting(t, s, pool) > n })
			}
			for i := range 24 {
				wg.Go(func() {
					c := p.Charge(fmt.Sprint("other", i), 1)
					if i%8 == 0 {
						c = locked
					}
					_, err := storetest.TakeOne(context.Background(), s, c)
					if want := i%8 == 0; (err != nil) != want || want && !tooLate(err) {
						t.Errorf("call %d: %v", i, err)
					}
				})
			}
			wg.Wait()
			if d := take(t, s, p.Charge("beside", 0)); d.Remaining != 1000 {
				t.Errorf("beside a locked row %d were spent", 1000-d.Remaining)
			}
			if n := pool.Stat().NewConnsCount() - connections; n > 0 {
				t.Errorf("%d connections were opened", n)
			}
		})
	}
}

// A Reset of a row that another transaction keeps locked fails as a call does, however many there are: they cost no connection,
// and neither calls nor Resets on other keys fail.
func TestResetOfLockedRow(t *testing.T) {
	t.Parallel() // it waits nearly all the time
	s, pool := newStore(t, &Options{Timeout: 4 * time.Second}, func(c *pgxpool.Config) { c.MaxConns = 2 })
	p := lasting(1000)
	admin := connect(t, dsn)
	unlock := lock(t, s, admin, p.Charge("locked", 1))
	take(t, s, p.Charge("other", 1))
	fill(t, pool)
	before := pool.Stat()
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			if err := s.Reset(context.Background(), p, "locked"); !errors.Is(err, halt.ErrContention) {
				t.Errorf("a Reset: %v", err)
			}
		})
	}
	eventually(t, "a Reset waits for the row", func() bool { return waiting(t, s, admin) > 0 })
	for i := range 30 {
		wg.Go(func() {
			if _, err := storetest.TakeOne(context.Background(), s, p.Charge(fmt.Sprint("beside", i), 1)); err != nil {
				t.Errorf("a Take beside it: %v", err)
			}
		})
	}
	wg.Go(func() {
		if err := s.Reset(context.Background(), p, "other"); err != nil {
			t.Errorf("a Reset beside it: %v", err)
		}
	})
	wg.Wait()
	if n := pool.Stat().NewConnsCount() - before.NewConnsCount(); n > 0 {
		t.Errorf("%d connections were opened", n)
	}
	unlock()
	if err := s.Reset(t.Context(), p, "locked"); err != nil {
		t.Error(err)
	}
	for _, key := range []string{"locked", "other"} {
		if d := take(t, s, p.Charge(key, 0)); d.Remaining != 1000 {
			t.Errorf("after a Reset of %s %d are left, of 1000", key, d.Remaining)
		}
	}
}

// Takes and Resets have no more than InFlight connections in use at once, batched or not, their sweeping included: in a pool of so
// many, nobody waits for one.
func TestInFlight(t *testing.T) {
	for _, batch := range []int{0, 1} {
		t.Run(fmt.Sprintf("MaxBatch=%d", batch), func(t *testing.T) {
			o := patient
			o.MaxBatch, o.InFlight, o.SweepEvery = batch, 3, time.Nanosecond
			s, pool := newStore(t, &o, func(c *pgxpool.Config) { c.MaxConns = 3 })
			fill(t, pool)
			before, p := pool.Stat().EmptyAcquireCount(), lasting(1000)
			var wg sync.WaitGroup
			for i := range 200 {
				wg.Go(func() {
					key, err := fmt.Sprint(i%20), error(nil)
					if i%4 == 0 {
						err = s.Reset(context.Background(), p, key)
					} else {
						_, err = storetest.TakeOne(context.Background(), s, p.Charge(key, 1))
					}
					if err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if n := pool.Stat().EmptyAcquireCount() - before; n > 0 {
				t.Errorf("%d statements found no free connection among %d", n, o.InFlight)
			}
		})
	}
}

// tooLate tells whether a call that needed a locked row failed as it has to: having waited for the row, or for its turn and then
// for the row.
func tooLate(err error) bool {
	return errors.Is(err, halt.ErrContention) || errors.Is(err, halt.ErrDeadline)
}

// A full disk and whatever else PostgreSQL reports reach the caller, and nothing is admitted.
func TestServerErrors(t *testing.T) {
	for _, c := range []struct{ name, setup, code string }{
		{"full disk", "CREATE FUNCTION {}.full() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION USING ERRCODE = ''53100''; END'; " +
			"CREATE TRIGGER full_ BEFORE INSERT ON {}.budgets FOR EACH ROW EXECUTE FUNCTION {}.full()", "53100"},
		{"no table", "DROP TABLE {}.budgets", "42P01"},
		{"no schema", "DROP SCHEMA {} CASCADE", "3F000"},
		{"another table", "ALTER TABLE {}.budgets DROP COLUMN till", "42703"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, pool := newStore(t, &patient)
			take(t, s, lasting(5).Charge("k", 1))
			for statement := range strings.SplitSeq(strings.ReplaceAll(c.setup, "{}", s.schemaOf(t)), "; CREATE T") {
				if strings.HasPrefix(statement, "RIGGER") {
					statement = "CREATE T" + statement
				}
				if _, err := pool.Exec(t.Context(), statement); err != nil {
					t.Fatal(err)
				}
			}
			_, err := storetest.TakeOne(t.Context(), s, lasting(5).Charge("l", 1))
			var reply *pgconn.PgError
			if !errors.Is(err, halt.ErrStore) || !errors.As(err, &reply) || reply.Code != c.code {
				t.Errorf("%v, want one of code %s", err, c.code)
			}
		})
	}
}

// What PostgreSQL rolled back because of a deadlock or a conflict is sent again, Credits too, and takes effect once. If it goes
// on, that is an error.
func TestConflicts(t *testing.T) {
	for _, code := range []string{"40P01", "40001"} {
		t.Run(code, func(t *testing.T) {
			s, pool := newStore(t, &patient)
			schema, p := s.schemaOf(t), lasting(100)
			first := take(t, s, p.Charge("k", 50))
			run(t, pool, "CREATE SEQUENCE "+schema+".tries",
				"CREATE FUNCTION "+schema+".conflict() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF nextval(''"+schema+".tries'') % 3 > 0 THEN "+
					"RAISE EXCEPTION USING ERRCODE = ''"+code+"''; END IF; RETURN NEW; END'",
				"CREATE TRIGGER conflict BEFORE UPDATE ON "+schema+".budgets FOR EACH ROW EXECUTE FUNCTION "+schema+".conflict()")
			take(t, s, halt.Charge{Policy: p, Key: "k", Cost: 10, Mode: halt.Credit, At: first.At, Taken: 50})
			if d := take(t, s, p.Charge("k", 0)); d.Remaining != 60 {
				t.Errorf("after one Credit of 10 %d are left, not 60", d.Remaining)
			}
			run(t, pool, "DROP SEQUENCE "+schema+".tries", "CREATE SEQUENCE "+schema+".tries INCREMENT 3")
			if _, err := storetest.TakeOne(t.Context(), s, p.Charge("k", 1)); !errors.Is(err, halt.ErrContention) {
				t.Errorf("with endless conflicts: %v", err)
			}
		})
	}
}

// A standby, or any server that may not write, decides nothing.
func TestReadOnly(t *testing.T) {
	s, _ := newStore(t, &patient)
	pool := connect(t, dsn, func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["default_transaction_read_only"] = "on" })
	readOnly, err := New(pool, patientIn(s.schemaOf(t)))
	if err != nil {
		t.Fatal(err)
	}
	d, err := storetest.TakeOne(t.Context(), readOnly, lasting(5).Charge("k", 1))
	var reply *pgconn.PgError
	if !errors.Is(err, halt.ErrStore) || !errors.As(err, &reply) || reply.Code != "25006" {
		t.Errorf("%+v, %v", d, err)
	}
}

// A pool without a connection to spare, and one that is closed, are errors like others.
func TestPoolErrors(t *testing.T) {
	s, pool := newStore(t, &Options{Timeout: 200 * time.Millisecond}, func(c *pgxpool.Config) { c.MaxConns = 1 })
	eventually(t, "it works", func() bool { _, err := storetest.TakeOne(t.Context(), s, lasting(5).Charge("k", 0)); return err == nil })
	c, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := storetest.TakeOne(t.Context(), s, lasting(5).Charge("k", 1)); !errors.Is(err, halt.ErrDeadline) {
		t.Errorf("without a connection: %v", err)
	}
	c.Release()
	pool.Close()
	if _, err := storetest.TakeOne(t.Context(), s, lasting(5).Charge("k", 1)); !errors.Is(err, halt.ErrStore) {
		t.Errorf("of a closed pool: %v", err)
	}
}
