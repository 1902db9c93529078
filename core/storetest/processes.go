package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// Processes holds a store that several processes share against its promise: together they are admitted exactly the limit,
// and what is lost with one that is killed is at most what was on its way to it. The processes are the test program, started
// again, so TestMain has to call Child first.
//
//	var processes = storetest.Processes{ … }
//
//	func TestMain(m *testing.M) {
//		processes.Child()
//		os.Exit(m.Run())
//	}
//
//	func TestProcesses(t *testing.T) { processes.Run(t) }
//
// All fields are required but KilledAlgorithms.
type Processes struct {
	// Open opens a store in a process of its own, which ends with the process.
	Open func(job string) (halt.Store, error)
	// New returns an empty keyspace: the job by which Open finds it, and a store on it for the test.
	New func(tb testing.TB) (job string, s halt.Store)
	// Limit is how much four processes may take together, and KilledLimit how much several that are killed, one after the other,
	// and one that is not: a second's work or so.
	Limit, KilledLimit int64
	// Kills is how many are killed.
	Kills int
	// KilledAlgorithms are those whose processes are killed; nil means all.
	KilledAlgorithms []halt.Algorithm
}

const (
	processEnv     = "HALT_STORETEST_PROCESS"
	processes      = 4
	processCallers = 8
)

// Child takes from the store and ends the program if that was started by Run. Otherwise it does nothing.
func (p *Processes) Child() {
	job := os.Getenv(processEnv)
	if job == "" {
		return
	}
	if err := p.child(job); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Run runs both cases, each in a subtest for each algorithm.
func (p *Processes) Run(t *testing.T) {
	t.Helper()
	for _, a := range algorithms {
		t.Run("Shared/"+a.String(), func(t *testing.T) {
			if err := p.shared(t, a); err != nil {
				t.Error(err)
			}
		})
	}
	killed := p.KilledAlgorithms
	if killed == nil {
		killed = algorithms
	}
	for _, a := range killed {
		t.Run("Killed/"+a.String(), func(t *testing.T) {
			if err := p.killed(t, a); err != nil {
				t.Error(err)
			}
		})
	}
}

// shared lets processes share one key.
func (p *Processes) shared(t *testing.T, a halt.Algorithm) error {
	t.Helper()
	job, s := p.New(t)
	c := processPolicy(a, p.Limit).Charge("shared", 0)
	if _, err := takeOne(s, c); err != nil { // there are databases that fail one of two who are the first to ask for a key
		return err
	}
	started := make([]*process, processes)
	for i := range started {
		started[i] = launch(t, a, p.Limit, job)
	}
	for _, c := range started {
		<-c.ready
	}
	for _, c := range started {
		c.begin()
	}
	var admitted int64
	var errs []error
	for _, c := range started {
		n, err := c.wait()
		admitted, errs = admitted+n, append(errs, err)
	}
	if admitted != p.Limit {
		errs = append(errs, fmt.Errorf("%d processes were admitted %d of %d", processes, admitted, p.Limit))
	}
	return errors.Join(errs...)
}

// killed kills processes when they have taken their share, more or less, and lets one take the rest.
func (p *Processes) killed(t *testing.T, a halt.Algorithm) error {
	t.Helper()
	job, s := p.New(t)
	look := processPolicy(a, p.KilledLimit).Charge("shared", 0)
	var admitted int64
	for n := range p.Kills {
		c := launch(t, a, p.KilledLimit, job)
		c.begin()
		for spent := int64(-1); spent <= int64(n)*p.KilledLimit/int64(p.Kills+1); {
			d, err := takeOne(s, look)
			if err != nil {
				return err
			}
			spent = p.KilledLimit - d.Remaining
			if t.Context().Err() != nil {
				return t.Context().Err()
			}
		}
		if err := c.cmd.Process.Kill(); err != nil {
			return err
		}
		got, _ := c.wait() // it was killed
		admitted += got
	}
	// What was sent by them may still be on its way, so the rest is taken by one that outlives that.
	last := launch(t, a, p.KilledLimit, job)
	last.begin()
	got, err := last.wait()
	admitted += got
	if lost := p.KilledLimit - admitted; lost < 0 || lost > int64(p.Kills*processCallers) {
		return errors.Join(err, fmt.Errorf("%d were admitted, of %d, with %d processes killed", admitted, p.KilledLimit, p.Kills))
	}
	return err
}

// process is one that takes, from when it is told to begin.
type process struct {
	cmd      *exec.Cmd
	stdin    io.Closer
	ready    chan struct{} // closed when it can begin, or has ended
	admitted chan int64
}

// launch starts a process. It is ended with the test.
func launch(t *testing.T, a halt.Algorithm, limit int64, job string) *process {
	t.Helper()
	c := &process{
		cmd:   exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$"),
		ready: make(chan struct{}), admitted: make(chan int64, 1),
	}
	c.cmd.Stderr = os.Stderr
	c.cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d %s", processEnv, a, limit, job))
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.stdin = stdin
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = io.ReadFull(stdout, make([]byte, len(readyMark))) // what failed shows when it is waited for
		close(c.ready)
		dots, _ := io.ReadAll(stdout)
		c.admitted <- int64(bytes.Count(dots, []byte(".")))
	}()
	return c
}

// begin lets the process take.
func (c *process) begin() { _ = c.stdin.Close() } // it fails only if the process has ended, which shows in wait

// wait returns how much the process was admitted until its end.
func (c *process) wait() (admitted int64, err error) {
	admitted = <-c.admitted
	return admitted, c.cmd.Wait()
}

const readyMark = "+"

// child takes from one key until nothing is left, in several goroutines, and prints a dot for whatever it was admitted. A dot
// is printed before the next is asked for: a process that is killed has at most one for each goroutine that it did not print.
func (p *Processes) child(job string) error {
	var a halt.Algorithm
	var limit int64
	if _, err := fmt.Sscan(job, &a, &limit); err != nil {
		return err
	}
	s, err := p.Open(strings.SplitN(job, " ", 3)[2])
	if err != nil {
		return err
	}
	if _, err := os.Stdout.WriteString(readyMark); err != nil {
		return err
	}
	if _, err := io.ReadAll(os.Stdin); err != nil { // until the others are ready, too
		return err
	}
	c := processPolicy(a, limit).Charge("shared", 1)
	errs := make(chan error, processCallers)
	for range processCallers {
		go func() { errs <- takeAll(s, c) }()
	}
	for range processCallers {
		err = errors.Join(err, <-errs)
	}
	return err
}

// takeAll takes until it is refused.
func takeAll(s halt.Store, c halt.Charge) error {
	for {
		d, err := takeOne(s, c)
		if err != nil || !d.Allowed {
			return err
		}
		if _, err := os.Stdout.WriteString("."); err != nil {
			return err
		}
	}
}

func takeOne(s halt.Store, c halt.Charge) (halt.Decision, error) {
	var ds [1]halt.Decision
	err := s.Take(context.Background(), []halt.Charge{c}, ds[:])
	return ds[0], err
}

func processPolicy(a halt.Algorithm, limit int64) halt.Policy {
	p := halt.Policy{Name: "shared", Algorithm: a, Limit: limit, Window: 1000 * 24 * time.Hour}
	if a == halt.LeakyBucket {
		p.Burst = limit - 1
	}
	return p
}
