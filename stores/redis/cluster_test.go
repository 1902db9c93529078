package haltredis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/combine"
	"github.com/halt-dev/halt/core/storetest"
	"github.com/halt-dev/halt/core/storetest/testserver"
)

// newCluster starts a cluster of three masters and returns it with a client.
func newCluster(tb testing.TB) (*testserver.Cluster, *redis.ClusterClient) {
	tb.Helper()
	c := testserver.RedisCluster(tb, 3)
	return c, connectCluster(tb, c, new(redis.ClusterOptions))
}

// connectCluster returns a client of a cluster, closed with the test.
func connectCluster(tb testing.TB, c *testserver.Cluster, o *redis.ClusterOptions) *redis.ClusterClient {
	tb.Helper()
	o.Addrs = c.Addrs()
	client := redis.NewClusterClient(o)
	tb.Cleanup(func() { _ = client.Close() })
	return client
}

// The suite on a cluster, twice: with a slot for each caller's key, and with all keys in one.
func TestCluster(t *testing.T) {
	_, client := newCluster(t)
	t.Run("Slots", func(t *testing.T) {
		h := harness(client)
		h.Atomic = false
		storetest.Run(t, h)
	})
	t.Run("SlotTag", func(t *testing.T) {
		h := harness(client)
		h.New = func(tb testing.TB) halt.Store {
			flush(tb, client)
			o := patient
			o.SlotTag = "api"
			return open(tb, client, &o)
		}
		storetest.Run(t, h)
	})
}

// Redis itself says which slot a key is in.
func TestSlots(t *testing.T) {
	_, client := newCluster(t)
	for _, tag := range []string{"", "tag", "a"} {
		s := open(t, client, &Options{SlotTag: tag})
		for _, key := range []string{"user:42", "}", "{}", "{", "}}", "a}b", "{a}b", "\x00", "", "/", "é", fmt.Sprintf("%65536d", 1)} {
			c := halt.Policy{Name: "api", Limit: 1, Window: 1e9}.Charge(key, 1)
			want, err := client.ClusterKeySlot(context.Background(), s.storageKey(&c)).Result()
			if err != nil {
				t.Fatal(err)
			}
			if got := s.slotOf(key); int64(got) != want {
				t.Errorf("the slot of %.20q with tag %q is %d, Redis says %d", key, tag, got, want)
			}
		}
	}
}

// far makes connections on which what is written goes out late.
type far struct{ by atomic.Int64 } // in ns

func (f *far) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, network, addr)
	return &farConn{Conn: c, from: f}, err
}

type farConn struct {
	net.Conn
	from *far
}

func (c *farConn) Write(b []byte) (int, error) {
	if by := c.from.by.Load(); by > 0 {
		<-time.After(time.Duration(by))
	}
	return c.Conn.Write(b)
}

// However many slots a call has, it ends by its timeout, or when its context does. What it took until then is given back.
func TestAcrossTimeout(t *testing.T) {
	const limit = time.Second
	c := testserver.RedisCluster(t, 3)
	f := new(far)
	client := connectCluster(t, c, &redis.ClusterOptions{Dialer: f.dial})
	near := open(t, connectCluster(t, c, new(redis.ClusterOptions)), &patient)
	p := lasting(100)
	for _, test := range []struct {
		name           string
		store, context time.Duration
	}{
		{"Timeout", limit, time.Minute},
		{"Context", time.Minute, limit},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := open(t, client, &Options{Timeout: test.store})
			var cs []halt.Charge
			for i := range 12 {
				cs = append(cs, p.Charge(fmt.Sprint(test.name, i), 1)) // in as many slots
			}
			ds := make(halt.Decisions, len(cs))
			eventually(t, "a call is decided", func() bool { return s.Take(context.Background(), cs, ds) == nil }) // it connects
			for _, c := range cs {
				if err := s.Reset(context.Background(), c.Policy, c.Key); err != nil {
					t.Fatal(err)
				}
			}
			ctx, cancel := context.WithTimeout(context.Background(), test.context)
			defer cancel()
			f.by.Store(int64(limit / 5)) // time to look, and for some takes
			defer f.by.Store(0)
			begin := time.Now()
			err := s.Take(ctx, cs, ds)
			if took := time.Since(begin); took > limit+limit/2 {
				t.Errorf("it took %v, with a limit of %v", took, limit)
			}
			if !errors.Is(err, halt.ErrDeadline) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("its error: %v", err)
			}
			// Nobody knows what became of the one take that was on its way.
			eventually(t, "at most one take is left", func() bool {
				spent := int64(0)
				for _, c := range cs {
					spent += p.Limit - take(t, near, p.Charge(c.Key, 0)).Remaining
				}
				return spent <= 1
			})
		})
	}
}

// Slots that fail for the same reason make one error.
func TestAcrossError(t *testing.T) {
	_, client := newCluster(t)
	s := open(t, client, &patient)
	ctx := context.Background()
	var cs []halt.Charge
	for _, key := range []string{"a", "b", "c", "d"} {
		c := lasting(100).Charge(key, 1)
		if err := client.Set(ctx, s.storageKey(&c), "foreign", 0).Err(); err != nil {
			t.Fatal(err)
		}
		cs = append(cs, c)
	}
	if err := s.Take(ctx, cs, make(halt.Decisions, len(cs))); !errors.Is(err, halt.ErrCorrupt) || strings.Contains(err.Error(), "\n") {
		t.Errorf("four slots with foreign values: %v", err)
	}
}

// What panics in the goroutines of a call is the caller's to recover.
func TestWithinPanics(t *testing.T) {
	defer func() {
		if got := recover(); got != "a client's bug" {
			t.Errorf("recovered %v", got)
		}
	}()
	err := combine.Within(t.Context(), time.Minute, func(context.Context) error {
		return each([]*group{{}, {}}, func(*group) error { panic("a client's bug") })
	})
	t.Errorf("it returned %v", err)
}
