package haltpostgres

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/algorithm"
	"github.com/halt-dev/halt/core/storetest"
)

// The function against the arithmetic that it repeats: batches of random calls, with limits, costs and clocks up to the largest
// there are, on rows that earlier batches left or that were made up, among them ones that are no state. All decisions and all
// rows have to be those that package algorithm comes to.
func TestDifferential(t *testing.T) {
	batches := 250
	if testing.Short() {
		batches = 60
	}
	s, pool := newStore(t, &patient)
	d := newDifferential(t, s, pool)
	calls := 0
	for i := range batches {
		if i%10 == 0 {
			d.invent()
		}
		if i%4 == 0 {
			d.plant()
		}
		d.move()
		calls += d.batch(1 + d.rng.IntN(150))
	}
	t.Logf("%d calls, of which %d met a corrupt row (HALT_SEED=%d)", calls, d.corrupt, d.seed)
}

// differential makes random batches, and knows what has to come of them.
type differential struct {
	t        *testing.T
	s        *Store
	pool     *pgxpool.Pool // with which rows are planted and read
	seed     uint64
	rng      *rand.Rand
	clock    *storetest.Clock
	policies []halt.Policy
	rows     map[string]row // by storage key
	taken    []halt.Charge  // credits for what was taken
	names    int
	now      halt.Instant
	corrupt  int
}

// row is what the table has to hold of a budget.
type row struct {
	policy halt.Policy
	key    []byte
	state  algorithm.State
	bad    bool // it is no state
}

func newDifferential(t *testing.T, s *Store, pool *pgxpool.Pool) *differential {
	t.Helper()
	seed, _ := strconv.ParseUint(os.Getenv("HALT_SEED"), 10, 64)
	d := &differential{
		t: t, s: s, pool: pool, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)),
		clock: storetest.NewClock(start), rows: map[string]row{},
	}
	s.now = d.clock.Now
	d.invent()
	return d
}

func pick[T any](rng *rand.Rand, from ...T) T { return from[rng.IntN(len(from))] }

// invent makes policies: of each shape two, which share their budgets.
func (d *differential) invent() {
	d.policies, d.taken = d.policies[:0], d.taken[:0]
	clear(d.rows)
	flush(d.t, d.pool, d.s.schemaOf(d.t))
	for len(d.policies) < 20 {
		d.names++
		p := halt.Policy{
			Name: fmt.Sprint("p", d.names), Algorithm: halt.Algorithm(d.rng.IntN(5)),
			Window: pick(d.rng, time.Millisecond, 977*time.Millisecond, time.Second, time.Minute, time.Hour, 24*time.Hour, 24*time.Hour+time.Second,
				3650*24*time.Hour, time.Duration(1+d.rng.Int64N(60_000_000))*time.Microsecond),
		}
		if p.Algorithm >= halt.SlidingWindow {
			p.Precision = pick(d.rng, 0, 1, 3, 10, 59, 60)
		}
		if p.Algorithm == halt.FixedWindow && d.rng.IntN(3) == 0 {
			p.Window = 0
			p.Period = halt.Period{Unit: halt.Unit(1 + d.rng.IntN(5)), Zone: pick(d.rng, "", "America/Sao_Paulo", "Australia/Lord_Howe")}
		}
		for range 2 {
			q := p
			q.Limit = pick(d.rng, 1, 2, 7, 100, 255, 256, 65535, 65536, 1<<32-1, 1<<32, 1<<40, 1<<52-1, 1+d.rng.Int64N(1<<52-1))
			if p.Algorithm <= halt.LeakyBucket {
				q.Burst = pick(d.rng, 0, 1, 5, q.Limit/2+1, 1<<20, 1+d.rng.Int64N(1<<50))
			}
			q.Block = pick(d.rng, 0, 0, p.Tick(), time.Hour, 3650*24*time.Hour)
			if q.Validate() == nil {
				d.policies = append(d.policies, q)
			}
		}
	}
}

// move moves the clock, often not at all, sometimes back.
func (d *differential) move() {
	d.now = d.clock.Advance(pick(d.rng, 0, 0, time.Microsecond, time.Duration(d.rng.Int64N(int64(time.Second))), time.Duration(d.rng.Int64N(int64(time.Hour))),
		-time.Duration(d.rng.Int64N(int64(12*time.Second))), 10*time.Second, -10*time.Second, -10*time.Second-time.Microsecond,
		pick(d.rng, 24*time.Hour, 400*24*time.Hour)).Truncate(time.Microsecond))
	if d.now < 0 || d.now > 1<<52 {
		d.clock.Set(halt.InstantOf(start))
		d.now = d.clock.Now()
	}
}

// plant makes up a row for each policy and key: near the present or far from it, up to the largest numbers; some of them
// corrupt.
func (d *differential) plant() {
	rng := d.rng
	batch := new(pgx.Batch)
	for _, p := range d.policies {
		for _, key := range []string{"k", "l"} {
			i := newPolicy(&p)
			c := p.Charge(key, 0)
			r := row{policy: p, key: rowKey(&c)}
			t := int64(d.now) / i.numbers.Tick
			st := &r.state
			st.At = max(0, pick(rng, t, t, t-1, t+1, t-rng.Int64N(2*i.numbers.Ticks(time.Hour)), t+10_000_000/i.numbers.Tick, t+10_000_000/i.numbers.Tick+1, 0, 1<<53-1, rng.Int64N(1<<53)))
			st.Used = pick(rng, 0, 1, i.Capacity(), i.Capacity()*max(1, i.numbers.Ticks(p.Window)/max(1, i.Limit)), 1<<52, rng.Int64N(1<<52), rng.Int64N(1<<20))
			if st.Used > 1<<52 || st.Used < 0 {
				st.Used = 1 << 52
			}
			decade := i.numbers.Ticks(algorithm.Decade)
			st.Until = pick(rng, 0, 0, 0, st.At, t, t+1, st.At+1, st.At+rng.Int64N(decade), st.At+decade)
			if st.Until = min(st.Until, 1<<53-1); st.Until > st.At+decade {
				st.Until = st.At + decade
			}
			switch {
			case i.numbers.Kind == algorithm.KindFixed:
				st.Window = pick(rng, st.At-st.At%i.numbers.Ticks(p.Window), 0)
			case i.numbers.Kind == algorithm.KindPeriod:
				st.Window = max(0, min(st.At, int64(p.Period.Edges(halt.Instant(min(st.At, 1<<32) * i.numbers.Tick))[1])/i.numbers.Tick))
			case i.numbers.Kind == algorithm.KindSliding:
				st.Used, st.Window = 0, st.At/i.numbers.Sub
				left := int64(1) << 52
				for range i.numbers.Counts {
					n := min(left, pick(rng, 0, 0, 1, p.Limit/i.numbers.Counts, rng.Int64N(1<<20), rng.Int64N(1<<49)))
					st.Counts = append(st.Counts, n)
					left -= n
				}
			}
			since, used, till, counts := st.At, st.Used, st.Until, any(nil)
			if st.Counts != nil {
				counts = st.Counts
			}
			if r.bad = rng.IntN(8) == 0; r.bad {
				switch rng.IntN(4) {
				case 0:
					since = pick(rng, int64(-1), 1<<53, 1<<63-1, -1<<63)
				case 1:
					used = pick(rng, int64(-1), 1<<52+1, 1<<63-1, -1<<63)
				case 2:
					till = pick(rng, int64(-1), since+decade+1, 1<<63-1, -1<<63)
				case 3:
					counts = pick(rng, []int64{1}, []int64{}, make([]int64, 62))
				}
			}
			batch.Queue("INSERT INTO "+d.table()+" VALUES ($1, $2, $3, $4, $5, 0, $6) ON CONFLICT (key) DO UPDATE SET "+
				"since = excluded.since, used = excluded.used, win = excluded.win, till = excluded.till, counts = excluded.counts",
				r.key, since, used, windowOf(&i, st), till, counts)
			d.rows[halt.StorageKey("", c)] = r
		}
	}
	if err := d.pool.SendBatch(context.Background(), batch).Close(); err != nil {
		d.t.Fatal(err)
	}
}

// windowOf is what a row has of a state's Window: that of a sliding one follows from its time.
func windowOf(p *policy, s *algorithm.State) int64 {
	if p.numbers.Kind == algorithm.KindSliding {
		return 0
	}
	return s.Window
}

// table is the name of the table.
func (d *differential) table() string { return d.s.schemaOf(d.t) + ".budgets" }

// cost returns a cost, which may be beyond all bounds.
func (d *differential) cost(p *halt.Policy) int64 {
	c := p.Capacity()
	return pick(d.rng, 0, 1, 1, 2, c, c-1, c/2, c/3+1, c+1, 1+d.rng.Int64N(c), 1<<52, 1<<53-1, 1<<53+1, 1<<63-1)
}

func (d *differential) charge() halt.Charge {
	p := pick(d.rng, d.policies...)
	c := p.Charge(pick(d.rng, "k", "l"), d.cost(&p))
	switch n := d.rng.IntN(12); {
	case n < 6:
	case n < 8:
		c.Mode = halt.Peek
	case n < 9:
		c.Mode = halt.Shadow
	case n < 10:
		c.Mode, c.Shadow = halt.Debit, d.rng.IntN(4) == 0
	case n < 11: // of a take that never was
		w := max(halt.Instant(p.Window.Microseconds()), 1)
		c.Mode, c.Taken = halt.Credit, max(c.Cost, d.cost(&p))
		c.At = max(0, pick(d.rng, d.now, d.now-d.now%w, d.now-d.now%w+w, d.now-d.now%w-1, d.now-halt.Instant(d.rng.Int64N(int64(2*w))), 0, 1<<53, 1<<63-1))
	case len(d.taken) > 0:
		c = pick(d.rng, d.taken...)
		c.Cost = pick(d.rng, c.Taken, c.Taken/2, c.Taken-c.Taken/3)
	}
	return c
}

// batch makes a batch of calls and compares all decisions, and then all rows. It returns how many calls there were.
func (d *differential) batch(n int) int {
	f := d.s.newFlight()
	for range n {
		e := new(entry)
		charges := 1
		if d.rng.IntN(4) == 0 {
			charges += d.rng.IntN(6)
		}
		seen := map[string]bool{}
		for range charges {
			c := d.charge()
			if key := halt.StorageKey("", c); !seen[key] {
				seen[key] = true
				e.charges = append(e.charges, c)
			}
		}
		for range pick(d.rng, 1, 1, 1, 4) { // the same again, in a row
			f.entries = append(f.entries, &entry{charges: e.charges, decisions: make([]halt.Decision, len(e.charges))})
		}
	}
	entries := append([]*entry(nil), f.entries...)
	d.s.clock.Learn(d.now) // or calls on periods would be sent twice, and come last
	f.run(context.Background())
	for i, e := range entries {
		d.compare(i, e)
	}
	d.compareRows()
	return len(entries)
}

// compare decides the call here and compares.
func (d *differential) compare(i int, e *entry) {
	n := len(e.charges)
	states, changed, want := make([]algorithm.State, n), make([]bool, n), make([]halt.Decision, n)
	bad := false
	for i, c := range e.charges {
		r := d.rows[halt.StorageKey("", c)]
		states[i] = r.state
		states[i].Counts = append([]int64(nil), r.state.Counts...)
		if len(states[i].Counts) == 0 {
			states[i].Counts = nil
		}
		bad = bad || r.bad
	}
	if bad || e.err != nil {
		d.corrupt++
		if halt.ErrorKind(e.err) != "corrupt" || !bad {
			d.t.Fatalf("call %d, %+v: %v, on a corrupt row: %t", i, e.charges, e.err, bad)
		}
		return
	}
	algorithm.DecideAll(e.charges, states, d.now, want, changed)
	for i, c := range e.charges {
		if e.decisions[i] != want[i] {
			d.t.Fatalf("%+v at %d: %+v, want %+v", c, d.now, e.decisions[i], want[i])
		}
		if changed[i] {
			d.rows[halt.StorageKey("", c)] = row{policy: c.Policy, key: rowKey(&c), state: states[i]}
		}
		if c.Mode == halt.Take && c.Cost > 0 && halt.Decisions(want).Allowed() && len(d.taken) < 50 {
			c.Mode, c.At, c.Taken = halt.Credit, want[i].At, c.Cost
			d.taken = append(d.taken, c)
		}
	}
}

// compareRows compares what the table holds.
func (d *differential) compareRows() {
	rows, err := d.pool.Query(context.Background(), "SELECT key, since, used, win, till, counts FROM "+d.table())
	if err != nil {
		d.t.Fatal(err)
	}
	type stored struct {
		Key                    []byte
		Since, Used, Win, Till int64
		Counts                 []int64
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[stored])
	if err != nil {
		d.t.Fatal(err)
	}
	got := map[string]stored{}
	for _, r := range all {
		got[string(r.Key)] = r
	}
	for name, r := range d.rows {
		if r.bad {
			continue
		}
		i := newPolicy(&r.policy)
		g, ok := got[string(r.key)]
		w := stored{Key: r.key, Since: r.state.At, Used: r.state.Used, Win: windowOf(&i, &r.state), Till: r.state.Until, Counts: r.state.Counts}
		if fmt.Sprint(g) != fmt.Sprint(w) {
			d.t.Fatalf("the row of %q under %+v: %v (there: %t), want %v", name, r.policy, g, ok, w)
		}
	}
	if len(got) != len(d.rows) {
		d.t.Fatalf("there are %d rows, want %d", len(got), len(d.rows))
	}
}
