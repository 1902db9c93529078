package adaptertest

import (
	"net/netip"

	"github.com/halt-dev/halt/core/guard"
	"github.com/halt-dev/halt/core/httpkit"
)

// loopback is trusted where a chapter needs a proxy: the suite's own client is the only peer there is.
var loopback = netip.MustParsePrefix("127.0.0.0/8")

// This file has what tells whose budget a request draws on.

func (w *world[R, M, H]) peerAddress() chapter {
	w.route("GET", "/peer", w.rules(guard.Rule[R]{Policy: perMinute("peer", 2), Key: w.ByIP()}))
	return chapter{"ByIP without trusted proxies: the peer's address, whatever a client claims", []step{
		get("/peer", "X-Forwarded-For: 203.0.113.1"),
		get("/peer", "X-Forwarded-For: 203.0.113.2", "X-Real-IP: 203.0.113.3", "True-Client-IP: 203.0.113.4"),
		get("/peer", "X-Forwarded-For: 203.0.113.5", "Forwarded: for=203.0.113.6").because("One budget for all of these."),
		get("/peer", "X-Forwarded-For: nonsense").because("Nobody reads that."),
	}}
}

func (w *world[R, M, H]) proxies() chapter {
	trusted := w.ByIP(loopback, netip.MustParsePrefix("10.0.0.0/8"))
	w.route("GET", "/proxied", w.rules(guard.Rule[R]{Policy: perMinute("proxied", 1), Key: trusted}))
	xff := func(addrs string) step { return get("/proxied", "X-Forwarded-For: "+addrs) }
	return chapter{"ByIP behind trusted proxies: the right-most address that is not theirs. 1 a minute each", []step{
		xff("203.0.113.1"),
		xff("203.0.113.1").because("The same client."),
		xff("203.0.113.2").because("Another."),
		xff("198.51.100.9, 203.0.113.1").because("What stands further left is the client's own claim."),
		xff("203.0.113.1, 10.1.2.3").because("Behind two of ours."),
		xff("203.0.113.1:4711").because("With a port."),
		xff("::ffff:203.0.113.1").because("In IPv6 form."),
		get("/proxied", "X-Forwarded-For: 198.51.100.9", "X-Forwarded-For: 203.0.113.1").because("Two lines are one list."),
		get("/proxied", "X-Forwarded-For: 203.0.113.1", "X-Forwarded-For: 198.51.100.7, 10.9.9.9").because("A client that wasn't here."),
		xff("203.0.113.1, ,").because("Empty elements don't count."),
		xff("2001:db8:1:2:3:4:5:6").because("IPv6 counts by its /64."),
		xff("2001:db8:1:2:ffff::1").because("The same /64."),
		xff("[2001:db8:1:2::1]:443").because("The same, with a port."),
		xff("[2001:db8:1:2::1]").because("The same, in brackets."),
		xff("2001:db8:1:3::1").because("The next /64."),
		xff("203.0.113.8, unknown").because("The hop that decides is no address: no key, not a shared one."),
		xff("203.0.113.8, <script>"),
		xff("203.0.113.8, 10.1.2").because("Not quite an address."),
		xff("unknown, 203.0.113.8").because("Garbage that doesn't decide."),
		xff("10.7.7.7, 10.1.2.3").because("All are ours: the farthest is the client."),
		xff("10.7.7.7, 10.1.2.4"),
		get("/proxied").because("Nobody was forwarded for: the proxy itself is the client."),
		get("/proxied", "X-Real-IP: 203.0.113.9", "Forwarded: for=203.0.113.9").because("These fields are never read."),
	}}
}

func (w *world[R, M, H]) credentials() chapter {
	w.route("GET", "/apikey", w.rules(guard.Rule[R]{Policy: perMinute("apikey", 1), Key: w.ByAPIKey("x-api-key")}))
	w.route("GET", "/tenant", w.rules(guard.Rule[R]{Policy: perMinute("tenant", 1), Key: w.ByHeader("X-Tenant")}))
	w.route("GET", "/user", w.rules(guard.Rule[R]{Policy: perMinute("user", 1), Key: w.By("user", func(r R) string { return w.Header(r, "X-User") })}))
	return chapter{"ByAPIKey, ByHeader and By: 1 a minute each, and no key is no admission", []step{
		get("/apikey", "X-API-Key: k-1").x(2),
		get("/apikey", "X-Api-Key: k-2"),
		get("/apikey").because("Dropping one's key leads nowhere."),
		get("/apikey", "X-API-Key:"),
		get("/tenant", "X-Tenant: acme"),
		get("/tenant", "x-tenant:   acme").because("Names of fields have no case, and values no space before them."),
		get("/tenant", "X-Tenant: Acme").because("Values have a case."),
		get("/tenant"),
		get("/user", "X-User: ann").x(2),
		get("/user"),
	}}
}

func (w *world[R, M, H]) combinedKeys() chapter {
	or := w.ByAPIKey("X-API-Key").Or(w.ByIP(loopback))
	and := w.ByHeader("X-User").And(w.ByHeader("X-Device"))
	w.route("GET", "/or", w.rules(guard.Rule[R]{Policy: perMinute("or", 1), Key: or}))
	w.route("GET", "/and", w.rules(guard.Rule[R]{Policy: perMinute("and", 1), Key: and}))
	return chapter{"Or and And: 1 a minute each", []step{
		get("/or", "X-API-Key: 203.0.113.1"),
		get("/or", "X-Forwarded-For: 203.0.113.1").because("The same text as another kind of key is another's."),
		get("/or", "X-Forwarded-For: 203.0.113.1"),
		get("/or", "X-API-Key: 203.0.113.1"),
		get("/or", "X-Forwarded-For: unknown").because("Neither."),
		get("/and", "X-User: a", "X-Device: b").x(2),
		get("/and", "X-User: a", "X-Device: c").because("Another pair."),
		get("/and", "X-User: a&12:header:X-Device=b", "X-Device: b").because("No value reaches into another pair."),
		get("/and", "X-User: a").because("Half a pair is none."),
		get("/and", "X-Device: b"),
	}}
}

func (w *world[R, M, H]) everyone() chapter {
	w.route("GET", "/everyone", w.rules(guard.Rule[R]{Policy: perMinute("everyone", 2), Key: w.Everyone()}))
	return chapter{"Everyone: one budget for all", []step{
		get("/everyone", "X-User: ann"), get("/everyone", "X-User: bob"), get("/everyone", "X-User: cyd"),
	}}
}

func (w *world[R, M, H]) byRoute() chapter {
	mw := w.rules(guard.Rule[R]{Policy: perMinute("route", 2), Key: w.ByRoute().And(w.ByIP())})
	w.route("GET", "/route/items/{id}", mw)
	w.route("DELETE", "/route/items/{id}", mw)
	w.route("GET", "/route/other", mw)
	return chapter{"ByRoute: a budget for each method and pattern, not for each path", []step{
		get("/route/items/1"), get("/route/items/2"), get("/route/items/3"),
		get("/route/items/3").as("DELETE"),
		get("/route/other"),
	}}
}

func (w *world[R, M, H]) exempt() chapter {
	c := httpkit.Config[R, H]{
		Rules:  []guard.Rule[R]{{Policy: perMinute("exempting", 1), Key: w.ByHeader("X-User")}},
		Exempt: w.Paths("/exempt/health", "/exempt/static/*"),
	}
	mw := w.middleware(c)
	for _, path := range []string{"/exempt/health", "/exempt/healthy", "/exempt/static/{name}", "/exempt/api"} {
		w.route("GET", path, mw)
	}
	panics := c
	panics.Exempt = func(r R) bool { panic(secret + " of an Exempt") }
	w.route("GET", "/exempt/panic", w.middleware(panics))
	return chapter{"Exempt, Paths: nothing is asked, not even whose request it is", []step{
		get("/exempt/health").x(2),
		get("/exempt/static/logo.svg"),
		get("/exempt/api", "X-User: ann").because("This one counts."),
		get("/exempt/healthy", "X-User: ann").because("Paths are compared whole, not by what they begin with."),
		get("/exempt/health", "X-User: ann").because("Exempt, for one whose budget is spent too."),
		get("/exempt/panic", "X-User: bob").because("An Exempt that panics exempts nobody."),
	}}
}
