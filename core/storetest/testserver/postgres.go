package testserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Postgres starts a PostgreSQL server with an empty database. Anybody may log
// in as its superuser:
//
//	"postgres://postgres@" + server.Addr() + "/postgres?sslmode=disable"
//
// What was committed is there again after [Server.Restart], and after
// [Server.Kill] too; only a crash of the whole machine could harm it, since
// nothing is flushed to the disk. The arguments are those of postgres and
// override the defaults:
//
//	testserver.Postgres(t, "-c", "max_connections=300")
//
// It fails as [Start] does. Debian has the programs in the package
// postgresql-15; any version from 10 on does. The server refuses to be root:
// if the tests are, it runs as the user postgres.
func Postgres(tb testing.TB, args ...string) *Server {
	tb.Helper()
	return Start(tb, postgres(args))
}

func postgres(args []string) Command {
	return Command{
		Program: "postgres",
		Package: "postgresql-15",
		Folders: []string{
			"/usr/lib/postgresql/*/bin",          // Debian
			"/usr/pgsql-*/bin",                   // Red Hat
			"/opt/homebrew/opt/postgresql@*/bin", // macOS
			"/usr/local/opt/postgresql@*/bin",
		},
		User: "postgres",
		Prepare: func(ctx context.Context, s *Server) error {
			_, err := s.Run(ctx, "initdb", "-D", postgresData(s), "-U", "postgres",
				"-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
			return err
		},
		Args: func(dir string, port int) []string {
			return append([]string{
				"-D", filepath.Join(dir, "data"),
				"-p", strconv.Itoa(port),
				"-c", "listen_addresses=127.0.0.1",
				"-c", "unix_socket_directories=",
				// The system keeps what the server has written, also when the
				// server is killed.
				"-c", "fsync=off",
				"-c", "full_page_writes=off",
				"-c", "dynamic_shared_memory_type=mmap", // files in dir
			}, args...)
		},
		Ready: postgresReady,
		// The default, SIGTERM, would wait until every client has gone.
		StopSignal: os.Interrupt,
		Cleanup:    postgresCleanup,
		// On an idle machine it takes one second, mostly of initdb.
		Timeout: time.Minute,
	}
}

func postgresData(s *Server) string { return filepath.Join(s.Dir(), "data") }

// The lines of postmaster.pid that matter here; see miscadmin.h.
const (
	pidFilePid    = 0
	pidFileMemory = 6 // "key id" of a segment of shared memory
	pidFileStatus = 7
)

// postgresPidFile returns the lines of the file that the server keeps about
// itself while it runs.
func postgresPidFile(s *Server) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(postgresData(s), "postmaster.pid"))
	if err != nil {
		return nil, err
	}
	return strings.Split(string(text), "\n"), nil
}

// postgresReady reads the server's status from its folder: no need to speak
// the protocol, and no stranger can be taken for it.
func postgresReady(ctx context.Context, s *Server) error {
	lines, err := postgresPidFile(s)
	if err != nil {
		return err
	}
	if err := s.is(lines[pidFilePid]); err != nil {
		return err // left behind by the life before
	}
	if len(lines) <= pidFileStatus {
		return errors.New("postmaster.pid has no status yet")
	}
	if status := strings.TrimSpace(lines[pidFileStatus]); status != "ready" {
		return fmt.Errorf("the status is %q", status)
	}
	return accepts(ctx, s)
}

// postgresCleanup removes the segment of shared memory that a killed server, or
// a killed initdb, leaves behind, with the file that names it.
func postgresCleanup(ctx context.Context, s *Server) error {
	id, err := postgresMemory(s)
	if err != nil || id == "" {
		return err
	}
	_, err = s.Run(ctx, "ipcrm", "-m", id)
	return err
}

// postgresMemory returns the id of the segment of a server that runs or was
// killed, or "" if there is none.
func postgresMemory(s *Server) (string, error) {
	lines, err := postgresPidFile(s)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil || len(lines) <= pidFileMemory {
		return "", err
	}
	memory := strings.Fields(lines[pidFileMemory])
	if len(memory) != 2 {
		return "", nil // not written yet
	}
	return memory[1], nil
}
