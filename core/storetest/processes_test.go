package storetest

import (
	"os"
	"strings"
	"testing"

	halt "github.com/halt-dev/halt/core"
)

// apart are processes that have a store each.
var apart = Processes{
	Open:  func(string) (halt.Store, error) { return NewModel(nil), nil },
	New:   func(testing.TB) (string, halt.Store) { return "nowhere", NewModel(nil) },
	Limit: 50, KilledLimit: 100, Kills: 1,
}

func TestMain(m *testing.M) {
	apart.Child()
	os.Exit(m.Run())
}

// Processes that do not share a store are admitted too much.
func TestProcessesRejects(t *testing.T) {
	err := apart.shared(t, halt.TokenBucket)
	if err == nil || !strings.Contains(err.Error(), "4 processes were admitted") {
		t.Errorf("processes with a store each: %v", err)
	}
}
