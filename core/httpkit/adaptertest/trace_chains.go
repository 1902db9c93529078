package adaptertest

import (
	"fmt"
	"net/http"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
	"github.com/halt-dev/halt/core/httpkit"
)

// This file has chains of middlewares, policies that are found per request, and all that fails.

// attached makes a middleware of one rule that attaches its verdict.
func (w *world[R, M, H]) attached(p halt.Policy) M {
	return w.middleware(httpkit.Config[R, H]{Attach: true, Rules: []guard.Rule[R]{{Policy: p, Key: w.ByHeader("X-User")}}})
}

func (w *world[R, M, H]) chain() chapter {
	w.routeTo(w.verdict, "GET", "/chain", w.attached(perMinute("outer", 4)), w.rules(guard.Rule[R]{
		Policy: perMinute("middle", 9), Key: w.ByHeader("X-User"),
	}), w.attached(perMinute("inner", 2)))
	return chapter{"Three middlewares in a chain: one list, outermost first; the tighter decides; those with Attach tell the handler", []step{
		get("/chain", "X-User: ann").x(2),
		get("/chain", "X-User: ann").because("The inner refuses. The others had spent by then."),
		get("/chain", "X-User: ann"),
		get("/chain", "X-User: ann").because("The outer refuses, and asks no further."),
		get("/chain"),
	}}
}

func (w *world[R, M, H]) chainOfOne() chapter {
	w.routeTo(w.verdict, "GET", "/chain/one", w.attached(perMinute("one", 9)), w.attached(perMinute("two", 9)), w.attached(halt.Policy{
		Name: "one", Limit: 3, Window: 10 * time.Second,
	}))
	none := w.middleware(httpkit.Config[R, H]{Rules: []guard.Rule[R]{{Policy: perMinute("unattached", 9), Key: w.ByIP()}}})
	w.routeTo(w.verdict, "GET", "/chain/unattached", none)
	return chapter{"A policy of the same name further in replaces the outer one's item", []step{
		get("/chain/one", "X-User: ann").x(3),
		get("/chain/one", "X-User: ann"),
		get("/chain/unattached").because("Without Attach there is no verdict."),
	}}
}

func (w *world[R, M, H]) plans() chapter {
	rules := []guard.Rule[R]{
		{Policy: perMinute("all-plans", 99), Key: w.ByIP()},
		{Resolve: w.plan, Key: w.ByHeader("X-User")},
	}
	w.route("GET", "/plan", w.middleware(httpkit.Config[R, H]{Rules: rules, ResolveTimeout: 100 * time.Millisecond}))
	return chapter{"Resolve: the policy of the user's plan, beside a fixed one. A resolver that fails spoils only its own rule", []step{
		get("/plan", "X-User: ann", "X-Plan: free").x(2),
		get("/plan", "X-User: ann", "X-Plan: free"),
		get("/plan", "X-User: ann", "X-Plan: pro").because("An upgrade keeps what was spent."),
		get("/plan", "X-User: ann", "X-Plan: pro"),
		get("/plan", "X-User: ann", "X-Plan: pro"),
		get("/plan", "X-User: bob", "X-Plan: internal").because("Unlimited: nothing to tell."),
		get("/plan", "X-User: cyd").because("The database is down."),
		get("/plan", "X-User: cyd", "X-Plan: panic"),
		get("/plan", "X-User: cyd", "X-Plan: slow").because("It outlasts ResolveTimeout."),
		get("/plan", "X-User: cyd", "X-Plan: typo").because("No valid policy."),
		get("/plan", "X-User: cyd", "X-Plan: none").because("No policy at all."),
		get("/plan", "X-User: cyd", "X-Plan: free").because("The next request is served."),
		get("/plan", "X-Plan: free").because("No key: the database isn't asked."),
	}}
}

func (w *world[R, M, H]) plansFailClosed() chapter {
	rules := []guard.Rule[R]{
		{Policy: perMinute("all-plans", 99), Key: w.ByIP()},
		{Resolve: w.plan, Key: w.ByHeader("X-User")},
	}
	w.route("GET", "/plan/closed", w.middleware(httpkit.Config[R, H]{Rules: rules, ResolveTimeout: 100 * time.Millisecond, FailClosed: true}))
	return chapter{"Resolve with FailClosed: 503, and nothing is spent", []step{
		get("/plan/closed", "X-User: cyd"),
		get("/plan/closed", "X-User: cyd", "X-Plan: panic"),
		get("/plan/closed", "X-User: cyd", "X-Plan: slow"),
		get("/plan/closed", "X-User: cyd", "X-Plan: typo"),
		get("/plan/closed", "X-User: cyd", "X-Plan: none"),
		get("/plan/closed", "X-User: bob", "X-Plan: internal").because("Not a failure."),
		get("/plan/closed", "X-User: ann", "X-Plan: pro"),
	}}
}

func (w *world[R, M, H]) failures() chapter {
	panics := w.By("user", func(R) string { panic(secret + " of a key") })
	rules := []guard.Rule[R]{
		{Policy: perMinute("unlucky", 9), Key: panics},
		{Policy: perMinute("lucky", 9), Key: w.ByIP()},
	}
	w.route("GET", "/key-panics", w.rules(rules...))
	w.route("GET", "/key-panics/closed", w.middleware(httpkit.Config[R, H]{Rules: rules, FailClosed: true}))
	return chapter{"A key's function that panics", []step{
		get("/key-panics").because("Its rule is skipped."),
		get("/key-panics/closed"),
	}}
}

func (w *world[R, M, H]) storeDown() chapter {
	down := []guard.Rule[R]{{Policy: perMinute("down", 9), Key: w.ByIP()}}
	up := w.rules(guard.Rule[R]{Policy: perMinute("up", 2), Key: w.ByHeader("X-User")})
	settled := []guard.Rule[R]{{Policy: perMinute("down", 9), Key: w.ByIP(), Settle: w.ChargeOn(401)}}
	closed := w.middleware(httpkit.Config[R, H]{Rules: down, FailClosed: true})
	w.routeTo(w.verdict, "GET", "/down/open", w.middleware(httpkit.Config[R, H]{Rules: down, Attach: true}))
	w.route("GET", "/down/settled", w.rules(settled...))
	w.route("GET", "/down/closed", closed)
	w.route("GET", "/down/chain", up, w.rules(down...))
	w.route("GET", "/down/chain/closed", up, closed)
	return chapter{"The store is down: by default that admits, with FailClosed it refuses with 503", []step{
		get("/down/open").x(2).because("Nothing was decided, so there is nothing to tell."),
		get("/down/settled", "X-Reply: 401").because("Nor to settle."),
		get("/down/closed").x(2),
		get("/down/chain", "X-User: ann").because("A middleware on a store that works has told before."),
		get("/down/chain/closed", "X-User: ann"),
		get("/down/chain/closed", "X-User: ann").because("The working one refuses first."),
	}}
}

func (w *world[R, M, H]) onDenied() chapter {
	custom := w.OnDenied(func(r R, d guard.Denial) Reply {
		p := Text(http.StatusPaymentRequired, fmt.Sprintf("%s, user %q, status %d: policy %q with a block of %v, violated %q, retry after %v, %d s\n",
			d.Reason, w.Header(r, "X-User"), d.Status(), d.Policy.Name, d.Policy.Block, d.Violated, d.RetryAfter, d.RetrySeconds()))
		p.Fields = append(p.Fields, [2]string{"X-Custom", "yes"})
		return p
	})
	p := perMinute("custom", 1)
	p.Block = 2 * time.Minute
	w.route("GET", "/denied", w.middleware(httpkit.Config[R, H]{OnDenied: custom, Rules: []guard.Rule[R]{
		{Policy: perMinute("custom-all", 2), Key: w.ByIP()}, {Policy: p, Key: w.ByHeader("X-User")},
	}}))
	w.route("GET", "/denied/closed", w.middleware(httpkit.Config[R, H]{OnDenied: custom, FailClosed: true, Rules: []guard.Rule[R]{
		{Policy: perMinute("down-custom", 1), Key: w.ByHeader("X-User")},
	}}))
	fails := w.OnDenied(func(R, guard.Denial) Reply { return ErrorReply(http.StatusTeapot) })
	w.route("GET", "/denied/error", w.middleware(httpkit.Config[R, H]{OnDenied: fails, Rules: []guard.Rule[R]{
		{Policy: perMinute("custom-error", 1), Key: w.ByIP()},
	}}))
	panics := w.OnDenied(func(R, guard.Denial) Reply { panic(secret + " of an OnDenied") })
	w.route("GET", "/denied/panic", w.middleware(httpkit.Config[R, H]{OnDenied: panics, Rules: []guard.Rule[R]{
		{Policy: perMinute("custom-panic", 1), Key: w.ByIP()},
	}}))
	return chapter{"OnDenied answers in place of the problem; the header fields are set before", []step{
		get("/denied", "X-User: ann"),
		get("/denied", "X-User: ann"),
		get("/denied", "X-User: bob"),
		get("/denied", "X-User: ann").because("Both refuse: the one that does for longest is told."),
		get("/denied"),
		get("/denied/closed", "X-User: ann"),
		get("/denied/error").x(2).because("It may return an error."),
		get("/denied/panic").x(2),
	}}
}

func (w *world[R, M, H]) methods() chapter {
	mw := w.Limit(w.limiter, perMinute("methods", 3), w.ByHeader("X-User"))
	for _, m := range []string{"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"} {
		w.route(m, "/methods", mw)
	}
	ann := get("/methods", "X-User: ann")
	return chapter{"Methods: all count alike, and the answer to HEAD has no body", []step{
		ann.as("HEAD"), ann.as("OPTIONS"), ann.as("PUT"),
		ann.as("HEAD"), ann.as("OPTIONS"), ann.as("PATCH"), ann.as("DELETE"), ann.as("POST"), ann,
		get("/methods").as("HEAD").because("No key."),
		get("/methods").as("OPTIONS"),
	}}
}

func (w *world[R, M, H]) bodies() chapter {
	w.route("POST", "/upload", w.Limit(w.limiter, perMinute("upload", 1), w.ByIP()))
	most := halt.Policy{Name: "most", Algorithm: halt.FixedWindow, Limit: 1<<52 - 1, Window: time.Hour}
	w.route("GET", "/most", w.Limit(w.limiter, most, w.ByIP()))
	body := string(make([]byte, 100_000))
	return chapter{"Bodies that nobody reads; the next request on the connection is served. And figures too large for the fields", []step{
		post("/upload", body), post("/upload", body), get("/most"),
	}}
}

func (w *world[R, M, H]) wholeSite() chapter {
	w.route("GET", "/site", w.Limit(w.limiter, perMinute("part", 9), w.ByIP()))
	return chapter{"A middleware around the whole site, 2 a minute", []step{
		get("/site", "X-Site-Cost: 1"),
		get("/nowhere", "X-Site-Cost: 1").because("What matches no route counts too,"),
		get("/nowhere", "X-Site-Cost: 1").because("and is refused."),
		get("/site", "X-Site-Cost: 1"),
		get("/nowhere"),
		get("/site"),
	}}
}
