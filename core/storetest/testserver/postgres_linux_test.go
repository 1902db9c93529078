package testserver

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"
)

func TestKilledPostgresLeavesNoMemory(t *testing.T) {
	t.Parallel()
	var id string
	t.Run("test", func(t *testing.T) {
		s := Postgres(t)
		var err error
		if id, err = postgresMemory(s); err != nil {
			t.Fatal(err)
		}
		s.Kill()
		if !segmentExists(t, id) {
			t.Fatalf("there is no segment %q", id)
		}
	})
	if segmentExists(t, id) {
		t.Errorf("segment %q is still there", id)
	}
}

// Nor does a killed initdb, which runs servers of its own.
func TestKilledInitdbLeavesNoMemory(t *testing.T) {
	t.Parallel()
	var id string
	var s *Server
	tb := runFake(t, func(tb testing.TB) {
		c := postgres(nil)
		prepare := c.Prepare
		c.Prepare = func(ctx context.Context, server *Server) error {
			s = server
			ctx, cancel := context.WithCancel(ctx)
			seen := make(chan struct{})
			go func() {
				defer close(seen)
				for id == "" && sleep(ctx, time.Millisecond) == nil {
					id, _ = postgresMemory(s) // or the next time
				}
				cancel()
			}()
			err := prepare(ctx, s)
			cancel()
			<-seen
			return err
		}
		Start(tb, c)
	})
	tb.wantFailure(t, "preparing postgres", "initdb")
	if id == "" {
		t.Fatal("initdb had no memory")
	}
	if segmentExists(t, id) {
		t.Errorf("segment %q is still there", id)
	}
	if _, err := os.Stat(s.Dir()); !os.IsNotExist(err) {
		t.Errorf("the folder is still there (%v)", err)
	}
}

func segmentExists(t *testing.T, id string) bool {
	t.Helper()
	table, err := os.ReadFile("/proc/sysvipc/shm")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(table), " "+id+" ")
}
