//go:build !race

package haltmemcached

import (
	"context"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// A decision of a caller who is alone allocates at most 6 times: the storage key, the value, and what reading takes.
func TestAllocations(t *testing.T) {
	s, _ := newStore(t, &patient)
	l := halt.New(s, nil)
	p := halt.Policy{Name: "api", Limit: 1_000_000, Window: time.Hour}
	n := testing.AllocsPerRun(500, func() {
		if _, err := l.Allow(context.Background(), p, "user:42"); err != nil {
			t.Fatal(err)
		}
	})
	if n > 6 {
		t.Errorf("a decision allocates %v times", n)
	}
}
