package haltredis

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
	"github.com/halt-dev/halt/core/storetest/testserver"
)

// start is when the clock of tests begins that make their own time.
var start = time.Date(2026, time.March, 14, 15, 9, 26, 535897*1000, time.UTC)

// patient are options for tests on a machine that is busy with other tests, too.
var patient = Options{Timeout: 30 * time.Second}

// The suite, in Redis's own time.
func TestSingle(t *testing.T) {
	server := testserver.Redis(t)
	client := connect(t, server.Addr())
	storetest.Run(t, harness(client))
}

// The suite once more, with a clock that the tests set.
func TestSingleClock(t *testing.T) {
	server := testserver.Redis(t)
	client := connect(t, server.Addr())
	h := harness(client)
	var clock *storetest.Clock
	h.TTL = nil // entries live in Redis's own time
	h.New = func(tb testing.TB) halt.Store {
		flush(tb, client)
		s := open(tb, client, &patient)
		clock = storetest.NewClock(start)
		s.now = clock.Now
		return s
	}
	h.Advance = func(_ testing.TB, _ halt.Store, d time.Duration) { clock.Advance(d) }
	storetest.Run(t, h)
}

// harness describes stores on one server, or on a cluster with all keys in one slot.
func harness(client redis.UniversalClient) storetest.Harness {
	return storetest.Harness{
		New: func(tb testing.TB) halt.Store {
			flush(tb, client)
			return open(tb, client, &patient)
		},
		Atomic:  true,
		Corrupt: damages(client),
		TTL: func(tb testing.TB, s halt.Store, c halt.Charge) (time.Duration, bool) {
			d, err := client.PTTL(context.Background(), s.(*Store).storageKey(&c)).Result()
			if err != nil {
				tb.Fatal(err)
			}
			if d == -1 {
				d = halt.Never
			}
			return d, d > 0
		},
	}
}

func flush(tb testing.TB, client redis.UniversalClient) {
	tb.Helper()
	ctx := context.Background()
	var err error
	if cluster, ok := client.(*redis.ClusterClient); ok {
		err = cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return c.FlushAll(ctx).Err() })
	} else {
		err = client.FlushAll(ctx).Err()
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// damages are ways to spoil what a key holds.
func damages(client redis.UniversalClient) map[string]func(testing.TB, halt.Store, halt.Charge) {
	ctx := context.Background()
	change := func(f func(key, value string) error) func(testing.TB, halt.Store, halt.Charge) {
		return func(tb testing.TB, s halt.Store, c halt.Charge) {
			key := s.(*Store).storageKey(&c)
			value, err := client.Get(ctx, key).Result()
			if err == nil {
				err = f(key, value)
			}
			if err != nil {
				tb.Fatalf("damaging %q: %v", key, err)
			}
		}
	}
	set := func(f func(value string) string) func(testing.TB, halt.Store, halt.Charge) {
		return change(func(key, value string) error { return client.Set(ctx, key, f(value), time.Hour).Err() })
	}
	other := func(f func(p redis.Pipeliner, key string)) func(testing.TB, halt.Store, halt.Charge) {
		return change(func(key, _ string) error {
			_, err := client.TxPipelined(ctx, func(p redis.Pipeliner) error {
				p.Del(ctx, key)
				f(p, key)
				return nil
			})
			return err
		})
	}
	number := func(at int, bytes string) func(testing.TB, halt.Store, halt.Charge) {
		return set(func(v string) string { return v[:at] + bytes + v[at+8:] })
	}
	return map[string]func(testing.TB, halt.Store, halt.Charge){
		"empty":        set(func(string) string { return "" }),
		"text":         set(func(string) string { return "hello, world: this is somebody else's" }),
		"number":       set(func(string) string { return "42" }),
		"cut off":      set(func(v string) string { return v[:len(v)-1] }),
		"too long":     set(func(v string) string { return v + "\x00" }),
		"other tag":    set(func(v string) string { return "x" + v[1:] }),
		"other shape":  set(func(v string) string { return string(v[0]^4) + v[1:] }),
		"no time":      number(1, "\x00\x00\x00\x00\x00\x00\xf8\x7f"),      // NaN
		"endless time": number(1, "\x00\x00\x00\x00\x00\x00\xf0\x7f"),      // infinity
		"past time":    number(1, "\x00\x00\x00\x00\x00\x00\xf0\xbf"),      // -1
		"odd time":     number(1, "\x00\x00\x00\x00\x00\x00\xf8\x3f"),      // 1.5
		"late time":    number(1, "\x00\x00\x00\x00\x00\x00\x50\x43"),      // 2^54
		"long block":   set(func(v string) string { return longBlock(v) }), // of more than ten years
		"list":         other(func(p redis.Pipeliner, key string) { p.RPush(ctx, key, "a", "b") }),
		"hash":         other(func(p redis.Pipeliner, key string) { p.HSet(ctx, key, "a", "b") }),
		"sorted set":   other(func(p redis.Pipeliner, key string) { p.ZAdd(ctx, key, redis.Z{Score: 1, Member: "a"}) }),
	}
}

// longBlock returns an unblocked value with a block that no policy can have.
func longBlock(v string) string {
	return string(v[0]-'a'+'A') + v[1:9] + "\x00\x00\x00\x00\x00\x00\x40\x43" + v[9:]
}
