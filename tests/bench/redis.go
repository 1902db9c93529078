package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	halt "github.com/halt-dev/halt/core"
	haltredis "github.com/halt-dev/halt/stores/redis"
)

// redisCallers is how many goroutines ask at once, as in a service under load.
const redisCallers = 64

// A redisDecider is a contender that keeps its state in Redis.
type redisDecider struct {
	Name   string
	Module string
	How    string
	New    func(r rule, addr string) (t take, closer func(), err error)
}

// redisRule is the rule for so many keys: see rule. With many, what a request took is not back before the key's next.
func redisRule(keys int) rule {
	if keys == 1 {
		return ruleHot
	}
	return ruleMany
}

const (
	redisHot  = "hot key"
	redisMany = "10k keys"
)

// redisRun is what was measured on Redis.
type redisRun struct {
	version    string
	decisions  results                      // by scenario and contender
	serverCPU  map[string]map[string]series // the same, Redis's own µs per decision, of scripts
	serial     map[string]serialRun         // by contender
	memory     map[string]float64           // bytes of an entry, by algorithm
	skippedWhy string
}

// haltRedis returns Halt on Redis.
func haltRedis(name, how string, p halt.Policy, o haltredis.Options) redisDecider {
	return redisDecider{
		Name: name, Module: ours + "stores/redis", How: how,
		New: func(r rule, addr string) (take, func(), error) {
			c := redis.NewClient(&redis.Options{Addr: addr})
			o.Timeout = 10 * time.Second // it is throughput that is measured
			s, err := haltredis.New(c, &o)
			if err != nil {
				return nil, nil, err
			}
			l, ctx := halt.New(s, nil), context.Background()
			p := p
			p.Name, p.Limit, p.Window = "api", r.Limit, r.Window
			if p.Algorithm == halt.LeakyBucket {
				p.Burst = r.Limit - 1
			}
			return func(key string) bool {
				d, err := l.Allow(ctx, p, key)
				return err == nil && d.Allowed
			}, func() { _ = c.Close() }, nil
		},
	}
}

const haltUnbatched = "halt, batching off"

func redisDeciders() []redisDecider {
	return append([]redisDecider{
		haltRedis(haltName, "`Limiter.Allow` on `haltredis.New(client, nil)`: token bucket", halt.Policy{}, haltredis.Options{}),
		haltRedis("halt, leaky bucket", "the same", halt.Policy{Algorithm: halt.LeakyBucket}, haltredis.Options{}),
		haltRedis("halt, fixed window", "the same", halt.Policy{Algorithm: halt.FixedWindow}, haltredis.Options{}),
		haltRedis("halt, sliding window", "the same, Precision 10", halt.Policy{Algorithm: halt.SlidingWindow}, haltredis.Options{}),
		haltRedis("halt, in-flight", "the same, Precision 10; nothing is given back", halt.Policy{Algorithm: halt.InFlight}, haltredis.Options{}),
		haltRedis(haltUnbatched, "`MaxBatch: 1`: token bucket, one script a decision", halt.Policy{}, haltredis.Options{MaxBatch: 1}),
	}, redisPeers()...)
}

// A redisServer is a server of this program's own.
type redisServer struct {
	addr string
	cmd  *exec.Cmd
	c    *redis.Client
}

func startRedis() (*redisServer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	if err := l.Close(); err != nil {
		return nil, err
	}
	cmd := exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &redisServer{addr: addr, cmd: cmd, c: redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1})}
	ctx := context.Background()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		if s.c.Ping(ctx).Err() == nil {
			return s, nil
		}
		runtime.Gosched()
	}
	s.stop()
	return nil, errors.New("redis-server does not answer")
}

func (s *redisServer) stop() {
	_ = s.c.Close()
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// info returns a field of INFO, such as redis_version.
func (s *redisServer) info(section, field string) string {
	text, _ := s.c.Info(context.Background(), section).Result()
	for sc := bufio.NewScanner(strings.NewReader(text)); sc.Scan(); {
		if v, ok := strings.CutPrefix(sc.Text(), field+":"); ok {
			return v
		}
	}
	return ""
}

// scriptTime returns the µs that Redis has spent in scripts since its statistics were reset.
func (s *redisServer) scriptTime() float64 {
	total := 0.0
	for _, command := range []string{"eval", "evalsha"} {
		for part := range strings.SplitSeq(s.info("commandstats", "cmdstat_"+command), ",") {
			if v, ok := strings.CutPrefix(part, "usec="); ok {
				f, _ := strconv.ParseFloat(v, 64)
				total += f
			}
		}
	}
	return total
}

// redisAll measures all contenders on one server, interleaved.
func redisAll(o options) (*redisRun, error) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		return &redisRun{skippedWhy: "redis-server is not installed"}, nil
	}
	server, err := startRedis()
	if err != nil {
		return nil, err
	}
	defer server.stop()
	r := &redisRun{version: server.info("server", "redis_version"), decisions: results{}, serverCPU: map[string]map[string]series{}}
	keys := 10_000
	if o.quick {
		keys = 500
	}
	ds := redisDeciders()
	for pass := range o.passes {
		for _, scenario := range []string{redisHot, redisMany} {
			n := 1
			if scenario == redisMany {
				n = keys
			}
			for _, i := range rotated(len(ds), pass) {
				got, cpu, err := redisDecide(ds[i], server, n, o.took)
				if err != nil {
					return nil, err
				}
				r.decisions.add(scenario, ds[i].Name, got)
				if r.serverCPU[scenario] == nil {
					r.serverCPU[scenario] = map[string]series{}
				}
				r.serverCPU[scenario][ds[i].Name] = append(r.serverCPU[scenario][ds[i].Name], cpu)
				o.log("pass %d, Redis, %s: %s %.0f decisions/s, %.2f µs of Redis", pass+1, scenario, ds[i].Name, 1e9/got.NS, cpu)
			}
		}
	}
	if r.memory, err = redisMemory(server); err != nil {
		return nil, err
	}
	r.serial, err = serialAll(o)
	return r, err
}

// redisDecide measures one contender on an empty server.
func redisDecide(d redisDecider, server *redisServer, n int, took time.Duration) (got sample, cpu float64, err error) {
	ctx := context.Background()
	if err := server.c.FlushAll(ctx).Err(); err != nil {
		return got, 0, err
	}
	t, closer, err := d.New(redisRule(n), server.addr)
	if err != nil {
		return got, 0, err
	}
	defer closer()
	keys := walk(n)
	loop := func(w int, took time.Duration) (ops, wrong int64, busy time.Duration) {
		i := w * n / redisCallers
		start := time.Now()
		for {
			if !t(keys[i]) {
				wrong++
			}
			ops++
			if i++; i == n {
				i = 0
			}
			if d := time.Since(start); d >= took {
				return ops, wrong, d
			}
		}
	}
	wrong := make([]int64, redisCallers)
	measure(redisCallers, took/3, func(w int, took time.Duration) (int64, time.Duration) { // connections, scripts, keys
		ops, _, busy := loop(w, took)
		return ops, busy
	})
	if err := server.c.ConfigResetStat(ctx).Err(); err != nil {
		return got, 0, err
	}
	total := make([]int64, redisCallers)
	got = measure(redisCallers, took, func(w int, took time.Duration) (int64, time.Duration) {
		ops, bad, busy := loop(w, took)
		total[w], wrong[w] = ops, bad
		return ops, busy
	})
	ops := int64(0)
	for w := range total {
		ops += total[w]
		if wrong[w] > 0 {
			err = fmt.Errorf("%s on Redis: %d wrong answers", d.Name, wrong[w])
		}
	}
	return got, server.scriptTime() / float64(max(ops, 1)), err
}

// redisMemory returns what MEMORY USAGE tells of an entry with a key of 20 bytes, by algorithm.
func redisMemory(server *redisServer) (map[string]float64, error) {
	ctx := context.Background()
	used := map[string]float64{}
	s, err := haltredis.New(server.c, nil)
	if err != nil {
		return nil, err
	}
	for a := halt.TokenBucket; a <= halt.InFlight; a++ {
		if err := server.c.FlushAll(ctx).Err(); err != nil {
			return nil, err
		}
		p := halt.Policy{Name: "api", Algorithm: a, Limit: 100, Window: time.Hour}
		if _, err := halt.New(s, nil).Allow(ctx, p, "user:123456789012345"); err != nil {
			return nil, err
		}
		name, err := server.c.RandomKey(ctx).Result()
		if err != nil {
			return nil, err
		}
		n, err := server.c.MemoryUsage(ctx, name).Result()
		if err != nil {
			return nil, err
		}
		used[a.String()] = float64(n)
	}
	return used, nil
}

// A serialRun is one caller alone: the time of a call, in µs, pass by pass.
type serialRun struct{ P50, P99, Allocs series }

// bareScript is the least that a script costs through the client that Halt uses.
const bareScript = "`EVALSHA` of `return 1`"

// serialAll measures in a child process that shares one processor with its Redis: nothing overlaps, so all the work counts.
func serialAll(o options) (map[string]serialRun, error) {
	if _, err := exec.LookPath("taskset"); err != nil {
		return nil, nil
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	runs := map[string]serialRun{}
	for range o.passes {
		cmd := exec.Command("taskset", "-c", strconv.Itoa(runtime.NumCPU()-1), exe, "-child", "redis-serial", "-time", o.took.String())
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(out)) {
			f := strings.Split(strings.TrimSpace(line), "\t")
			var v [3]float64
			for i := range v {
				if v[i], err = strconv.ParseFloat(f[i+1], 64); err != nil {
					return nil, err
				}
			}
			r := runs[f[0]]
			r.P50, r.P99, r.Allocs = append(r.P50, v[0]), append(r.P99, v[1]), append(r.Allocs, v[2])
			runs[f[0]] = r
			o.log("serial, one core: %s p50 %.1f µs, p99 %.1f µs, %.1f allocations", f[0], v[0], v[1], v[2])
		}
	}
	return runs, nil
}

// serialChild is that child process.
func serialChild(took time.Duration, show func(name string, p50, p99, allocs float64)) error {
	server, err := startRedis()
	if err != nil {
		return err
	}
	defer server.stop()
	type one struct {
		name   string
		t      take
		times  []float64
		allocs uint64
	}
	ctx := context.Background()
	script := redis.NewScript("return 1")
	c := redis.NewClient(&redis.Options{Addr: server.addr})
	defer func() { _ = c.Close() }()
	keys := []string{key(0)}
	all := []*one{{name: bareScript, t: func(string) bool { return script.Run(ctx, c, keys).Err() == nil }}}
	for _, d := range redisDeciders() {
		t, closer, err := d.New(redisRule(1), server.addr)
		if err != nil {
			return err
		}
		defer closer()
		all = append(all, &one{name: d.Name, t: t})
	}
	const block = 200 // calls of one contender, then of the next
	for round := range 1 + max(2, int(took/(10*time.Millisecond))) {
		for _, i := range rotated(len(all), round) {
			o := all[i]
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range block {
				start := time.Now()
				if !o.t(keys[0]) {
					return fmt.Errorf("%s: a wrong answer", o.name)
				}
				if round > 0 {
					o.times = append(o.times, float64(time.Since(start).Nanoseconds())/1e3)
				}
			}
			runtime.ReadMemStats(&after)
			if round > 0 {
				o.allocs += after.Mallocs - before.Mallocs
			}
		}
	}
	for _, o := range all {
		slices.Sort(o.times)
		n := len(o.times)
		show(o.name, o.times[n/2], o.times[min(n-1, int(math.Ceil(float64(n)*0.99)))], float64(o.allocs)/float64(n))
	}
	return nil
}
