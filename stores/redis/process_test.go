package haltredis

import (
	"testing"

	"github.com/redis/go-redis/v9"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
)

// Processes with clients of their own share a server.
var processes = storetest.Processes{
	Open: func(addr string) (halt.Store, error) {
		return New(redis.NewClient(&redis.Options{Addr: addr}), &patient)
	},
	New: func(tb testing.TB) (string, halt.Store) {
		s, _, server := newStore(tb, &patient)
		return server.Addr(), s
	},
	Limit: 5000, KilledLimit: 20_000, Kills: 6,
}

func TestProcesses(t *testing.T) { processes.Run(t) }
