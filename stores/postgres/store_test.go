package haltpostgres

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
)

var _ halt.Store = (*Store)(nil)

// Two charges have the same row exactly if they have the same storage key.
func TestKeys(t *testing.T) {
	policies := []halt.Policy{
		{Name: "a", Limit: 1, Window: time.Second},
		{Name: "a", Limit: 2, Window: time.Second, Plan: "free", Burst: 7},
		{Name: "a", Limit: 1, Window: time.Minute},
		{Name: "a", Limit: 1, Window: time.Second, Algorithm: halt.SlidingWindow},
		{Name: "a", Limit: 1, Window: time.Second, Algorithm: halt.SlidingWindow, Precision: 10},
		{Name: "a", Limit: 1, Window: time.Second, Algorithm: halt.SlidingWindow, Precision: 9},
		{Name: "b", Limit: 1, Window: time.Second},
	}
	keys := []string{"k", "", "\x00", "\xff", "~", "#", "a:T1s:", "k:", strings.Repeat("k", 250), strings.Repeat("k", 251), strings.Repeat("k", 64<<10)}
	rows := map[string]string{}
	budgets := map[string]bool{}
	for _, p := range policies {
		for _, key := range keys {
			for _, m := range []halt.Mode{halt.Take, halt.Shadow} {
				c := halt.Charge{Policy: p, Key: key, Mode: m}
				row, want := string(rowKey(&c)), halt.StorageKey("", c)
				if was, ok := rows[row]; ok && was != want {
					t.Errorf("%.80q and %.80q share a row", was, want)
				}
				rows[row] = want
				budgets[want] = true
				if len(row) > longestKey {
					t.Errorf("a row's key has %d bytes", len(row))
				}
			}
		}
	}
	if len(rows) != len(budgets) {
		t.Errorf("%d budgets have %d rows", len(budgets), len(rows))
	}
}

// Calls on one key that wait together cost one read and one write; a refusal that doesn't block writes nothing; and what is
// only looked at leaves nothing behind.
func TestWrites(t *testing.T) {
	s, pool := newStore(t, &patient)
	table := s.schemaOf(t) + ".budgets"
	p := lasting(3)
	row := func() string { return one[string](t, pool, "SELECT string_agg(ctid::text, ' ') FROM "+table) }
	take(t, s, p.Charge("k", 2))
	before := row()
	q := p
	q.Name = "other"
	for _, c := range [][]halt.Charge{
		{p.Charge("k", 2)},
		{p.Charge("k", 0)},
		{{Policy: p, Key: "k", Cost: 1, Mode: halt.Peek}},
		{{Policy: p, Key: "unseen", Cost: 1, Mode: halt.Peek}},
		{p.Charge("unseen", 4)},
		{{Policy: p, Key: "unseen", Cost: 1, Mode: halt.Credit, Taken: 1}},
		{p.Charge("k", 2), q.Charge("unseen", 1)},
	} {
		if err := s.Take(context.Background(), c, make([]halt.Decision, len(c))); err != nil {
			t.Error(err)
		}
		if after := row(); after != before {
			t.Errorf("%+v: the rows were at %s and are at %s", c, before, after)
		}
	}
	var f flight
	f.store, f.request = s, newRequest()
	for range 50 {
		f.entries = append(f.entries, &entry{charges: []halt.Charge{p.Charge("batch", 1)}, decisions: make([]halt.Decision, 1)})
	}
	entries := append([]*entry(nil), f.entries...)
	f.run(context.Background())
	allowed := 0
	for _, e := range entries {
		if e.err != nil {
			t.Error(e.err)
		}
		if e.decisions[0].Allowed {
			allowed++
		}
	}
	if allowed != 3 {
		t.Errorf("%d were allowed, of 3", allowed)
	}
}

// Nearly all updates are HOT: they leave the index alone, and the pages are cleared up on the way, without vacuum.
func TestHOT(t *testing.T) {
	s, pool := newStore(t, &patient)
	table := s.schemaOf(t) + ".budgets"
	run(t, pool, "ALTER TABLE "+table+" SET (autovacuum_enabled = off)")
	const keys, rounds = 400, 10
	for _, a := range []halt.Algorithm{halt.TokenBucket, halt.SlidingWindow} {
		p := halt.Policy{Name: "api", Algorithm: a, Limit: 1000, Window: time.Hour}
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for range keys * rounds / 16 {
					if _, err := storetest.TakeOne(context.Background(), s, p.Charge(strconv.Itoa(rand.IntN(keys)), 1)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
	}
	var all, hot int64
	pool.Reset() // a session that ends tells its statistics, one that is idle only after ten seconds
	eventually(t, "the statistics are there", func() bool {
		if err := pool.QueryRow(context.Background(), "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relid = $1::regclass", table).Scan(&all, &hot); err != nil {
			t.Fatal(err)
		}
		return all >= keys*rounds
	})
	size := one[int64](t, pool, "SELECT pg_total_relation_size($1::regclass)", table)
	t.Logf("%d of %d updates are HOT; %d rows take %d bytes with their index", hot, all, 2*keys, size)
	if hot*100 < all*90 {
		t.Errorf("%d of %d updates are HOT, less than 90 %%", hot, all)
	}
}

// If the clocks are whole periods apart, the client asks once more with the edges of PostgreSQL's time.
func TestPeriodEdges(t *testing.T) {
	s, pool := newStore(t, &patient)
	p := halt.Policy{Name: "daily", Algorithm: halt.FixedWindow, Limit: 3, Period: halt.Period{Unit: halt.Day}}
	clock := storetest.NewClock(start)
	s.now = clock.Now
	for _, days := range []time.Duration{0, 1, 400, -3} {
		flush(t, pool, s.schemaOf(t))
		clock.Advance(days * 24 * time.Hour)
		d := take(t, s, p.Charge("k", 1))
		if at := clock.Now(); !d.Allowed || d.Remaining != 2 || d.At > at || at-d.At > 1_000_000 {
			t.Errorf("%d days on: %+v", days, d)
		}
	}
}

// A call of very many charges is one step; of too many it is an error.
func TestManyCharges(t *testing.T) {
	s, _ := newStore(t, &patient)
	p := lasting(1)
	for _, n := range []int{mostCalls, mostCalls + 1} {
		cs := make([]halt.Charge, n)
		for i := range cs {
			cs[i] = p.Charge(strconv.Itoa(i), 1)
		}
		ds := make(halt.Decisions, n)
		err := s.Take(context.Background(), cs, ds)
		if n > mostCalls && halt.ErrorKind(err) != "invalid_charge" || n <= mostCalls && (err != nil || !ds.Allowed()) {
			t.Errorf("%d charges: %v", n, err)
		}
	}
	if err := s.Take(context.Background(), nil, nil); err != nil {
		t.Errorf("no charges: %v", err)
	}
}

// 32 goroutines take from shuffled pairs of keys, each of three stores: no deadlock, and nothing is spent that was refused.
func TestPairs(t *testing.T) {
	s, pool := newStore(t, &patient)
	stores := []*Store{s, open(t, pool, patientIn(s.schemaOf(t))), open(t, connect(t, dsn), patientIn(s.schemaOf(t)))}
	before := deadlocks(t, pool)
	p := halt.Policy{Name: "shared", Algorithm: halt.SlidingWindow, Limit: 200, Window: 1000 * 24 * time.Hour}
	var mu sync.Mutex
	admitted := int64(0)
	var wg sync.WaitGroup
	for g := range 32 {
		wg.Go(func() {
			for range 50 {
				ok, err := takePair(stores[g%len(stores)], p)
				if err != nil {
					t.Error(err)
				}
				if ok {
					mu.Lock()
					admitted++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	spent := int64(0)
	for i := range pairKeys {
		d := take(t, s, p.Charge(fmt.Sprint(i), 0))
		spent += 200 - d.Remaining
	}
	if spent != 2*admitted {
		t.Errorf("%d calls of two were admitted, and %d spent", admitted, spent)
	}
	if n := deadlocks(t, pool) - before; n != 0 {
		t.Errorf("there were %d deadlocks", n)
	}
}
