package adaptertest

import (
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
	"github.com/halt-dev/halt/core/httpkit"
)

// This file has what a rule can be, and what several rules are together.

func (w *world[R, M, H]) costs() chapter {
	ten := guard.Rule[R]{Policy: perMinute("cost", 10), Key: w.ByHeader("X-User"), Cost: w.costOf("X-Cost")}
	w.route("GET", "/cost", w.rules(ten))
	closed := ten
	closed.Policy.Name = "cost-closed"
	w.route("GET", "/cost/closed", w.middleware(httpkit.Config[R, H]{Rules: []guard.Rule[R]{closed}, FailClosed: true}))
	bucket := ten
	bucket.Policy = halt.Policy{Name: "cost-bucket", Limit: 10, Window: time.Minute, Burst: 4, Block: time.Minute}
	w.route("GET", "/cost/bucket", w.rules(bucket))
	return chapter{"Cost, 10 a minute", []step{
		get("/cost", "X-User: ann", "X-Cost: 3").x(3),
		get("/cost", "X-User: ann", "X-Cost: 3").because("1 remains, which is too little."),
		get("/cost", "X-User: ann", "X-Cost: 1").because("A refusal spends nothing."),
		get("/cost", "X-User: ann", "X-Cost: 0").because("At 0 the rule doesn't apply."),
		get("/cost", "X-Cost: 0").because("Then no key is asked for either."),
		get("/cost", "X-Cost: 1"),
		get("/cost", "X-User: bob", "X-Cost: 11").because("It can never fit: no Retry-After, no t."),
		get("/cost", "X-User: bob", "X-Cost: 10"),
		get("/cost", "X-User: cyd", "X-Cost: -1").because("Negative: refused, though failing open, since it may be the client's own figure."),
		get("/cost", "X-User: cyd", "X-Cost: some").because("If the function panics, the rule is skipped."),
		get("/cost/closed", "X-User: cyd", "X-Cost: -1").because("With FailClosed, the request is refused instead."),
		get("/cost/closed", "X-User: cyd", "X-Cost: some"),
		get("/cost/closed", "X-User: cyd", "X-Cost: 1"),
		get("/cost/bucket", "X-User: ann", "X-Cost: 5").because("More than the burst never fits, and doesn't block."),
		get("/cost/bucket", "X-User: ann", "X-Cost: 4"),
	}}
}

func (w *world[R, M, H]) shadow() chapter {
	c := httpkit.Config[R, H]{Attach: true, Rules: []guard.Rule[R]{
		{Policy: perMinute("stricter", 1), Key: w.ByHeader("X-User"), Shadow: true},
		{Policy: perMinute("real", 3), Key: w.ByIP()},
	}}
	w.routeTo(w.verdict, "GET", "/shadow", w.middleware(c))
	queue := halt.Policy{Name: "slow-queue", Algorithm: halt.LeakyBucket, Limit: 1, Window: time.Hour}
	w.route("GET", "/shadow/only", w.rules(guard.Rule[R]{Policy: queue, Key: w.ByIP(), Shadow: true}))
	return chapter{"Shadow: decided for those who observe, shown to nobody else", []step{
		get("/shadow", "X-User: ann"),
		get("/shadow", "X-User: ann").because("The shadow rule would refuse this."),
		get("/shadow").because("It has no key for this one, and is skipped."),
		get("/shadow", "X-User: ann").because("The real rule refuses."),
		get("/shadow/only").x(3).because("It delays nobody, even if it would by an hour."),
	}}
}

func (w *world[R, M, H]) failedLogins() chapter {
	p := halt.Policy{Name: "login", Algorithm: halt.SlidingWindow, Limit: 5, Window: time.Minute, Block: 5 * time.Minute}
	account := w.By("account", func(r R) string { return w.Header(r, "X-Account") })
	mw := w.rules(guard.Rule[R]{Policy: p, Key: w.ByIP().And(account), Settle: w.ChargeOn(401)})
	w.route("POST", "/login", mw)
	ann := func(fields ...string) step {
		return post("/login", "password=guess", append([]string{"X-Account: ann"}, fields...)...)
	}
	return chapter{"Settle, ChargeOn(401): 5 failed logins a minute, then a block of 5 minutes. Headers tell what was reserved", []step{
		ann().x(2).because("Good ones are given back."),
		ann("X-Reply: 401"),
		ann("X-Fail: 401").because("A returned error counts as its status."),
		ann("X-Reply: 401").x(2),
		ann("X-Reply: 403").because("Another failure is not counted."),
		ann("X-Reply: 401").because("The fifth spends the last of the budget: the block begins."),
		ann().because("Blocked, whatever the password is."),
		post("/login", "password=guess", "X-Account: bob").because("Another account is not."),
		ann().later(5*time.Minute - time.Second),
		ann("X-Reply: 401").later(time.Second),
		ann(),
	}}
}

func (w *world[R, M, H]) settle() chapter {
	rule := func(name string, limit int64, settle func(R, guard.Outcome) int64) guard.Rule[R] {
		return guard.Rule[R]{Policy: perMinute(name, limit), Key: w.ByIP(), Settle: settle}
	}
	w.route("GET", "/settle/panic", w.rules(rule("crashes", 2, w.ChargeOn(500))))
	w.route("GET", "/settle/200", w.rules(rule("successes", 2, w.ChargeOn(200))))
	actual := w.costOf("X-Actual")
	bytes := rule("bytes", 100, func(r R, o guard.Outcome) int64 {
		if w.Header(r, "X-Actual") == "" {
			return o.Reserved
		}
		return actual(r)
	})
	bytes.Cost = func(R) int64 { return 10 }
	w.route("GET", "/settle/bytes", w.rules(bytes))
	return chapter{"Settle: the true cost", []step{
		get("/settle/panic").because("No crash."),
		get("/settle/panic", "X-Panic: yes").x(2).because("A panic settles as a 500."),
		get("/settle/panic"),
		get("/settle/200", "X-Reply: 204").because("Given back."),
		get("/settle/200", "X-Silent: yes").because("A handler that writes nothing answers 200."),
		get("/settle/200"),
		get("/settle/200"),
		get("/settle/bytes").because("10 of 100 are reserved, and that was right."),
		get("/settle/bytes", "X-Actual: 3").because("7 are given back,"),
		get("/settle/bytes", "X-Actual: 0").because("as the 10 of this one."),
		get("/settle/bytes", "X-Actual: 82").because("13 are spent. 82 were needed, of which 72 were not reserved,"),
		get("/settle/bytes").because("so 5 remain: too little to reserve 10."),
		get("/settle/bytes", "X-Actual: 500").later(time.Minute).because("It is spent even if it doesn't fit."),
		get("/settle/bytes"),
		get("/settle/bytes", "X-Actual: -1").later(time.Minute).because("Less than nothing is an error, and the reservation stands."),
		get("/settle/bytes", "X-Actual: some").because("So if the function panics."),
		get("/settle/bytes"),
	}}
}

func (w *world[R, M, H]) inFlight() chapter {
	two := halt.Policy{Name: "at-once", Algorithm: halt.InFlight, Limit: 2, Window: time.Minute}
	w.route("GET", "/inflight", w.rules(
		guard.Rule[R]{Policy: two, Key: w.ByHeader("X-User")},
		guard.Rule[R]{Policy: perMinute("inflight-rate", 9), Key: w.ByHeader("X-User")},
	))
	const ann = "X-User: ann"
	return chapter{"In flight, 2 at once, with a rate of 9 a minute: it has no figures to show, only refusals", []step{
		get("/inflight", ann).held("a"),
		get("/inflight", ann).held("b"),
		get("/inflight", ann).because("Two are inside. The rate is as it was."),
		get("/inflight", "X-User: bob").because("Another's."),
		release("a"),
		get("/inflight", ann).because("There is a place again, and its holder has left with the answer."),
		get("/inflight", ann, "X-Panic: yes").because("A panic gives its place back,"),
		get("/inflight", ann, "X-Fail: 418").because("an error too,"),
		get("/inflight", ann).held("c"),
		get("/inflight", ann).because("or this would not be the first that is refused."),
		release("c"),
		release("b"),
		get("/inflight", ann),
	}}
}

func (w *world[R, M, H]) severalRules() chapter {
	w.route("GET", "/several", w.middleware(httpkit.Config[R, H]{Attach: true, Rules: []guard.Rule[R]{
		{Policy: perMinute("several-all", 4), Key: w.Everyone()},
		{Policy: halt.Policy{Name: "several-user", Algorithm: halt.FixedWindow, Limit: 2, Window: 30 * time.Second}, Key: w.ByHeader("X-User")},
		{Policy: halt.Policy{Name: "several-day", Algorithm: halt.FixedWindow, Limit: 3, Window: 24 * time.Hour}, Key: w.ByHeader("X-User")},
	}}))
	return chapter{"Several rules are one call: all spend, or none. A key that all share comes last in the lists", []step{
		get("/several", "X-User: ann").x(2),
		get("/several", "X-User: ann").because("Refused by one: the others keep theirs."),
		get("/several", "X-User: bob").x(2),
		get("/several", "X-User: cyd").because("The one that all share refuses."),
		get("/several", "X-User: ann").because("Two refuse: each tells its own time, Retry-After the longest."),
		get("/several", "X-User: ann").later(time.Minute),
		get("/several", "X-User: ann").because("The day's quota is spent: nothing before midnight."),
		get("/several").because("Lacks a key of one rule."),
	}}
}

func (w *world[R, M, H]) sameBudget() chapter {
	p := perMinute("shared", 10)
	w.route("GET", "/same/merged", w.rules(
		guard.Rule[R]{Policy: p, Key: w.ByHeader("X-User")},
		guard.Rule[R]{Policy: p, Key: w.ByHeader("X-User"), Cost: w.costOf("X-Cost")},
	))
	resolved := guard.Rule[R]{Resolve: w.plan, Key: w.ByHeader("X-User")}
	bucket := guard.Rule[R]{Policy: halt.Policy{Name: "plan", Limit: 9, Window: time.Minute}, Key: w.ByHeader("X-User")}
	w.route("GET", "/same/unequal", w.rules(bucket, resolved))
	w.route("GET", "/same/unequal/reversed", w.rules(resolved, bucket))
	closed := httpkit.Config[R, H]{Rules: []guard.Rule[R]{bucket, resolved}, FailClosed: true}
	w.route("GET", "/same/unequal/closed", w.middleware(closed))
	fixed := guard.Rule[R]{Policy: perMinute("plan", 9), Key: w.ByHeader("X-User")}
	w.route("GET", "/same/apart", w.rules(fixed, resolved))
	return chapter{"Two rules that meet on one budget", []step{
		get("/same/merged", "X-User: ann", "X-Cost: 3").because("1 and 3 are 4."),
		get("/same/merged", "X-User: ann").because("Only the first rule applies."),
		get("/same/merged", "X-User: ann", "X-Cost: 5").because("5 remain, 6 are too many."),
		get("/same/unequal", "X-User: dan", "X-Plan: free").because("The plan is of another limit: the rule that resolved it is skipped."),
		get("/same/unequal/reversed", "X-User: dan", "X-Plan: free").because("Whichever comes first."),
		get("/same/unequal/closed", "X-User: dan", "X-Plan: free").because("With FailClosed it is a failure."),
		get("/same/apart", "X-User: eve", "X-Plan: free").because("A bucket and a window: of one name, but not on one budget. The item is that of the tighter."),
	}}
}
