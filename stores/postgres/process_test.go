package haltpostgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
)

// Processes with pools of their own share a schema.
var processes = storetest.Processes{
	Open: func(job string) (halt.Store, error) {
		schema, dsn, _ := strings.Cut(job, " ")
		pool, err := pgxpool.New(context.Background(), dsn)
		if err != nil {
			return nil, err
		}
		return New(pool, patientIn(schema))
	},
	New: func(tb testing.TB) (string, halt.Store) {
		tb.Helper()
		s, _ := newStore(tb, &patient)
		return s.schemaOf(tb) + " " + dsn, s
	},
	Limit: 1500, KilledLimit: 3000, Kills: 3, KilledAlgorithms: []halt.Algorithm{halt.TokenBucket, halt.SlidingWindow},
}

func TestProcesses(t *testing.T) { processes.Run(t) }

// What tells this test's program that it is a child, and what it is to do: migrate a schema, or after that take from pairs of
// keys; and by which DSN.
const (
	childEnv    = "HALT_POSTGRES_CHILD"
	childDSNEnv = "HALT_POSTGRES_CHILD_DSN"
)

const (
	migrates = "migrate"
	takes    = "take"

	childCallers = 8
	children     = 4
	pairKeys     = 8
)

// pairPolicy is how much there is under each key of which the children take pairs.
func pairPolicy() halt.Policy {
	return halt.Policy{Name: "shared", Algorithm: halt.FixedWindow, Limit: 500, Window: 1000 * 24 * time.Hour}
}

// child migrates, and then takes from pairs of keys in eight goroutines until a dozen takes in a row were refused. It prints a
// dot for whatever it was admitted.
func child(job string) error {
	what, schema, _ := strings.Cut(job, " ")
	pool, err := pgxpool.New(context.Background(), os.Getenv(childDSNEnv))
	if err != nil {
		return err
	}
	defer pool.Close()
	o := patientIn(schema)
	if err := Migrate(context.Background(), pool, o); err != nil || what == migrates {
		return err
	}
	s, err := New(pool, o)
	if err != nil {
		return err
	}
	errs := make(chan error, childCallers)
	for range childCallers {
		go func() { errs <- takePairs(s) }()
	}
	for range childCallers {
		err = errors.Join(err, <-errs)
	}
	return err
}

func takePairs(s *Store) error {
	for refused := 0; refused < 12; {
		ok, err := takePair(s, pairPolicy())
		if err != nil {
			return err
		}
		refused++
		if ok {
			refused = 0
			if _, err := os.Stdout.WriteString("."); err != nil {
				return err
			}
		}
	}
	return nil
}

// takePair takes from two keys at once, in any order.
func takePair(s *Store, p halt.Policy) (bool, error) {
	i := rand.IntN(pairKeys)
	j := (i + 1 + rand.IntN(pairKeys-1)) % pairKeys
	ds := make(halt.Decisions, 2)
	err := s.Take(context.Background(), []halt.Charge{p.Charge(strconv.Itoa(i), 1), p.Charge(strconv.Itoa(j), 1)}, ds)
	return ds.Allowed(), err
}

// runChildren runs so many processes at once and returns how often they were admitted.
func runChildren(t *testing.T, n int, what, schema string) (admitted int) {
	t.Helper()
	cmds, outs := make([]*exec.Cmd, n), make([]strings.Builder, n)
	for i := range n {
		cmds[i] = exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
		cmds[i].Stdout, cmds[i].Stderr = &outs[i], os.Stderr
		cmds[i].Env = append(os.Environ(), childEnv+"="+fmt.Sprint(what, " ", schema), childDSNEnv+"="+dsn)
		if err := cmds[i].Start(); err != nil {
			t.Fatal(err)
		}
	}
	for i, cmd := range cmds {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
		admitted += strings.Count(outs[i].String(), ".")
	}
	return admitted
}

// Four processes take from pairs of keys in any order: nobody waits for each other, and nothing is spent that was refused.
func TestProcessesPairs(t *testing.T) {
	s, pool := newStore(t, &patient)
	p := pairPolicy()
	before := deadlocks(t, pool)
	admitted := runChildren(t, children, takes, s.schemaOf(t))
	left := int64(0)
	for i := range pairKeys {
		left += take(t, s, p.Charge(strconv.Itoa(i), 0)).Remaining
	}
	if spent := pairKeys*p.Limit - left; spent != 2*int64(admitted) {
		t.Errorf("%d calls of two were admitted, and %d spent", admitted, spent)
	}
	if n := deadlocks(t, pool) - before; n != 0 {
		t.Errorf("there were %d deadlocks", n)
	}
}

// deadlocks returns how many PostgreSQL has resolved.
func deadlocks(t *testing.T, pool *pgxpool.Pool) (n int64) {
	t.Helper()
	err := pool.QueryRow(context.Background(), "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Eight processes migrate the same empty database at once.
func TestMigrateProcesses(t *testing.T) {
	schema := schemaName(t)
	runChildren(t, 8, migrates, schema)
	s := open(t, connect(t, dsn), patientIn(schema))
	if d := take(t, s, lasting(2).Charge("k", 1)); !d.Allowed {
		t.Errorf("%+v", d)
	}
}
