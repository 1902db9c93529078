package httpkit_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/halt-dev/halt/core/guard"
)

// shelf keeps what handlers give it.
type shelf struct {
	mu sync.Mutex
	of map[string]http.Header
}

// A crowd of users, over HTTP/1.1 and HTTP/2, each with a budget of its own: nobody's answer, header or verdict tells of
// another's, even where handlers write over the fields that they find, panic, or keep a header for long.
func TestCrowd(t *testing.T) {
	const users, each = 60, 5 // requests before the refusals
	w := newWorld(t)
	plan, all, user := perHour("plan", each), perHour("all", 9), framework.ByHeader("X-User")
	const policies = `"all";q=9;w=3600, "plan";q=5;w=3600`
	kept := &shelf{of: map[string]http.Header{}}
	attached := wrap(t, w.limiter, config{Attach: true, Rules: []rule{{Policy: plan, Key: user}}},
		http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { kept.scribble(t, rw.Header(), r) }))
	chain := wrap(t, w.limiter, config{Rules: []rule{{Policy: all, Key: user, Settle: guard.ChargeOn[*http.Request](200)}}}, attached)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		defer func() {
			if recover() != nil {
				rw.WriteHeader(http.StatusInternalServerError)
			}
		}()
		chain.ServeHTTP(rw, r)
	}))
	both := new(http.Protocols)
	both.SetHTTP1(true)
	both.SetUnencryptedHTTP2(true)
	server.Config.Protocols = both
	server.Start()
	defer server.Close()
	two := new(http.Protocols)
	two.SetUnencryptedHTTP2(true)
	clients := []*http.Client{{Transport: &http.Transport{}}, {Transport: &http.Transport{Protocols: two}}}

	var wg sync.WaitGroup
	for i := range users {
		name := fmt.Sprint(1000+i) + strings.Repeat("x", i%40)
		wg.Go(func() {
			for n := range each + 2 {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("X-User", name)
				res, err := clients[i%2].Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				_ = res.Body.Close()
				want, spent := http.StatusOK, n
				if len(name)%4 == 3 {
					want, spent = http.StatusInternalServerError, 0 // and "all" gets it back
				}
				seen := fmt.Sprintf(`"all";r=%d;t=3600, "plan";r=%d;t=3600 %s`, 8-spent, each-1-n, policies)
				if n >= each {
					want, seen = http.StatusTooManyRequests, ""
				}
				if res.ProtoMajor != 1+i%2 || res.StatusCode != want || res.Header.Get("X-Seen") != seen {
					t.Errorf("request %d of %s: %s %s, %s", n, name, res.Proto, res.Status, res.Header)
				}
				if l := res.Header["Ratelimit-Policy"]; l[0] != policies || want == 200 && len(name)%4 == 2 && !slices.Equal(l[1:], []string{name}) {
					t.Errorf("request %d of %s: %q", n, name, l)
				}
			}
		})
	}
	wg.Wait()
	for _, c := range clients {
		c.CloseIdleConnections()
	}
	kept.check(t, users*each, policies)
}

// scribble keeps a header as it is, and then does to it what a handler should not.
func (s *shelf) scribble(t *testing.T, h http.Header, r *http.Request) {
	t.Helper()
	name, limit := r.Header.Get("X-User"), h.Get("Ratelimit")
	for _, c := range guard.VerdictOf(r.Context()).Charges {
		if c.Key != "header:X-User="+name {
			t.Errorf("%s reads a verdict on %s", name, c.Key)
		}
	}
	s.mu.Lock()
	s.of[name+" "+strings.Clone(limit)] = h.Clone()
	s.mu.Unlock()
	h["X-Seen"] = []string{limit + " " + h.Get("Ratelimit-Policy")}
	switch len(name) % 4 {
	case 1:
		h["Ratelimit"][0] = name
	case 2:
		h["Ratelimit"] = append(h["Ratelimit"], name)
		h["Ratelimit-Policy"] = append(h["Ratelimit-Policy"], name)
	case 3:
		panic(name)
	}
}

// check finds out whether the headers are still as they were.
func (s *shelf) check(t *testing.T, n int, policies string) {
	t.Helper()
	if len(s.of) != n {
		t.Errorf("%d headers were kept, want %d", len(s.of), n)
	}
	for was, h := range s.of {
		if !strings.HasSuffix(was, " "+h.Get("Ratelimit")) || h.Get("Ratelimit-Policy") != policies {
			t.Errorf("the header of %s became %s", was, h)
		}
	}
}
