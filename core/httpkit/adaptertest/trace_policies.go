package adaptertest

import (
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
	"github.com/halt-dev/halt/core/httpkit"
)

// perMinute is the plainest of policies: a quota of a fixed window of one minute.
func perMinute(name string, limit int64) halt.Policy {
	return halt.Policy{Name: name, Algorithm: halt.FixedWindow, Limit: limit, Window: time.Minute}
}

// This file has what each kind of policy tells a client. A rule's key is the peer's address unless said otherwise.

func (w *world[R, M, H]) tokenBucket() chapter {
	p := halt.Policy{Name: "bucket", Limit: 5, Window: time.Minute}
	w.route("GET", "/bucket", w.Limit(w.limiter, p, w.ByIP()))
	return chapter{"Token bucket, 5 a minute, mounted with Limit: one comes back every 12 s", []step{
		get("/bucket").because("t is until the bucket is full again."),
		get("/bucket").x(4),
		get("/bucket").x(2).because("Empty. The next token is 12 s away."),
		get("/bucket").later(4500 * time.Millisecond).because("7.5 s away, rounded up."),
		get("/bucket").later(7499 * time.Millisecond).because("1 ms away."),
		get("/bucket").later(time.Millisecond).because("There it is, and gone."),
		get("/bucket"),
		get("/bucket").later(time.Hour).because("Full again, less this one."),
	}}
}

func (w *world[R, M, H]) burst() chapter {
	p := halt.Policy{Name: "burst", Limit: 2, Window: 10 * time.Second, Burst: 4}
	w.route("GET", "/burst", w.Limit(w.limiter, p, w.ByIP()))
	return chapter{"Token bucket, 2 per 10 s with a burst of 4: q is the limit, r what can be spent now", []step{
		get("/burst").x(4),
		get("/burst").because("One comes back every 5 s."),
		get("/burst").later(10 * time.Second).because("Two came back."),
	}}
}

func (w *world[R, M, H]) fixedWindow() chapter {
	w.route("GET", "/fixed", w.Limit(w.limiter, perMinute("fixed", 3), w.ByIP()))
	return chapter{"Fixed window, 3 a minute, aligned to the clock's minutes", []step{
		get("/fixed").later(42 * time.Second).because("The minute ends in 18 s."),
		get("/fixed").x(2),
		get("/fixed"),
		get("/fixed").later(17 * time.Second),
		get("/fixed").later(time.Second).because("A new minute."),
	}}
}

func (w *world[R, M, H]) slidingWindow() chapter {
	p := halt.Policy{Name: "sliding", Algorithm: halt.SlidingWindow, Limit: 3, Window: 10 * time.Second, Precision: 5}
	w.route("GET", "/sliding", w.Limit(w.limiter, p, w.ByIP()))
	return chapter{"Sliding window, 3 per 10 s in 5 sub-windows of 2 s: what is spent in one counts for its rest and 5 more", []step{
		get("/sliding").because("Spent in 0..2 s, counted until 12 s."),
		get("/sliding").later(4 * time.Second).because("Spent in 4..6 s, counted until 16 s."),
		get("/sliding"),
		get("/sliding").because("The first is let go of at 12 s: in 8 s."),
		get("/sliding").later(7999 * time.Millisecond),
		get("/sliding").later(time.Millisecond).because("At 12 s. Spent in 12..14 s, counted until 24 s."),
		get("/sliding").because("The other two are let go of at 16 s."),
	}}
}

func (w *world[R, M, H]) leakyBucket() chapter {
	p := halt.Policy{Name: "queue", Algorithm: halt.LeakyBucket, Limit: 200, Window: time.Second, Burst: 2}
	none := halt.Policy{Name: "turnstile", Algorithm: halt.LeakyBucket, Limit: 10, Window: time.Second, Burst: -1}
	w.route("GET", "/queue", w.Limit(w.limiter, p, w.ByIP()))
	w.route("GET", "/turnstile", w.Limit(w.limiter, none, w.ByIP()))
	return chapter{"Leaky bucket, 200 a second, of which 2 may wait: one may go every 5 ms", []step{
		get("/queue").because("Its turn is now."),
		get("/queue").taking(5 * time.Millisecond).because("It waits 5 ms."),
		get("/queue").taking(10 * time.Millisecond).because("It waits 10 ms."),
		get("/queue").because("Two wait already. One leaves in 5 ms."),
		get("/queue").later(5 * time.Millisecond).taking(10 * time.Millisecond).because("It left."),
		get("/turnstile").because("10 a second, and nobody may wait."),
		get("/turnstile"),
		get("/turnstile").later(100 * time.Millisecond),
	}}
}

func (w *world[R, M, H]) calendar() chapter {
	month := halt.Policy{Name: "monthly", Algorithm: halt.FixedWindow, Limit: 3, Period: halt.Period{Unit: halt.Month}}
	w.route("GET", "/monthly", w.Limit(w.limiter, month, w.ByIP()))
	day := halt.Policy{Name: "daily", Algorithm: halt.FixedWindow, Limit: 100, Period: halt.Period{Unit: halt.Day}}
	w.route("GET", "/daily", w.Limit(w.limiter, day, w.ByIP()))
	return chapter{"Calendar quotas: a period has no length to tell as w", []step{
		get("/daily").because("At 07:00, 17 h to midnight."),
		get("/monthly").because("It is the 30th of January: a day and 17 h to go."),
		get("/monthly").x(2),
		get("/monthly"),
		get("/monthly").later(40*time.Hour + 59*time.Minute).because("A minute to go."),
		get("/monthly").later(time.Minute).because("February, of 28 days."),
		get("/daily"),
	}}
}

func (w *world[R, M, H]) subSecond() chapter {
	p := halt.Policy{Name: "blink", Algorithm: halt.FixedWindow, Limit: 2, Window: 500 * time.Millisecond}
	w.route("GET", "/blink", w.Limit(w.limiter, p, w.ByIP()))
	odd := halt.Policy{Name: "odd", Algorithm: halt.FixedWindow, Limit: 9, Window: 1500 * time.Millisecond}
	w.route("GET", "/odd", w.Limit(w.limiter, odd, w.ByIP()))
	return chapter{"Windows that are no whole seconds: below one no w, above it rounded up", []step{
		get("/blink").x(2),
		get("/blink").because("In half a second: rounded up."),
		get("/blink").later(500 * time.Millisecond),
		get("/odd").because("The window has a second left."),
	}}
}

func (w *world[R, M, H]) block() chapter {
	p := perMinute("blocking", 2)
	p.Block = 5 * time.Minute
	w.route("GET", "/block", w.Limit(w.limiter, p, w.ByIP()))
	return chapter{"Block, 2 a minute: who asks for more is refused for 5 minutes", []step{
		get("/block").x(2),
		get("/block").because("The block begins."),
		get("/block").later(2 * time.Minute).because("The minute is over, the block isn't."),
		get("/block").later(3*time.Minute - time.Millisecond).because("Refusals did not extend it."),
		get("/block").later(time.Millisecond),
	}}
}

func (w *world[R, M, H]) legacy() chapter {
	c := httpkit.Config[R, H]{Headers: httpkit.Legacy, Rules: []guard.Rule[R]{
		{Policy: perMinute("legacy-user", 3), Key: w.ByHeader("X-User")},
		{Policy: perMinute("legacy-all", 4), Key: w.Everyone()},
	}}
	w.route("GET", "/legacy", w.middleware(c))
	return chapter{"Headers: Legacy tells the budget with the least remaining, and its reset in Unix time", []step{
		get("/legacy", "X-User: ann").because("ann has 2 of 3 left, all together 3 of 4."),
		get("/legacy", "X-User: ann"),
		get("/legacy", "X-User: bob").because("bob has 2, all together 1."),
		get("/legacy", "X-User: ann").because("ann has none left, as all together; ann's comes first."),
		get("/legacy", "X-User: bob").because("bob has 2, all together none."),
	}}
}

func (w *world[R, M, H]) legacyChain() chapter {
	mw := func(p halt.Policy) M {
		return w.middleware(httpkit.Config[R, H]{Headers: httpkit.Legacy, Rules: []guard.Rule[R]{{Policy: p, Key: w.ByHeader("X-User")}}})
	}
	wide, narrow := mw(perMinute("legacy-wide", 9)), mw(perMinute("legacy-narrow", 2))
	w.route("GET", "/legacy/wide-narrow", wide, narrow)
	w.route("GET", "/legacy/narrow-wide", narrow, wide)
	return chapter{"Headers: Legacy in a chain, the tighter stays whichever comes first", []step{
		get("/legacy/wide-narrow", "X-User: ann"),
		get("/legacy/narrow-wide", "X-User: ann"),
		get("/legacy/narrow-wide", "X-User: ann").because("The inner one is not asked."),
	}}
}

func (w *world[R, M, H]) noHeaders() chapter {
	c := httpkit.Config[R, H]{Headers: httpkit.NoHeaders, Rules: []guard.Rule[R]{{Policy: perMinute("quiet", 1), Key: w.ByIP()}}}
	w.route("GET", "/quiet", w.middleware(c))
	return chapter{"Headers: NoHeaders leaves Retry-After", []step{get("/quiet").x(2)}}
}
