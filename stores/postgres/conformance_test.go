package haltpostgres

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
)

// start is when the clock of tests begins that make their own time.
var start = time.Date(2026, time.March, 14, 15, 9, 26, 535897*1000, time.UTC)

// patient are options for tests on a machine that is busy with other tests, too.
var patient = Options{Timeout: 30 * time.Second}

// patientIn returns such options for a schema.
func patientIn(schema string) *Options {
	o := patient
	o.Schema = schema
	return &o
}

// The suite, in PostgreSQL's own time, by a role that has no more rights than a service needs.
func TestPool(t *testing.T) {
	schema := schemaName(t)
	admin := connect(t, dsn)
	pool := connect(t, dsn, service(t, admin, schema))
	storetest.Run(t, harness(admin, schema, func(testing.TB) *Store { return open(t, pool, patientIn(schema)) }))
}

// The suite once more, with a clock that the tests set.
func TestPoolClock(t *testing.T) {
	schema := schemaName(t)
	admin := connect(t, dsn)
	pool := connect(t, dsn, service(t, admin, schema))
	var clock *storetest.Clock
	h := harness(admin, schema, func(tb testing.TB) *Store {
		if name := tb.Name(); strings.HasSuffix(name, "/ManyKeys") || strings.HasSuffix(name, "/ConcurrentKeys") {
			tb.Skip("TestPool has it, and the clock makes no difference to it")
		}
		s := open(t, pool, patientIn(schema))
		clock = storetest.NewClock(start)
		s.now = clock.Now
		return s
	})
	h.TTL, h.Corrupt = nil, nil // the one is of PostgreSQL's own time, the other of no time
	h.Advance = func(_ testing.TB, _ halt.Store, d time.Duration) { clock.Advance(d) }
	storetest.Run(t, h)
}

// harness describes stores in a schema, which is emptied before each case.
func harness(admin *pgxpool.Pool, schema string, open func(tb testing.TB) *Store) storetest.Harness {
	return storetest.Harness{
		New: func(tb testing.TB) halt.Store {
			s := open(tb)
			flush(tb, admin, schema)
			return s
		},
		Atomic:  true,
		Corrupt: damages(admin, schema),
		TTL: func(tb testing.TB, _ halt.Store, c halt.Charge) (time.Duration, bool) {
			var left int64
			err := admin.QueryRow(context.Background(),
				"SELECT expires - (extract(epoch FROM clock_timestamp()) * 1000000)::bigint FROM "+schema+".budgets WHERE key = $1", rowKey(&c)).Scan(&left)
			if err == pgx.ErrNoRows { //nolint:errorlint // pgx says so
				return 0, false
			}
			if err != nil {
				tb.Fatal(err)
			}
			return time.Duration(left) * time.Microsecond, true
		},
	}
}

func flush(tb testing.TB, admin *pgxpool.Pool, schema string) {
	tb.Helper()
	if _, err := admin.Exec(context.Background(), "DELETE FROM "+schema+".budgets"); err != nil {
		tb.Fatal(err)
	}
}

// damages are ways to spoil a row.
func damages(admin *pgxpool.Pool, schema string) map[string]func(testing.TB, halt.Store, halt.Charge) {
	set := func(what string) func(testing.TB, halt.Store, halt.Charge) {
		return func(tb testing.TB, _ halt.Store, c halt.Charge) {
			tag, err := admin.Exec(context.Background(), "UPDATE "+schema+".budgets SET "+what+" WHERE key = $1", rowKey(&c))
			if err != nil || tag.RowsAffected() != 1 {
				tb.Fatalf("SET %s: %v, %v", what, tag, err)
			}
		}
	}
	return map[string]func(testing.TB, halt.Store, halt.Charge){
		"past time":    set("since = -1"),
		"late time":    set("since = 9007199254740992"),
		"latest time":  set("since = 9223372036854775807"),
		"negative":     set("used = -1"),
		"much":         set("used = 4503599627370497"),
		"most":         set("used = 9223372036854775807"),
		"past window":  set("win = -1"),
		"late window":  set("win = since + 1"),
		"past block":   set("till = -1"),
		"long block":   set("till = since + 315360000000001"),
		"other shape":  set("counts = CASE WHEN counts IS NULL THEN '{1,2,3}'::bigint[] END"),
		"too many":     set("counts = coalesce(counts, '{}') || 1::bigint"),
		"no numbers":   set("counts = '{}'"),
		"two-fold":     set("counts = ARRAY[coalesce(counts, '{1}'), coalesce(counts, '{1}')]"),
		"shifted":      set("counts = ('[5:' || 4 + coalesce(cardinality(counts), 1) || ']=' || coalesce(counts, '{1}')::text)::bigint[]"),
		"null in it":   set("counts = array_replace(coalesce(counts, '{0}'), 0, NULL)"),
		"negative one": set("counts = array_replace(coalesce(counts, '{0}'), 0, -1)"),
		"huge ones":    set("counts = array_replace(coalesce(counts, '{0}'), 0, 9223372036854775807)"),
	}
}
