//go:build unix

package testserver

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestRedisArguments(t *testing.T) {
	t.Parallel()
	s := Redis(t, "--appendonly", "yes", "--appendfsync", "always")
	wantAnswer(t, s, "SET k 12", "+OK")
	s.Kill()
	s.Restart()
	wantAnswer(t, s, "INCR k", ":13")

	s = Redis(t, "--requirepass", "secret")
	if got, err := ask(s, "PING"); err != nil || !strings.HasPrefix(got, "-NOAUTH") {
		t.Errorf("without the password: %q, %v", got, err)
	}
}

func TestMemcached(t *testing.T) {
	t.Parallel()
	s := Memcached(t, "-m", "8")
	wantAnswer(t, s, "set k 0 0 1\r\nv", "STORED")
	wantAnswer(t, s, "get k", "VALUE k 0 1")
	s.Pause()
	s.Resume()
	wantAnswer(t, s, "get k", "VALUE k 0 1")
	for _, end := range []func(){s.Kill, s.Stop} {
		pid := s.Pid()
		end()
		wantDown(t, s, pid)
		s.Restart()
		wantAnswer(t, s, "get k", "END")
		wantAnswer(t, s, "set k 0 0 1\r\nv", "STORED")
	}
}

func TestPostgres(t *testing.T) {
	t.Parallel()
	s := Postgres(t, "-c", "max_connections=37")
	wantRow := func(sql, want string) {
		t.Helper()
		if got, err := query(t.Context(), s, sql); err != nil || got != want {
			t.Fatalf("%s: %q, %v; want %q", sql, got, err, want)
		}
	}
	wantRow("SHOW max_connections", "37")
	wantRow("SHOW server_encoding", "UTF8")
	wantRow("CREATE TABLE t (n int)", "CREATE TABLE")

	// The committed rows, and no others, outlive every end.
	for i, end := range []struct {
		name string
		do   func()
	}{{"Kill", s.Kill}, {"Stop", s.Stop}, {"Restart", s.Restart}} {
		wantRow(fmt.Sprintf("INSERT INTO t VALUES (%d)", i), "INSERT 0 1")
		// A client stays in the middle of a transaction.
		busy := make(chan error, 1)
		go func() {
			_, err := query(t.Context(), s, "BEGIN; INSERT INTO t VALUES (100); SELECT pg_sleep(600)")
			busy <- err
		}()
		eventually(t, "the client is busy", func() bool {
			n, err := query(t.Context(), s, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
			return err == nil && n == "1"
		})
		pid, sessions := s.Pid(), postgresSessions(t, s)
		end.do()
		if err := <-busy; err == nil {
			t.Errorf("%s left a client its transaction", end.name)
		}
		for _, session := range sessions {
			if lives(session) {
				t.Errorf("%s left process %d", end.name, session)
			}
		}
		if end.name != "Restart" {
			wantDown(t, s, pid)
			s.Restart()
		}
		wantRow("SELECT count(*), max(n) FROM t", fmt.Sprintf("%d|%d", i+1, i))
	}

	// A pause holds the sessions too, which have left the group of the server.
	s.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if got, err := query(ctx, s, "SELECT 1"); err == nil {
		t.Errorf("a paused server answered %q", got)
	}
	if all := s.current.Load().members(); !still(all) {
		t.Errorf("not every process of %+v is paused", all)
	}
	s.Resume()
	wantRow("SELECT 1", "1")
}

// postgresSessions returns the processes of the sessions and of the server's
// own workers.
func postgresSessions(t *testing.T, s *Server) []int {
	t.Helper()
	rows, err := query(t.Context(), s, "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for row := range strings.FieldsSeq(rows) {
		pid, err := strconv.Atoi(row)
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	if len(pids) < 3 {
		t.Fatalf("the server has only the processes %v", pids)
	}
	return pids
}

// query runs SQL by psql and returns its rows, with a bar between columns.
func query(ctx context.Context, s *Server, sql string) (string, error) {
	out, err := s.Run(ctx, "psql", "-h", "127.0.0.1", "-p", strconv.Itoa(s.Port()), "-U", "postgres",
		"-XAt", "-v", "ON_ERROR_STOP=1", "-c", sql)
	return strings.TrimSpace(string(out)), err
}
