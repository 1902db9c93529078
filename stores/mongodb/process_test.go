package haltmongo

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	halt "github.com/halt-dev/halt/core"
)

// What tells this test's program that it is a child, and what it is to do: the servers, the database and collection, the
// algorithm, the limit.
const childEnv = "HALT_MONGODB_CHILD"

// child takes from one key, in eight goroutines, until nothing is left, and prints a dot for whatever it was admitted. A dot
// is printed before the next is asked for: one that is killed has at most eight that it did not print.
func child(job string) error {
	var uri, db, collection string
	var algorithm, limit int
	if _, err := fmt.Sscan(job, &uri, &db, &collection, &algorithm, &limit); err != nil {
		return err
	}
	client, err := mongo.Connect(options.Client().ApplyURI(uri))
	if err != nil {
		return err
	}
	s, err := New(client.Database(db).Collection(collection), &patient)
	if err != nil {
		return err
	}
	c := processPolicy(halt.Algorithm(algorithm), int64(limit)).Charge("shared", 1)
	errs := make(chan error, childCallers)
	for range childCallers {
		go func() {
			for {
				d, err := s.TakeOne(context.Background(), c)
				if err != nil || !d.Allowed {
					errs <- err
					return
				}
				if _, err := os.Stdout.WriteString("."); err != nil {
					errs <- err
					return
				}
			}
		}()
	}
	for range childCallers {
		if err := <-errs; err != nil {
			return err
		}
	}
	return nil
}

const (
	childCallers = 8
	children     = 4
)

func processPolicy(a halt.Algorithm, limit int64) halt.Policy {
	p := halt.Policy{Name: "shared", Algorithm: a, Limit: limit, Window: 1000 * 24 * time.Hour}
	if a == halt.LeakyBucket {
		p.Burst = limit - 1
	}
	return p
}

// startChild starts a process that takes.
func startChild(t *testing.T, s *Store, a halt.Algorithm, limit int) (*exec.Cmd, *strings.Builder) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	out := new(strings.Builder)
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	cmd.Env = append(os.Environ(), childEnv+"="+fmt.Sprint(ExampleURI, " ", database, " ", s.collection.Name(), " ", int(a), " ", limit))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, out
}

// Four processes with clients of their own share one key: together they are admitted exactly the limit.
func TestProcesses(t *testing.T) {
	t.Parallel()
	const limit = 1000
	s := newStore(t, &patient)
	for a := halt.TokenBucket; a <= halt.InFlight; a++ {
		t.Run(a.String(), func(t *testing.T) {
			// The document is there before they race to make it: SecantusDB gives no answer to one that comes second.
			take(t, s, processPolicy(a, limit).Charge("shared", 0))
			var cmds []*exec.Cmd
			var outs []*strings.Builder
			for range children {
				cmd, out := startChild(t, s, a, limit)
				cmds, outs = append(cmds, cmd), append(outs, out)
			}
			admitted := 0
			for i, cmd := range cmds {
				if err := cmd.Wait(); err != nil {
					t.Error(err)
				}
				admitted += strings.Count(outs[i].String(), ".")
			}
			if admitted != limit {
				t.Errorf("%d were admitted of %d", admitted, limit)
			}
		})
	}
}

// Processes that are killed at any moment cost at most what was on its way to them, and never make for more.
func TestProcessesKilled(t *testing.T) {
	t.Parallel()
	const limit, killed = 2000, 3
	s := newStore(t, &patient)
	for _, a := range []halt.Algorithm{halt.TokenBucket, halt.InFlight} {
		t.Run(a.String(), func(t *testing.T) {
			p := processPolicy(a, limit)
			admitted := 0
			for n := range killed {
				cmd, out := startChild(t, s, a, limit)
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
			cmd, out := startChild(t, s, a, limit)
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
			admitted += strings.Count(out.String(), ".")
			if lost := limit - admitted; lost < 0 || lost > killed*childCallers {
				t.Errorf("%d admitted, of %d, with %d processes killed", admitted, limit, killed)
			}
		})
	}
}
