// Package load puts load on every server of the demo, from a client library that knows nothing of Halt, and holds what was
// admitted to what the algorithms' theorems allow. Nothing leaves 127.0.0.1.
package load

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

var (
	duration = flag.Duration("duration", 2*time.Second, "how long to load each port")
	rate     = flag.Int("rate", 500, "requests per second")
)

// tally is what became of the requests on one route.
type tally struct {
	span
	sent, admitted, refused int
	sentAt                  []time.Time
}

// row is what became of all requests on a port.
type row struct {
	name        string
	tallies     []tally
	sent        int
	rps         float64
	p99         time.Duration
	ended       time.Duration
	least, most int // of admitted requests
}

func TestDemoUnderLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	program := buildDemo(t)
	var rows []row
	for _, p := range append(slices.Clone(frameworks), together) {
		t.Run(p, func(t *testing.T) {
			d := startDemo(t, program)
			urls := d.urls(p)
			if want := map[bool]int{false: 1, true: len(frameworks)}[p == together]; len(urls) != want {
				t.Fatalf("the demo has %d servers of %s, want %d: %v", len(urls), p, want, d.ports)
			}
			rows = append(rows, onslaught(t, d, p, urls))
		})
	}
	t.Logf("%v each, %d requests per second, %d routes\n%s", *duration, *rate, len(routes(*duration)), table(rows))
}

// together names the run that loads all servers at once, whose one store must keep the same bounds.
const together = "all at once"

// urls are those of the server of that name, or of all.
func (d *demo) urls(name string) []string {
	var urls []string
	for _, p := range d.ports {
		if p.name == name || name == together {
			urls = append(urls, p.url)
		}
	}
	return urls
}

// onslaught loads the servers, ends the demo, and checks everything.
func onslaught(t *testing.T, d *demo, name string, urls []string) row {
	t.Helper()
	c := newClient()
	rs := routes(*duration)
	attacker := vegeta.NewAttacker(vegeta.Client(&c.Client), vegeta.Workers(32))
	r := row{name: name, tallies: make([]tally, len(rs))}
	var metrics vegeta.Metrics
	begin := time.Now()
	for result := range attacker.Attack(targets(rs, urls), vegeta.Rate{Freq: *rate, Per: time.Second}, *duration, "") {
		i := slices.IndexFunc(rs, func(r route) bool { return strings.HasSuffix(result.URL, r.target) })
		if i < 0 {
			t.Fatalf("no route of %q: %s", result.URL, result.Error)
		}
		r.tallies[i].add(t, &rs[i], result, begin)
		if !rs[i].held { // whose latency is their own
			metrics.Add(result)
		}
		r.sent++
	}
	metrics.Close()
	r.rps, r.p99 = float64(r.sent)/time.Since(begin).Seconds(), metrics.Latencies.P99
	for i := range rs {
		r.check(t, &rs[i], &r.tallies[i])
	}

	c.closeUnused()
	if c.open() == 0 {
		t.Error("no connection was kept alive, for the demo to close")
	}
	r.ended = d.end(t)
	c.CloseIdleConnections()
	if n := c.open(); n != 0 {
		t.Errorf("%d connections of the client are still open", n)
	}
	for _, u := range urls {
		dialer := net.Dialer{Timeout: time.Second}
		if conn, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(u, "http://")); err == nil {
			_ = conn.Close()
			t.Errorf("%s still accepts connections", u)
		}
	}
	return r
}

// targets are the routes of all servers, in turn.
func targets(rs []route, urls []string) vegeta.Targeter {
	var ts []vegeta.Target
	for _, u := range urls {
		for i := range rs {
			r := &rs[i]
			ts = append(ts, vegeta.Target{Method: r.method, URL: u + r.target, Header: r.header, Body: []byte(r.body)})
		}
	}
	return vegeta.NewStaticTargeter(ts...)
}

func (y *tally) add(t *testing.T, r *route, result *vegeta.Result, begin time.Time) {
	t.Helper()
	if y.sent == 0 {
		y.begin, y.end, y.first = begin, result.End(), result.End()
	}
	y.sent++
	y.sentAt = append(y.sentAt, result.Timestamp)
	if result.End().After(y.end) {
		y.end = result.End()
	}
	if result.End().Before(y.first) {
		y.first = result.End()
	}
	switch int(result.Code) {
	case r.admitted:
		y.admitted++
	case http.StatusTooManyRequests:
		y.refused++
		if result.Timestamp.After(y.full) {
			y.full = result.Timestamp
		}
	default:
		t.Errorf("%s: %d %s", r.target, result.Code, result.Error)
	}
}

// stall is how long a route may not be asked before a bucket might overflow: less than what the smallest takes to fill.
const stall = time.Second

// check compares what was admitted with what the policy's theorem says.
func (r *row) check(t *testing.T, of *route, y *tally) {
	t.Helper()
	slices.SortFunc(y.sentAt, time.Time.Compare)
	for i := 1; i < len(y.sentAt); i++ {
		if gap := y.sentAt[i].Sub(y.sentAt[i-1]); gap > stall {
			y.stalled += gap
		}
	}
	least, most := of.bound(y.span, y.sent)
	if y.admitted < least || y.admitted > most {
		t.Errorf("%s: %d of %d admitted in %v, want %d to %d", of.policy, y.admitted, y.sent, y.outer(), least, most)
	}
	t.Logf("%-16s sent %5d, admitted %4d, bound %d to %d", of.policy, y.sent, y.admitted, least, most)
	r.least, r.most = r.least+least, r.most+most
}

func table(rows []row) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-12s %7s %9s %8s %12s %7s %9s %9s\n", "port", "sent", "admitted", "refused", "bound", "RPS", "p99", "ended in")
	for _, r := range rows {
		admitted, refused := 0, 0
		for i := range r.tallies {
			admitted += r.tallies[i].admitted
			refused += r.tallies[i].refused
		}
		fmt.Fprintf(&b, "%-12s %7d %9d %8d %12s %7.0f %9s %9s\n", r.name, r.sent, admitted, refused,
			fmt.Sprintf("%d to %d", r.least, r.most), r.rps, r.p99.Round(10*time.Microsecond), r.ended.Round(time.Millisecond))
	}
	return b.String() + "p99: without the routes whose answers are late on purpose"
}
