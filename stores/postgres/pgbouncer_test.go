package haltpostgres

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/halt-dev/halt/core/storetest/testserver"
)

// pgBouncer starts a PgBouncer in transaction mode before the tests' server, with two connections to it.
func pgBouncer(t *testing.T) (dsn2 string) {
	t.Helper()
	to, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	bouncer := testserver.Start(t, testserver.Command{
		Program: "pgbouncer",
		Folders: []string{"/usr/sbin"},
		User:    "postgres",
		Prepare: func(_ context.Context, s *testserver.Server) error {
			password := ""
			if to.Password != "" {
				password = " password=" + to.Password
			}
			return os.WriteFile(filepath.Join(s.Dir(), "pgbouncer.ini"), []byte(fmt.Sprintf(`[databases]
%s = host=%s port=%d user=%s%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
`, to.Database, to.Host, to.Port, to.User, password, s.Port())), 0o644)
		},
		Args: func(dir string, _ int) []string { return []string{filepath.Join(dir, "pgbouncer.ini")} },
	})
	return fmt.Sprintf("postgres://any@%s/%s?sslmode=disable", bouncer.Addr(), to.Database)
}

// Behind PgBouncer in transaction mode all is the same, its Migrate included. Before version 1.21, as here, it knows no prepared
// statements, so pgx must not use any.
func TestPgBouncer(t *testing.T) {
	through := pgBouncer(t)
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		t.Run(mode.String(), func(t *testing.T) {
			pool := connect(t, through, func(c *pgxpool.Config) {
				c.ConnConfig.DefaultQueryExecMode = mode
				c.MaxConns = 8
			})
			s := open(t, pool, patientIn(schemaName(t)))
			agrees(t, s, connect(t, dsn))
			if left := one[string](t, pool, "SHOW lock_timeout"); left != "0" {
				t.Errorf("a session has a lock_timeout of %s left", left)
			}
		})
	}
	t.Run("Isolation", func(t *testing.T) {
		o := patientIn(schemaName(t))
		pool := connect(t, through, func(c *pgxpool.Config) { c.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec })
		s := open(t, pool, o)
		s.explicit.Store(true) // as with sessions that are not READ COMMITTED
		agrees(t, s, connect(t, dsn))
	})
}
