package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// row is what became of the traffic to one route.
type row struct {
	route, user             string
	sent, admitted, refused int
	other                   int // neither admitted nor refused
	retryAfter              string
	least, most             int // how many the policy admits
	failure                 string
}

// driver sends requests to the servers in turn.
type driver struct {
	client  *http.Client
	servers []server
	next    int
}

// driveAll sends traffic to each route, prints a table, and returns an error if a count is not what its policy says.
func driveAll(ctx context.Context, out io.Writer, s *service, servers []server) error {
	d := &driver{client: &http.Client{Timeout: 30 * time.Second}, servers: servers}
	defer d.client.CloseIdleConnections()
	steps := []func(context.Context) (row, error){
		func(ctx context.Context) (row, error) { return d.times(ctx, get("/token-bucket", ""), 15, 10) },
		d.leaky,
		func(ctx context.Context) (row, error) {
			if err := awayFromEdge(ctx, time.Now().Truncate(time.Hour).Add(time.Hour)); err != nil {
				return row{}, err
			}
			return d.times(ctx, get("/fixed-window", ""), 15, 10)
		},
		func(ctx context.Context) (row, error) { return d.times(ctx, get("/sliding-window", ""), 15, 10) },
		func(ctx context.Context) (row, error) { return d.times(ctx, get("/plan", "free-key"), 8, 5) },
		func(ctx context.Context) (row, error) { return d.times(ctx, get("/plan", "pro-key"), 25, 20) },
		d.logins,
		d.searches,
		d.insideAtOnce,
		func(ctx context.Context) (row, error) {
			edge := monthlyQuota.Period.Edges(halt.InstantOf(time.Now()))[2]
			if err := awayFromEdge(ctx, edge.Time()); err != nil {
				return row{}, err
			}
			return d.times(ctx, get("/quota", "any"), 15, 12)
		},
		d.shadow,
	}
	var rows []row
	for _, step := range steps {
		r, err := step(ctx)
		if err != nil {
			return err
		}
		rows = append(rows, r)
	}
	failed := printRows(out, rows)
	loads := s.plans.loads.Load()
	fmt.Fprintf(out, "\nThe plan database was asked %d times for 33 requests of 2 users.\n", loads)
	if loads != 2 {
		failed++
	}
	if failed > 0 {
		return fmt.Errorf("%d counts are not what the policies say", failed)
	}
	return nil
}

// printRows prints the rows and returns how many of them are not as they should be.
func printRows(out io.Writer, rows []row) int {
	failed := 0
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "route\tuser\tsent\tadmitted\trefused\tfirst Retry-After\tas the policy says")
	for _, r := range rows {
		verdict := "yes"
		if why := r.fault(); why != "" {
			verdict = "NO: " + why
			failed++
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%s\t%s\n", r.route, r.user, r.sent, r.admitted, r.refused, r.retryAfter, verdict)
	}
	_ = w.Flush() // out's error shows in the next line
	return failed
}

// fault says what is wrong with the row, or "".
func (r *row) fault() string {
	switch {
	case r.failure != "":
		return r.failure
	case r.other > 0:
		return fmt.Sprintf("%d answers neither admit nor refuse", r.other)
	case r.admitted < r.least || r.admitted > r.most:
		return fmt.Sprintf("admits %d to %d", r.least, r.most)
	case r.refused > 0 && r.retryAfter == "":
		return "a refusal without Retry-After"
	}
	return ""
}

// request is one to be sent to any of the servers.
type request struct {
	method, path, apiKey string
	form                 url.Values
}

func get(path, apiKey string) request {
	return request{method: http.MethodGet, path: path, apiKey: apiKey}
}

func (d *driver) send(ctx context.Context, q request) (*http.Response, error) {
	s := d.servers[d.next%len(d.servers)]
	d.next++
	return d.sendTo(ctx, s, q)
}

func (d *driver) sendTo(ctx context.Context, s server, q request) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, q.method, s.url+q.path, strings.NewReader(q.form.Encode()))
	if err != nil {
		return nil, err
	}
	if q.form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if q.apiKey != "" {
		r.Header.Set("X-API-Key", q.apiKey)
	}
	return d.client.Do(r)
}

// count sends a request, adds what became of it to the row, and returns the answer's body.
func (d *driver) count(ctx context.Context, r *row, q request) (string, error) {
	resp, err := d.send(ctx, q)
	if err != nil {
		return "", err
	}
	return r.add(resp)
}

func (r *row) add(resp *http.Response) (string, error) {
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	r.sent++
	switch resp.StatusCode {
	case http.StatusOK:
		r.admitted++
	case http.StatusTooManyRequests:
		r.refused++
		if r.retryAfter == "" {
			r.retryAfter = resp.Header.Get("Retry-After")
		}
	default:
		r.other++
	}
	return string(body), nil
}

// times sends the request so many times and expects so many to be admitted.
func (d *driver) times(ctx context.Context, q request, n, admitted int) (row, error) {
	r := row{route: q.path, user: users[q.apiKey], least: admitted, most: admitted}
	for range n {
		if _, err := d.count(ctx, &r, q); err != nil {
			return r, err
		}
	}
	return r, nil
}

// leaky sends 8 at once. One proceeds and 3 wait; each half second until the last is decided lets one more in.
func (d *driver) leaky(ctx context.Context) (row, error) {
	r := row{route: "/leaky-bucket", least: 4, most: 4}
	type answer struct {
		*http.Response
		after time.Duration
		err   error
	}
	answers := make(chan answer, 8)
	start := time.Now()
	for i := range 8 {
		s := d.servers[i%len(d.servers)]
		go func() {
			resp, err := d.sendTo(ctx, s, get("/leaky-bucket", ""))
			answers <- answer{resp, time.Since(start), err}
		}()
	}
	for range 8 {
		a := <-answers
		if a.err != nil {
			return r, a.err
		}
		if a.StatusCode == http.StatusTooManyRequests { // it was decided before it was answered
			r.most = max(r.most, 4+int(a.after*time.Duration(leakyBucket.Limit)/leakyBucket.Window))
		}
		if _, err := r.add(a.Response); err != nil {
			return r, err
		}
	}
	return r, nil
}

// logins fails three times, succeeding in between, and then can't log in although the password is right.
func (d *driver) logins(ctx context.Context) (row, error) {
	r := row{route: "/login", user: "ann", least: 2, most: 2}
	for _, pw := range []string{password, "wrong", "wrong", password, "wrong", password} {
		form := url.Values{"account": {"ann"}, "password": {pw}}
		if _, err := d.count(ctx, &r, request{method: http.MethodPost, path: "/login", form: form}); err != nil {
			return r, err
		}
	}
	if r.other != 3 || r.refused != 1 { // the three failures, and the last
		r.failure = fmt.Sprintf("%d failures, %d refusals, not 3 and 1", r.other, r.refused)
	}
	r.other = 0
	return r, nil
}

// searches spends 100 on searches of 30 until one doesn't fit, and the rest on one of 10.
func (d *driver) searches(ctx context.Context) (row, error) {
	r := row{route: "/search?size=30, 10", least: 4, most: 4}
	for _, size := range []int{30, 30, 30, 30, 10, 10} {
		if _, err := d.count(ctx, &r, get(fmt.Sprintf("/search?size=%d", size), "")); err != nil {
			return r, err
		}
	}
	return r, nil
}

// insideAtOnce fills the places in flight, is refused, leaves, and gets in again.
func (d *driver) insideAtOnce(ctx context.Context) (row, error) {
	r := row{route: "/in-flight", least: 3, most: 3}
	inside, leave := context.WithCancel(ctx)
	defer leave()
	var streaming []server
	for _, s := range d.servers {
		if s.streams {
			streaming = append(streaming, s)
		}
	}
	for i := range inFlight.Limit {
		s := streaming[int(i)%len(streaming)]
		resp, err := d.sendTo(inside, s, get("/in-flight", "")) // the headers come at once, the body's end when it leaves
		if err != nil {
			return r, err
		}
		defer func() { _ = resp.Body.Close() }()
		r.sent++
		if resp.StatusCode == http.StatusOK {
			r.admitted++
		}
	}
	for range 3 {
		if _, err := d.count(ctx, &r, get("/in-flight", "")); err != nil {
			return r, err
		}
	}
	leave()
	// The servers notice that the clients have left a moment later.
	deadline := time.Now().Add(5 * time.Second)
	again, stop := context.WithCancel(ctx)
	defer stop()
	for time.Now().Before(deadline) {
		resp, err := d.sendTo(again, streaming[0], get("/in-flight", ""))
		if err != nil {
			return r, err
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			r.sent++
			r.admitted++
			return r, nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return r, ctx.Err()
		}
	}
	r.failure = "who left did not make room"
	return r, nil
}

// shadow sends 5 requests, all of which are admitted, and expects that 2 of them would not have been.
func (d *driver) shadow(ctx context.Context) (row, error) {
	r := row{route: "/shadow", least: 5, most: 5}
	would := 0
	for range 5 {
		body, err := d.count(ctx, &r, get("/shadow", ""))
		if err != nil {
			return r, err
		}
		if strings.Contains(body, "true") {
			would++
		}
	}
	if would != 2 {
		r.failure = fmt.Sprintf("the shadow would have refused %d, not 2", would)
	}
	return r, nil
}

// awayFromEdge waits until no window ends within the next seconds: traffic across an edge meets two windows.
func awayFromEdge(ctx context.Context, edge time.Time) error {
	left := time.Until(edge)
	if left > 5*time.Second {
		return nil
	}
	select {
	case <-time.After(left + 10*time.Millisecond):
		return nil
	case <-ctx.Done():
		return errors.New("ended before the window did")
	}
}
