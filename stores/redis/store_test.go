package haltredis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
	"github.com/halt-dev/halt/core/storetest/testserver"
)

var _ halt.Store = (*Store)(nil)

func TestNew(t *testing.T) {
	client := redis.NewClient(&redis.Options{})
	t.Cleanup(func() { _ = client.Close() })
	if s := open(t, client, nil); s.Name() != "redis" {
		t.Errorf("the name is %q", s.Name())
	}
	_, err := New(client, &Options{Prefix: "a{b", SlotTag: "c}", Timeout: -1, MaxBatch: 4001, InFlight: -1})
	for _, field := range []string{"Prefix", "SlotTag", "Timeout", "MaxBatch", "InFlight"} {
		if err == nil || !strings.Contains(err.Error(), "Options."+field) {
			t.Errorf("a wrong %s is not in the error: %v", field, err)
		}
	}
	ring := redis.NewRing(&redis.RingOptions{})
	t.Cleanup(func() { _ = ring.Close() })
	if _, err := New(ring, nil); !errors.Is(err, ErrRing) {
		t.Errorf("a Ring: %v", err)
	}
	for _, none := range []redis.UniversalClient{nil, (*redis.Client)(nil), (*redis.ClusterClient)(nil)} {
		if _, err := New(none, nil); err == nil {
			t.Errorf("New took %#v for a client", none)
		}
	}
}

// Two charges have the same key in Redis exactly if they have the same storage key.
func TestKeys(t *testing.T) {
	client := redis.NewClient(&redis.Options{})
	t.Cleanup(func() { _ = client.Close() })
	month := halt.Period{Unit: halt.Month, Zone: "Europe/Berlin", Anchor: 15}
	policies := []halt.Policy{
		{Name: "a", Limit: 1, Window: time.Second},
		{Name: "a", Limit: 2, Window: time.Second, Plan: "free", Burst: 7},
		{Name: "a", Limit: 1, Window: time.Minute},
		{Name: "a", Limit: 1, Window: time.Second, Algorithm: halt.LeakyBucket},
		{Name: "a", Limit: 1, Window: time.Second, Algorithm: halt.SlidingWindow},
		{Name: "a", Limit: 1, Window: time.Second, Algorithm: halt.SlidingWindow, Precision: 10},
		{Name: "a", Limit: 1, Window: time.Second, Algorithm: halt.SlidingWindow, Precision: 9},
		{Name: "a", Limit: 1, Period: month, Algorithm: halt.FixedWindow},
		{Name: "b", Limit: 1, Window: time.Second},
	}
	keys := []string{"k", "}", "{}", "{", "}a:T1s", "k}a:T1s", "k}a", "\x00", "~", "k}~a", "/k", "/", "a:T1s"}
	for _, o := range []Options{{}, {Prefix: "p}:"}, {SlotTag: "tag"}, {SlotTag: "/"}} {
		s := open(t, client, &o)
		byName := map[string]string{}
		for _, p := range policies {
			for _, key := range keys {
				for _, m := range []halt.Mode{halt.Take, halt.Shadow} {
					c := halt.Charge{Policy: p, Key: key, Mode: m}
					name, want := s.storageKey(&c), halt.StorageKey("", c)
					if was, ok := byName[name]; ok && was != want {
						t.Errorf("%q and %q share the key %q", was, want, name)
					}
					byName[name] = want
				}
			}
		}
		different := map[string]bool{}
		for _, want := range byName {
			different[want] = true
		}
		if len(different) != len(byName) {
			t.Errorf("%d budgets have %d keys", len(different), len(byName))
		}
	}
}

// What an entry costs Redis, its own overhead included: docs/operations.md states it.
func TestMemory(t *testing.T) {
	s, client, _ := newStore(t, &patient)
	ctx := context.Background()
	for _, c := range []struct {
		algorithm halt.Algorithm
		precision int
		most      int64
	}{
		{halt.TokenBucket, 0, 130},
		{halt.LeakyBucket, 0, 130},
		{halt.FixedWindow, 0, 130},
		{halt.SlidingWindow, 0, 130},
		{halt.SlidingWindow, 60, 200},
		{halt.InFlight, 0, 130},
	} {
		p := halt.Policy{Name: "api", Algorithm: c.algorithm, Limit: 100, Window: time.Hour, Precision: c.precision}
		charge := p.Charge("user:123456789012345", 1) // 20 bytes
		take(t, s, charge)
		used, err := client.MemoryUsage(ctx, s.storageKey(&charge)).Result()
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s, precision %d: %d bytes", c.algorithm, c.precision, used)
		if used > c.most {
			t.Errorf("an entry of a %s takes %d bytes, more than %d", c.algorithm, used, c.most)
		}
	}
}

// An entry lives for as long as it matters, and not much longer, however often it is written: docs/operations.md says how much.
// Most writes leave its end where it is.
func TestLives(t *testing.T) {
	s, client, _ := newStore(t, &patient)
	clock := storetest.NewClock(start)
	s.now = clock.Now
	ctx := context.Background()
	seed, _ := strconv.ParseUint(os.Getenv("HALT_SEED"), 10, 64)
	rng := rand.New(rand.NewPCG(seed, 1))
	for a := halt.TokenBucket; a <= halt.InFlight; a++ {
		for _, w := range []time.Duration{50 * time.Millisecond, 10 * time.Second, time.Hour, 48 * time.Hour} {
			p := halt.Policy{Name: "api", Algorithm: a, Limit: 1000, Window: w, Burst: 999, Block: pick(rng, 0, w/10)}
			if a != halt.TokenBucket && a != halt.LeakyBucket {
				p.Burst = 0
			}
			last := ""
			// Entries end by the real clock. How far that has got ahead of the test's since an entry's end was set, it ends sooner.
			begun, from := time.Now(), clock.Now()
			ahead := func() time.Duration { return time.Since(begun) - time.Duration(clock.Now()-from)*time.Microsecond }
			leastAhead := time.Duration(0)
			for range 100 {
				leastAhead = min(leastAhead, ahead())
				clock.Advance(time.Duration(rng.Int64N(int64(w) / 200)).Truncate(time.Microsecond))
				c := p.Charge("k", pick[int64](rng, 1, 1, 1, 10, 300))
				c.Mode = pick(rng, halt.Take, halt.Take, halt.Take, halt.Debit, halt.Credit)
				if c.Mode == halt.Credit {
					c.At, c.Taken = clock.Now(), c.Cost
				}
				leastAhead = min(leastAhead, ahead())
				d := take(t, s, c)
				life, err := client.PTTL(ctx, s.storageKey(&c)).Result()
				if err != nil {
					t.Fatal(err)
				}
				life -= time.Hour // which the script adds for a clock of a test
				least := d.ResetAfter - time.Duration(clock.Now()-d.At)*time.Microsecond - (ahead() - leastAhead) - time.Millisecond
				if d.ResetAfter > 0 && life < least {
					t.Fatalf("%s, %+v: after a %s of %d the entry lives for %v, ResetAfter was %v (HALT_SEED=%d)", a, p, c.Mode, c.Cost, life, d.ResetAfter, seed)
				}
				if d.ResetAfter == 0 || a > halt.LeakyBucket {
					continue
				}
				value, err := client.Get(ctx, s.storageKey(&c)).Result()
				if err != nil {
					t.Fatal(err)
				}
				if value == last {
					continue // it was not written
				}
				last = value
				lives, _, _ := number(value[len(value)-8:])
				life = time.Duration(lives)*p.Tick() - time.Duration(d.At)*time.Microsecond
				if most := d.ResetAfter + d.ResetAfter/4 + 2*time.Second + p.Tick(); life > most {
					t.Fatalf("%s, %+v: after a %s of %d the entry is to live for %v, ResetAfter is %v (HALT_SEED=%d)", a, p, c.Mode, c.Cost, life, d.ResetAfter, seed)
				}
			}
		}
	}
}

// The commands that the documentation says a user needs are all, on a single server and on a cluster.
func TestACL(t *testing.T) {
	ctx := context.Background()
	user := func(admin *redis.Client, commands string) {
		t.Helper()
		rules := []any{"acl", "setuser", "halt", "on", ">secret", "resetkeys", "~halt:*", "-@all"}
		for word := range strings.FieldsSeq(commands) {
			rules = append(rules, word)
		}
		if err := admin.Do(ctx, rules...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	// The line of docs/operations.md, and what a cluster needs besides.
	const single, cluster = "+evalsha +eval +time +get +mget +exists +set +del", " +cluster|slots +asking"

	t.Run("Single", func(t *testing.T) {
		server := testserver.Redis(t)
		admin := connect(t, server.Addr())
		user(admin, single)
		client := redis.NewClient(&redis.Options{Addr: server.Addr(), Username: "halt", Password: "secret"})
		t.Cleanup(func() { _ = client.Close() })
		h := harness(client)
		h.New = func(tb testing.TB) halt.Store {
			flush(tb, admin)
			return open(tb, client, &patient)
		}
		h.Corrupt, h.TTL = damages(admin), nil
		storetest.Run(t, h)
		if err := client.Set(ctx, "other", "v", 0).Err(); !redis.IsPermissionError(err) {
			t.Errorf("the user may write other keys: %v", err)
		}
		// A command too few is an error of the store, and nothing is amiss with the key.
		for _, command := range []string{"time", "get", "set"} {
			user(admin, single+" -"+command)
			_, err := storetest.TakeOne(ctx, open(t, client, &patient), lasting(5).Charge("k", 1))
			if !errors.Is(err, halt.ErrStore) || errors.Is(err, halt.ErrCorrupt) {
				t.Errorf("without %s: %v", command, err)
			}
		}
	})
	t.Run("Cluster", func(t *testing.T) {
		c := testserver.RedisCluster(t, 3)
		for _, n := range c.Nodes {
			user(connect(t, n.Addr()), single+cluster)
		}
		admin := connectCluster(t, c, new(redis.ClusterOptions))
		client := connectCluster(t, c, &redis.ClusterOptions{Username: "halt", Password: "secret"})
		h := harness(client)
		h.New = func(tb testing.TB) halt.Store {
			flush(tb, admin)
			return open(tb, client, &patient)
		}
		h.Atomic, h.Corrupt, h.TTL = false, damages(admin), nil
		storetest.Run(t, h)
		stop := load(open(t, client, &patient), lasting(1<<40).Charge("k", 1))
		for i, n := range c.Nodes {
			c.Move(n, c.Nodes[(i+1)%3], 200)
		}
		if n, failed := stop(); n == 0 || failed["store"]*100 > int(n) {
			t.Errorf("%d were admitted, errors: %v", n, failed)
		}
	})
}

// Calls on one key that wait together cost one read and one write.
func TestBatch(t *testing.T) {
	server := testserver.Redis(t)
	l := new(lossy)
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), Dialer: l.dial})
	t.Cleanup(func() { _ = client.Close() })
	s := open(t, client, &Options{Timeout: time.Minute, InFlight: 1})
	p, other := lasting(1000), lasting(1000)
	other.Name = "other"
	take(t, s, p.Charge("k", 1))
	server.Pause()
	waits := make(chan struct{})
	ctx, before := waiting{context.Background(), waits}, l.sent.Load()
	var wg sync.WaitGroup
	for i := range 61 {
		wg.Go(func() {
			c := p.Charge("k", 1)
			if i%3 == 0 {
				c = other.Charge("k", 2)
			}
			if d, err := storetest.TakeOne(ctx, s, c); err != nil || !d.Allowed {
				t.Errorf("%+v, %v", d, err)
			}
		})
		<-waits
		if i == 0 {
			eventually(t, "a batch is on its way", func() bool { return l.sent.Load() > before })
		}
	}
	server.Resume()
	wg.Wait()
	info, err := client.Info(context.Background(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"cmdstat_evalsha:calls=3,", "cmdstat_mget:calls=1,", "cmdstat_set:calls=4,"} { // of 62 calls
		if !strings.Contains(info, want) {
			t.Errorf("no %s in\n%s", want, info)
		}
	}
	for _, c := range []halt.Charge{p.Charge("k", 0), other.Charge("k", 0)} {
		want := map[string]int64{"lasting": 1000 - 1 - 40, "other": 1000 - 2*21}[c.Policy.Name]
		if d := take(t, s, c); d.Remaining != want {
			t.Errorf("%s has %d left, want %d", c.Policy.Name, d.Remaining, want)
		}
	}
}

// What is charged alike on keys that follow each other is written once, and a key on which it comes more often by itself.
func TestRecords(t *testing.T) {
	s, _, _ := newStore(t, &patient)
	record := func(keys ...string) int {
		r := newRequest()
		for _, k := range keys {
			r.add(s, &call{Charges: []halt.Charge{lasting(10).Charge(k, 1)}})
		}
		r.write(s.clock.Now)
		return len(r.payload)
	}
	one := record("a")
	another := record("a", "a", "b") - one // without the policy
	for _, c := range []struct {
		keys    string
		records int
	}{
		{"aaaa", 1}, {"abcd", 1}, {"abab", 2}, {"aabcd", 2}, {"abccd", 3}, {"abcdd", 2}, {"aabbccdd", 4}, {"abcdddef", 3}, {"bacabc", 3},
	} {
		if got, want := record(strings.Split(c.keys, "")...), one+(c.records-1)*another; got != want {
			t.Errorf("%s takes %d bytes, want %d: %d records", c.keys, got, want, c.records)
		}
	}
}

// Without batches, too, all is as the suite wants it.
func TestUnbatched(t *testing.T) {
	server := testserver.Redis(t)
	client := connect(t, server.Addr())
	h := harness(client)
	h.New = func(tb testing.TB) halt.Store {
		flush(tb, client)
		o := patient
		o.MaxBatch = 1
		return open(tb, client, &o)
	}
	storetest.Run(t, h)
}

// A refusal that doesn't block writes nothing, and what is given back whole leaves nothing behind.
func TestWrites(t *testing.T) {
	s, client, _ := newStore(t, &patient)
	ctx := context.Background()
	p := halt.Policy{Name: "api", Limit: 2, Window: 24 * time.Hour}
	d := take(t, s, p.Charge("k", 2))
	sets := func() string {
		info, err := client.Info(ctx, "commandstats").Result()
		if err != nil {
			t.Fatal(err)
		}
		_, after, _ := strings.Cut(info, "cmdstat_set:calls=")
		n, _, _ := strings.Cut(after, ",")
		return n
	}
	before := sets()
	for range 5 {
		take(t, s, p.Charge("k", 1))
		take(t, s, halt.Charge{Policy: p, Key: "k", Cost: 1, Mode: halt.Peek})
		take(t, s, p.Charge("k", 0))
		take(t, s, halt.Charge{Policy: p, Key: "l", Cost: 1, Mode: halt.Peek})
	}
	if after := sets(); after != before {
		t.Errorf("refusals, peeks and costs of 0 made %s writes of %s", after, before)
	}
	take(t, s, halt.Charge{Policy: p, Key: "k", Cost: 2, Mode: halt.Credit, At: d.At, Taken: 2})
	if n, err := client.DBSize(ctx).Result(); n != 0 || err != nil {
		t.Errorf("%d keys are there after all was given back (%v)", n, err)
	}
}

// If the clocks are whole periods apart, the client asks once more with the edges of Redis's time.
func TestPeriodEdges(t *testing.T) {
	s, client, _ := newStore(t, &patient)
	p := halt.Policy{Name: "daily", Algorithm: halt.FixedWindow, Limit: 3, Period: halt.Period{Unit: halt.Day}}
	clock := storetest.NewClock(start)
	s.now = clock.Now
	for _, days := range []time.Duration{0, 1, 400, -3} {
		flush(t, client)
		clock.Advance(days * 24 * time.Hour)
		before := scripts(t, client)
		d := take(t, s, p.Charge("k", 1))
		if at := clock.Now(); !d.Allowed || d.Remaining != 2 || d.At > at || at-d.At > 1_000_000 {
			t.Errorf("%d days on: %+v", days, d)
		}
		if runs := scripts(t, client) - before; runs > 2+1 { // and one that did not know the script
			t.Errorf("%d days on: the script ran %d times", days, runs)
		}
	}
}

// A call of more charges than a script can be given keys is an error, of very many not.
func TestManyCharges(t *testing.T) {
	s, _, _ := newStore(t, &patient)
	p := lasting(1)
	for _, n := range []int{mostCalls, mostCalls + 1} {
		cs := make([]halt.Charge, n)
		for i := range cs {
			cs[i] = p.Charge(strconv.Itoa(i), 1)
		}
		ds := make(halt.Decisions, n)
		err := s.Take(context.Background(), cs, ds)
		if n > mostCalls && !errors.Is(err, halt.ErrInvalidCharge) || n <= mostCalls && (err != nil || !ds.Allowed()) {
			t.Errorf("%d charges: %v", n, err)
		}
	}
	if err := s.Take(context.Background(), nil, nil); err != nil {
		t.Errorf("no charges: %v", err)
	}
}

// Keys of 64 KB, many at once, go in several batches.
func TestLongKeys(t *testing.T) {
	s, _, _ := newStore(t, &patient)
	p := lasting(2)
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			key := fmt.Sprint(i, strings.Repeat("k", 64<<10))
			for n := range int64(3) {
				if d, err := storetest.TakeOne(context.Background(), s, p.Charge(key, 1)); err != nil || d.Allowed != (n < 2) {
					t.Errorf("number %d: %+v, %v", n, d, err)
				}
			}
		})
	}
	wg.Wait()
}
