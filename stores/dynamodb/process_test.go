package haltdynamo

import (
	"fmt"
	"testing"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
)

// Processes with clients of their own share a table.
var processes = storetest.Processes{
	Open: func(job string) (halt.Store, error) {
		var endpoint, table, prefix string
		if _, err := fmt.Sscan(job, &endpoint, &table, &prefix); err != nil {
			return nil, err
		}
		return New(connect(endpoint), table, &Options{Prefix: prefix, Timeout: patient.Timeout})
	},
	New: func(tb testing.TB) (string, halt.Store) {
		tb.Helper()
		o := fresh(patient)
		return fmt.Sprint(Endpoint, " ", Table, " ", o.Prefix), newStore(tb, connect(Endpoint), o)
	},
	Limit: 600, KilledLimit: 1000, Kills: 4, KilledAlgorithms: []halt.Algorithm{halt.TokenBucket, halt.SlidingWindow},
}

func TestProcesses(t *testing.T) { processes.Run(t) }
