package haltmemcached

import (
	"crypto/rand"
	"fmt"
	"testing"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
)

// Processes with connections of their own share a server.
var processes = storetest.Processes{
	Open: func(job string) (halt.Store, error) {
		var addr, prefix string
		if _, err := fmt.Sscan(job, &addr, &prefix); err != nil {
			return nil, err
		}
		return New([]string{addr}, &Options{Prefix: prefix, Timeout: patient.Timeout})
	},
	New: func(tb testing.TB) (string, halt.Store) {
		tb.Helper()
		addr, prefix := servers(tb, 1)[0], rand.Text()+":"
		return fmt.Sprint(addr, " ", prefix), open(tb, &Options{Prefix: prefix, Timeout: patient.Timeout}, addr)
	},
	Limit: 2000, KilledLimit: 6000, Kills: 4,
}

func TestProcesses(t *testing.T) { processes.Run(t) }
