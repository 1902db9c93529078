//go:build unix

package testserver

import (
	"context"
	"strings"
	"testing"
	"time"
)

func TestMongoDB(t *testing.T) {
	t.Parallel()
	s := MongoDB(t, "--standalone")
	answers := func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), probeTimeout)
		defer cancel()
		return mongodbReady(ctx, s) == nil
	}
	eventually(t, "it answers with its process id", answers)
	s.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := mongodbReady(ctx, s); err == nil {
		t.Error("a paused server answered")
	}
	s.Resume()
	eventually(t, "it answers again", answers)
	for _, end := range []func(){s.Kill, s.Stop} {
		pid := s.Pid()
		end()
		wantDown(t, s, pid)
		s.Restart()
		eventually(t, "it answers after a restart", answers)
	}
}

func TestMongoDBMissing(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	tb := runFake(t, func(tb testing.TB) { MongoDB(tb) })
	tb.wantFailure(t, "SecantusDB is not installed", "scripts/prerequisites.sh")
}

// The answers of both kinds of server tell their process.
func TestMongoDBPid(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]int64{
		"\x10pid\x00\x2a\x00\x00\x00":                       42,
		"..\x12pid\x00\x2a\x01\x00\x00\x00\x00\x00\x00\x00": 298,
		"\x12pid\x00\x2a":                                   -1,
		strings.Repeat("\x02name\x00", 3):                   -1,
	} {
		if got, ok := mongodbPid([]byte(answer)); ok != (want >= 0) || ok && got != want {
			t.Errorf("%q: %d, %t", answer, got, ok)
		}
	}
}
