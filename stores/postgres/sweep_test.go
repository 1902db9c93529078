package haltpostgres

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	halt "github.com/halt-dev/halt/core"
)

// bury puts n dead rows into the table.
func bury(t *testing.T, s *Store, pool *pgxpool.Pool, n int) {
	t.Helper()
	run(t, pool, fmt.Sprintf("INSERT INTO %s.budgets SELECT convert_to('dead:' || i, 'UTF8'), 1, 1, 0, 0, 1 FROM generate_series(1, %d) i", s.schemaOf(t), n))
}

// Sweep deletes what has been dead for a minute, all of it and nothing else.
func TestSweep(t *testing.T) {
	s, pool := newStore(t, &patient)
	table := s.schemaOf(t) + ".budgets"
	p := lasting(10)
	take(t, s, p.Charge("alive", 1))
	quick := halt.Policy{Name: "quick", Limit: 1000, Window: time.Millisecond}
	take(t, s, quick.Charge("dying", 1))
	bury(t, s, pool, 10_000)
	now := time.Now().UnixMicro()
	run(t, pool,
		fmt.Sprintf("INSERT INTO %s VALUES ('late', 1, 1, 0, 0, %d), ('later', 1, 1, 0, 0, %d)", table, now-120e6, now-30e6))
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "SELECT FROM "+table+" WHERE key IN ('dead:1', 'dead:5000') FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Sweep(t.Context()); n != 9999 || err != nil {
		t.Errorf("with two rows locked, %d were deleted (%v), of 10001", n, err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Error(err)
	}
	if n, err := s.Sweep(t.Context()); n != 2 || err != nil {
		t.Errorf("then %d were deleted (%v), of 2", n, err)
	}
	if n := one[int](t, pool, "SELECT count(*)::int FROM "+table); n != 3 {
		t.Errorf("%d rows are left: not the 3 that live, are dying, and died lately", n)
	}
	if d := take(t, s, p.Charge("alive", 0)); d.Remaining != 9 {
		t.Errorf("the living: %+v", d)
	}
}

// While takes come and go, on dead rows too, sweeping makes none of them fail or wait for long, and forgets nothing.
func TestSweepBesideTakes(t *testing.T) {
	s, pool := newStore(t, &patient)
	before := deadlocks(t, pool)
	p := lasting(1 << 40)
	ctx, stop := context.WithCancel(t.Context())
	var sweeping sync.WaitGroup
	for range 2 {
		sweeping.Go(func() {
			for ctx.Err() == nil {
				if _, err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
		})
	}
	const keys, each = 100, 150
	var wg sync.WaitGroup
	for g := range 16 {
		rng := rand.New(rand.NewPCG(1, uint64(g)))
		wg.Go(func() {
			for range each {
				var cs []halt.Charge
				for _, i := range rng.Perm(keys)[:3] {
					cs = append(cs, p.Charge(fmt.Sprint(i), 1))
				}
				// What has died long ago: a policy of a millisecond, on a row that says so.
				cs = append(cs, halt.Policy{Name: "quick", Limit: 1000, Window: time.Millisecond}.Charge(fmt.Sprint(rng.IntN(keys)), 1))
				if err := s.Take(context.Background(), cs, make([]halt.Decision, 4)); err != nil {
					t.Error(err)
				}
				if rng.IntN(4) == 0 {
					if _, err := pool.Exec(context.Background(), "UPDATE "+s.schemaOf(t)+".budgets SET expires = 1 WHERE key = $1",
						rowKey(&cs[3])); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	stop()
	sweeping.Wait()
	spent := int64(0)
	for i := range keys {
		spent += p.Limit - take(t, s, p.Charge(fmt.Sprint(i), 0)).Remaining
	}
	if want := int64(16 * each * 3); spent != want {
		t.Errorf("%d are spent, of %d", spent, want)
	}
	if n := deadlocks(t, pool) - before; n != 0 {
		t.Errorf("there were %d deadlocks", n)
	}
}

// Takes sweep, if they are told to.
func TestSweepEvery(t *testing.T) {
	o := patient
	o.SweepEvery = time.Nanosecond
	s, pool := newStore(t, &o)
	bury(t, s, pool, 5000)
	eventually(t, "the dead are gone", func() bool {
		take(t, s, lasting(1<<40).Charge("k", 1))
		return one[int](t, pool, "SELECT count(*)::int FROM "+s.schemaOf(t)+".budgets") == 1
	})
}
