package haltmongo

import (
	"fmt"
	"testing"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
)

// Processes with clients of their own share a collection.
var processes = storetest.Processes{
	Open: func(job string) (halt.Store, error) {
		var uri, db, collection string
		if _, err := fmt.Sscan(job, &uri, &db, &collection); err != nil {
			return nil, err
		}
		client, err := mongo.Connect(options.Client().ApplyURI(uri))
		if err != nil {
			return nil, err
		}
		return New(client.Database(db).Collection(collection), &patient)
	},
	New: func(tb testing.TB) (string, halt.Store) {
		tb.Helper()
		s := newStore(tb, &patient)
		return fmt.Sprint(ExampleURI, " ", database, " ", s.collection.Name()), s
	},
	Limit: 1000, KilledLimit: 2000, Kills: 3, KilledAlgorithms: []halt.Algorithm{halt.TokenBucket, halt.InFlight},
}

func TestProcesses(t *testing.T) {
	t.Parallel()
	processes.Run(t)
}
