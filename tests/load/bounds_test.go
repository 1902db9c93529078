package load

import (
	"math"
	"net/http"
	"time"
)

// A route of the demo, as one client asks for it, and what its policy's theorem allows. The figures are those of the
// demo's policies.
type route struct {
	policy   string
	method   string
	target   string // path and query
	header   http.Header
	body     string
	admitted int  // the status of an admitted request
	held     bool // it is answered late on purpose: delayed, or held by its handler
	bound    func(s span, sent int) (least, most int)
}

// A span is what is known of the instants of the decisions on one route. The outer is between the moment before the first
// request and that of the last answer: no decision was outside it. The inner is from the first answer to the sending of the
// last request that was refused: the first decision was before it, and after it there was one that found nothing left.
type span struct {
	begin, end  time.Time
	first, full time.Time     // full is zero if none was refused
	stalled     time.Duration // how long nobody asked, while a bucket may have overflowed
}

func (s span) outer() time.Duration { return s.end.Sub(s.begin) }

func (s span) inner() time.Duration { return max(0, s.full.Sub(s.first)-s.stalled) }

// least is n if anything was refused, else all.
func (s span) least(sent, n int) int {
	if s.full.IsZero() {
		return sent
	}
	return min(sent, n)
}

// refilled is what limit per window comes to in d.
func refilled(limit int, window, d time.Duration) float64 {
	return float64(limit) * float64(d) / float64(window)
}

// bucket is a token bucket of limit tokens an hour, of which each request takes cost: in a time d it admits at most limit
// tokens and what flows in during d; and as long as it is asked, no less, since nothing overflows.
func bucket(limit, cost int) func(span, int) (int, int) {
	of := func(d time.Duration) int {
		return int(math.Floor((float64(limit) + refilled(limit, time.Hour, d)) / float64(cost)))
	}
	return func(s span, sent int) (least, most int) { return s.least(sent, of(s.inner())), of(s.outer()) }
}

// leaky is a leaky bucket of which wait may wait: what it admits, it lets go at even distances, so in a time d no more
// than one and what leaks during d; and as long as it is asked, it takes in as much as has leaked, and who waits.
func leaky(limit, wait int, window time.Duration) func(span, int) (int, int) {
	return func(s span, sent int) (least, most int) {
		return s.least(sent, wait+1+int(refilled(limit, window, s.inner()))), 1 + int(refilled(limit, window, s.outer()))
	}
}

// windowed is limit in each window of the clock, whose number n tells: the first that a run meets is used up.
func windowed(limit int, n func(time.Time) int) func(span, int) (int, int) {
	return func(s span, sent int) (least, most int) {
		windows := n(s.end) - n(s.begin) + 1
		if windows > 1 {
			return 0, limit * windows // who knows how much was asked for before the border
		}
		return min(sent, limit), limit
	}
}

func hour(t time.Time) int { return int(t.Unix() / 3600) }

func month(t time.Time) int { return t.UTC().Year()*12 + int(t.UTC().Month()) }

// sliding is limit in any window that is longer than the run.
func sliding(limit int) func(span, int) (int, int) {
	return func(_ span, sent int) (least, most int) { return min(sent, limit), limit }
}

// inside is limit at once, each for hold.
func inside(limit int, hold time.Duration) func(span, int) (int, int) {
	return func(s span, sent int) (least, most int) {
		return min(sent, limit), limit * (int(s.outer()/hold) + 1)
	}
}

// holds is how long the demo's /in-flight keeps a request.
const holds = 5 * time.Second

// routes are those of the demo. That of the in-flight policy is only for runs that are longer than it holds a request.
func routes(d time.Duration) []route {
	key := func(k string) http.Header { return http.Header{"X-Api-Key": {k}} }
	rs := []route{
		{policy: "token-bucket", target: "/token-bucket", bound: bucket(10, 1)},
		{policy: "leaky-bucket", target: "/leaky-bucket", held: true, bound: leaky(2, 3, time.Second)},
		{policy: "fixed-window", target: "/fixed-window", bound: windowed(10, hour)},
		{policy: "sliding-window", target: "/sliding-window", bound: sliding(10)},
		{policy: "plan (free)", target: "/plan?of=free", header: key("free-key"), bound: bucket(5, 1)},
		{policy: "plan (pro)", target: "/plan?of=pro", header: key("pro-key"), bound: bucket(20, 1)},
		{policy: "search (7 each)", target: "/search?size=7", bound: bucket(100, 7)},
		{policy: "monthly", target: "/quota", header: key("load"), bound: windowed(12, month)},
		{policy: "generous", target: "/shadow", bound: bucket(1000, 1)},
		{
			policy: "login-failures", method: http.MethodPost, target: "/login", admitted: http.StatusUnauthorized,
			header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, body: "account=ann&password=wrong",
			bound: sliding(3),
		},
	}
	if d > holds {
		rs = append(rs, route{policy: "in-flight", target: "/in-flight", held: true, bound: inside(2, holds)})
	}
	for i := range rs {
		if r := &rs[i]; r.method == "" {
			r.method = http.MethodGet
		}
		if r := &rs[i]; r.admitted == 0 {
			r.admitted = http.StatusOK
		}
	}
	return rs
}
