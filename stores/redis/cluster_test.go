package haltredis

import (
	"context"
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
	"github.com/halt-dev/halt/core/storetest/testserver"
)

// newCluster starts a cluster of three masters and returns it with a client.
func newCluster(tb testing.TB) (*testserver.Cluster, *redis.ClusterClient) {
	tb.Helper()
	c := testserver.RedisCluster(tb, 3)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs()})
	tb.Cleanup(func() { _ = client.Close() })
	return c, client
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
