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
)

// What tells this test's program that it is a child, and what it is to do: the kind of job, the schema, the algorithm and the
// limit; and by which DSN.
const (
	childEnv    = "HALT_POSTGRES_CHILD"
	childDSNEnv = "HALT_POSTGRES_CHILD_DSN"
)

const (
	childCallers = 8
	children     = 4
	pairKeys     = 8
)

// child takes in eight goroutines until nothing is left, from one key or from pairs of them, and prints a dot for whatever it
// was admitted. A dot is printed before the next is asked for: one that is killed has at most eight that it did not print.
func child(job string) error {
	var kind, schema string
	var algorithm, limit int
	if _, err := fmt.Sscan(job, &kind, &schema, &algorithm, &limit); err != nil {
		return err
	}
	pool, err := pgxpool.New(context.Background(), os.Getenv(childDSNEnv))
	if err != nil {
		return err
	}
	defer pool.Close()
	o := patientIn(schema)
	if err := Migrate(context.Background(), pool, o); err != nil || kind == "migrate" {
		return err
	}
	s, err := New(pool, o)
	if err != nil {
		return err
	}
	p := processPolicy(halt.Algorithm(algorithm), int64(limit))
	take := func() (bool, error) {
		d, err := s.TakeOne(context.Background(), p.Charge("shared", 1))
		return d.Allowed, err
	}
	if kind == "pairs" {
		take = func() (bool, error) { return takePair(s, p) }
	}
	errs := make(chan error, childCallers)
	for range childCallers {
		go func() { errs <- takeAll(take) }()
	}
	for range childCallers {
		err = errors.Join(err, <-errs)
	}
	return err
}

// takeAll takes until a dozen takes in a row were refused.
func takeAll(take func() (bool, error)) error {
	for refused := 0; refused < 12; {
		ok, err := take()
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

func processPolicy(a halt.Algorithm, limit int64) halt.Policy {
	p := halt.Policy{Name: "shared", Algorithm: a, Limit: limit, Window: 1000 * 24 * time.Hour}
	if a == halt.LeakyBucket {
		p.Burst = limit - 1
	}
	return p
}

// startChild starts a process that takes.
func startChild(t *testing.T, kind, schema string, a halt.Algorithm, limit int) (*exec.Cmd, *strings.Builder) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	out := new(strings.Builder)
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	cmd.Env = append(os.Environ(), childEnv+"="+fmt.Sprint(kind, " ", schema, " ", int(a), " ", limit), childDSNEnv+"="+dsn)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, out
}

// runChildren runs so many processes at once and returns how often they were admitted.
func runChildren(t *testing.T, n int, kind, schema string, a halt.Algorithm, limit int) (admitted int) {
	t.Helper()
	cmds, outs := make([]*exec.Cmd, n), make([]*strings.Builder, n)
	for i := range n {
		cmds[i], outs[i] = startChild(t, kind, schema, a, limit)
	}
	for i, cmd := range cmds {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
		admitted += strings.Count(outs[i].String(), ".")
	}
	return admitted
}

// Four processes with pools of their own share one key: together they are admitted exactly the limit.
func TestProcesses(t *testing.T) {
	s, _ := newStore(t, &patient)
	const limit = 1500
	for a := halt.TokenBucket; a <= halt.InFlight; a++ {
		t.Run(a.String(), func(t *testing.T) {
			if n := runChildren(t, children, "one", s.schemaOf(t), a, limit); n != limit {
				t.Errorf("%d were admitted of %d", n, limit)
			}
		})
	}
}

// Four processes take from pairs of keys in any order: nobody waits for each other, and nothing is spent that was refused.
func TestProcessesPairs(t *testing.T) {
	s, pool := newStore(t, &patient)
	const limit = 500
	before := deadlocks(t, pool)
	admitted := runChildren(t, children, "pairs", s.schemaOf(t), halt.FixedWindow, limit)
	left := int64(0)
	for i := range pairKeys {
		d := take(t, s, processPolicy(halt.FixedWindow, limit).Charge(strconv.Itoa(i), 0))
		left += d.Remaining
	}
	if spent := pairKeys*limit - left; spent != 2*int64(admitted) {
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

// Processes that are killed at any moment cost at most what was on its way to them, and never make for more.
func TestProcessesKilled(t *testing.T) {
	s, _ := newStore(t, &patient)
	const limit, killed = 3000, 3
	for _, a := range []halt.Algorithm{halt.TokenBucket, halt.SlidingWindow} {
		t.Run(a.String(), func(t *testing.T) {
			p := processPolicy(a, limit)
			admitted := 0
			for n := range killed {
				cmd, out := startChild(t, "one", s.schemaOf(t), a, limit)
				// It is killed when it has taken its share, more or less.
				eventually(t, "it has begun", func() bool {
					d := take(t, s, p.Charge("shared", 0))
					return limit-d.Remaining > int64(n*limit/(killed+1))
				})
				if err := cmd.Process.Kill(); err != nil {
					t.Error(err)
				}
				_ = cmd.Wait() // it was killed
				admitted += strings.Count(out.String(), ".")
			}
			// What was sent may still be on its way, so the rest is taken by one that outlives that.
			admitted += runChildren(t, 1, "one", s.schemaOf(t), a, limit)
			if lost := limit - admitted; lost < 0 || lost > killed*childCallers {
				t.Errorf("%d were admitted, of %d, with %d processes killed", admitted, limit, killed)
			}
		})
	}
}

// Eight processes migrate the same empty database at once.
func TestMigrateProcesses(t *testing.T) {
	schema := schemaName(t)
	runChildren(t, 8, "migrate", schema, 0, 0)
	s := open(t, connect(t, dsn), patientIn(schema))
	if d := take(t, s, lasting(2).Charge("k", 1)); !d.Allowed {
		t.Errorf("%+v", d)
	}
}
