package httpkit_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
	"github.com/halt-dev/halt/core/httpkit"
)

// keyOf returns a function that tells the key of a request: "" if it is denied for having none.
func keyOf(tb testing.TB, key guard.Key[*http.Request]) func(*http.Request) string {
	tb.Helper()
	got := ""
	store := decided(func(c *halt.Charge) (halt.Decision, error) {
		got = c.Key
		return halt.Decision{Allowed: true}, nil
	})
	k, err := httpkit.New(halt.New(store, nil), framework, config{
		FailClosed: true,
		Rules:      []rule{{Policy: halt.Policy{Name: "api", Limit: 1, Window: time.Second}, Key: key}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return func(r *http.Request) string {
		got = ""
		p := k.Enter(r.Context(), r, http.Header{})
		defer p.Leave(guard.Outcome{})
		if d, denied := p.Denied(); denied && d.Reason != guard.MissingKey {
			panic(d.Reason)
		}
		return got
	}
}

func from(remote string, forwarded ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = remote
	for _, line := range forwarded {
		r.Header.Add("X-Forwarded-For", line)
	}
	return r
}

func prefixes(ss ...string) []netip.Prefix {
	var ps []netip.Prefix
	for _, s := range ss {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}

var proxies = prefixes("10.0.0.0/8", "2001:db8:aaaa::/48")

var addressTests = []struct {
	name      string
	remote    string
	forwarded []string
	want      string // behind proxies
	direct    string // without trusted proxies, if that differs
}{
	{name: "peer", remote: "192.0.2.1:80", want: "ip:192.0.2.1"},
	{name: "peer without a port", remote: "192.0.2.1", want: "ip:192.0.2.1"},
	{name: "IPv6 peer by its /64", remote: "[2001:db8:1:2:3:4:5:6]:80", want: "ip:2001:db8:1:2::/64"},
	{name: "IPv6 peer without a port", remote: "2001:db8:1:2:3:4:5:6", want: "ip:2001:db8:1:2::/64"},
	{name: "IPv6 peer in brackets", remote: "[2001:db8:1:2::1]", want: "ip:2001:db8:1:2::/64"},
	{name: "IPv6 peer with a zone", remote: "[fe80::1%eth0]:80", want: "ip:fe80::/64"},
	{name: "IPv4 peer in IPv6 form", remote: "[::ffff:1.2.3.4]:80", want: "ip:1.2.3.4"},
	{name: "the same, spelt out", remote: "0:0:0:0:0:ffff:1.2.3.4", want: "ip:1.2.3.4"},
	{name: "the same, in hex", remote: "[::ffff:102:304]:80", want: "ip:1.2.3.4"},
	{name: "IPv6 loopback", remote: "[::1]:80", want: "ip:::/64"},
	{name: "Unix socket", remote: "@", want: ""},
	{name: "named Unix socket", remote: "/run/app.sock", want: ""},
	{name: "no peer", remote: "", want: ""},
	{name: "gin's <nil>", remote: "<nil>", want: ""},
	{name: "a name", remote: "localhost:80", want: ""},
	{name: "leading zeros", remote: "010.0.0.1:80", want: ""},
	{name: "IPv4 in brackets", remote: "[192.0.2.1]:80", want: ""},
	{name: "IPv4 in brackets, no port", remote: "[192.0.2.1]", want: ""},
	{name: "no port after the colon", remote: "192.0.2.1:", want: ""},
	{name: "port too large", remote: "192.0.2.1:65536", want: ""},
	{name: "lone brackets", remote: "[]", want: ""},
	{name: "lone bracket", remote: "[", want: ""},
	{name: "lone colon", remote: ":", want: ""},

	{name: "untrusted peer that forwards", remote: "192.0.2.1:80", forwarded: []string{"203.0.113.9"}, want: "ip:192.0.2.1"},
	{name: "trusted peer", remote: "10.1.1.1:80", forwarded: []string{"203.0.113.9"}, want: "ip:203.0.113.9", direct: "ip:10.1.1.1"},
	{name: "trusted IPv6 peer", remote: "[2001:db8:aaaa::1]:80", forwarded: []string{"203.0.113.9"}, want: "ip:203.0.113.9", direct: "ip:2001:db8:aaaa::/64"},
	{name: "trusted peer in IPv6 form", remote: "[::ffff:10.1.1.1]:80", forwarded: []string{"203.0.113.9"}, want: "ip:203.0.113.9", direct: "ip:10.1.1.1"},
	{name: "trusted peer without the field", remote: "10.1.1.1:80", want: "ip:10.1.1.1"},
	{name: "trusted peer, empty field", remote: "10.1.1.1:80", forwarded: []string{""}, want: "ip:10.1.1.1"},
	{name: "trusted peer, only commas", remote: "10.1.1.1:80", forwarded: []string{" , ,\t,"}, want: "ip:10.1.1.1"},
	{name: "what the client wrote stays out", remote: "10.1.1.1:80", forwarded: []string{"1.1.1.1, 203.0.113.9"}, want: "ip:203.0.113.9", direct: "ip:10.1.1.1"},
	{name: "two proxies", remote: "10.1.1.1:80", forwarded: []string{"1.1.1.1, 203.0.113.9, 10.2.2.2"}, want: "ip:203.0.113.9", direct: "ip:10.1.1.1"},
	{name: "several lines", remote: "10.1.1.1:80", forwarded: []string{"1.1.1.1", "203.0.113.9", "10.2.2.2"}, want: "ip:203.0.113.9", direct: "ip:10.1.1.1"},
	{name: "empty elements", remote: "10.1.1.1:80", forwarded: []string{",203.0.113.9,, ,10.2.2.2,"}, want: "ip:203.0.113.9", direct: "ip:10.1.1.1"},
	{name: "all trusted: the farthest", remote: "10.1.1.1:80", forwarded: []string{"10.3.3.3, 10.2.2.2"}, want: "ip:10.3.3.3", direct: "ip:10.1.1.1"},
	{name: "tabs", remote: "10.1.1.1:80", forwarded: []string{"1.1.1.1,\t203.0.113.9\t"}, want: "ip:203.0.113.9", direct: "ip:10.1.1.1"},
	{name: "hop with a port", remote: "10.1.1.1:80", forwarded: []string{"203.0.113.9:4711"}, want: "ip:203.0.113.9", direct: "ip:10.1.1.1"},
	{name: "IPv6 hop", remote: "10.1.1.1:80", forwarded: []string{"2001:db8:1:2::9"}, want: "ip:2001:db8:1:2::/64", direct: "ip:10.1.1.1"},
	{name: "IPv6 hop in brackets", remote: "10.1.1.1:80", forwarded: []string{"[2001:db8:1:2::9]"}, want: "ip:2001:db8:1:2::/64", direct: "ip:10.1.1.1"},
	{name: "IPv6 hop with a port", remote: "10.1.1.1:80", forwarded: []string{"[2001:db8:1:2::9]:99"}, want: "ip:2001:db8:1:2::/64", direct: "ip:10.1.1.1"},
	{name: "hop in IPv6 form", remote: "10.1.1.1:80", forwarded: []string{"::ffff:203.0.113.9"}, want: "ip:203.0.113.9", direct: "ip:10.1.1.1"},
	{name: "trusted hop in IPv6 form", remote: "10.1.1.1:80", forwarded: []string{"203.0.113.9, ::ffff:10.2.2.2"}, want: "ip:203.0.113.9", direct: "ip:10.1.1.1"},
	{name: "hop with a zone", remote: "10.1.1.1:80", forwarded: []string{"fe80::1%<script>"}, want: "ip:fe80::/64", direct: "ip:10.1.1.1"},
	{name: "garbage hop", remote: "10.1.1.1:80", forwarded: []string{"203.0.113.9, unknown"}, want: "", direct: "ip:10.1.1.1"},
	{name: "garbage hop behind a trusted one", remote: "10.1.1.1:80", forwarded: []string{"203.0.113.9, _secret, 10.2.2.2"}, want: "", direct: "ip:10.1.1.1"},
	{name: "garbage left of the client", remote: "10.1.1.1:80", forwarded: []string{"unknown, 203.0.113.9"}, want: "ip:203.0.113.9", direct: "ip:10.1.1.1"},
	{name: "hop of spaces inside", remote: "10.1.1.1:80", forwarded: []string{"203.0.113.9 10.2.2.2"}, want: "", direct: "ip:10.1.1.1"},
	{name: "hop in quotes", remote: "10.1.1.1:80", forwarded: []string{`"203.0.113.9"`}, want: "", direct: "ip:10.1.1.1"},
	{name: "Unix socket that forwards", remote: "@", forwarded: []string{"203.0.113.9"}, want: ""},
}

func TestByIP(t *testing.T) {
	trusting, direct := keyOf(t, framework.ByIP(proxies...)), keyOf(t, framework.ByIP())
	for _, test := range addressTests {
		r := from(test.remote, test.forwarded...)
		if got := trusting(r); got != test.want {
			t.Errorf("%s, behind proxies: %q, want %q", test.name, got, test.want)
		}
		want := test.direct
		if want == "" {
			want = test.want
		}
		if got := direct(r); got != want {
			t.Errorf("%s, without: %q, want %q", test.name, got, want)
		}
	}
}

func TestTrustedProxies(t *testing.T) {
	for _, test := range []struct {
		name    string
		proxies []netip.Prefix
		remote  string
		trusted bool
	}{
		{"IPv4 in IPv6 form", []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr("::ffff:10.0.0.0"), 104)}, "10.1.1.1:80", true},
		{"the same, another", []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr("::ffff:10.0.0.0"), 104)}, "11.1.1.1:80", false},
		{"host bits", prefixes("10.9.9.9/8"), "10.1.1.1:80", true},
		{"half of IPv4", prefixes("128.0.0.0/1"), "192.0.2.1:80", true},
		{"half of IPv6 is none of IPv4", prefixes("::/1"), "192.0.2.1:80", false},
		{"half of IPv6", prefixes("::/1"), "[2001:db8::1]:80", true},
		{"with a zone", prefixes("fe80::/10"), "[fe80::1%eth0]:80", true},
		{"single address", prefixes("192.0.2.1/32"), "192.0.2.1:80", true},
		{"its neighbour", prefixes("192.0.2.1/32"), "192.0.2.2:80", false},
	} {
		got := keyOf(t, framework.ByIP(test.proxies...))(from(test.remote, "203.0.113.9"))
		if trusted := got == "ip:203.0.113.9"; trusted != test.trusted {
			t.Errorf("%s: the key is %s", test.name, got)
		}
	}
	_, err := httpkit.New(halt.New(admitting(), nil), framework, config{Rules: []rule{{
		Policy: perHour("api", 1), Key: framework.ByIP(netip.Prefix{}, netip.MustParsePrefix("10.0.0.0/8")),
	}}})
	if err == nil || !strings.Contains(err.Error(), "Rules[0].Key must be made with valid prefixes") {
		t.Errorf("an invalid prefix: %v", err)
	}
	for _, everyone := range []string{"0.0.0.0/0", "::/0"} {
		if _, err := httpkit.New(halt.New(admitting(), nil), framework, config{Rules: []rule{{
			Policy: perHour("api", 1), Key: framework.ByIP(netip.MustParsePrefix(everyone)),
		}}}); err == nil {
			t.Errorf("%s is trusted", everyone)
		}
	}
}

func TestByAddress(t *testing.T) {
	key := keyOf(t, framework.ByAddress(func(r *http.Request) string { return r.Header.Get("X-Real-Ip") }))
	for address, want := range map[string]string{
		"": "", "192.0.2.1": "ip:192.0.2.1", "::ffff:192.0.2.1": "ip:192.0.2.1", "0:0:0:0:0:ffff:192.0.2.1": "ip:192.0.2.1",
		"2001:db8:1:2:3::": "ip:2001:db8:1:2::/64", "<nil>": "", "0.0.0.0": "ip:0.0.0.0", "<script>": "",
	} {
		r := from("10.1.1.1:80")
		r.Header.Set("X-Real-Ip", address)
		if got := key(r); got != want {
			t.Errorf("%q: %q, want %q", address, got, want)
		}
	}
}

// referenceKey is the contract of ByIP, written down once more and naively: it lists who had a hand in the request from
// the client to the peer, and walks from the peer towards the client as long as it trusts who wrote the next.
func referenceKey(remote string, lines []string, trusted []netip.Prefix) string {
	read := func(s string) (netip.Addr, bool) {
		for _, candidate := range []string{s, strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")} {
			bracketed := candidate != s
			if bracketed && !(strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]")) {
				continue
			}
			if a, err := netip.ParseAddr(candidate); err == nil && (!bracketed || a.Is6()) {
				return a, true
			}
		}
		ap, err := netip.ParseAddrPort(s)
		return ap.Addr(), err == nil
	}
	hops := []string{}
	for e := range strings.SplitSeq(strings.Join(lines, ","), ",") {
		if e = strings.Trim(e, " \t"); e != "" {
			hops = append(hops, e)
		}
	}
	hops = append(hops, remote)
	slices.Reverse(hops)
	for i, hop := range hops {
		a, ok := read(hop)
		if !ok {
			return ""
		}
		a = a.Unmap().WithZone("")
		isTrusted := slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(a) })
		if isTrusted && i < len(hops)-1 {
			continue
		}
		if a.Is4() {
			return "ip:" + a.String()
		}
		return "ip:" + netip.PrefixFrom(a, 64).Masked().String()
	}
	return ""
}

func FuzzClientAddr(f *testing.F) {
	for _, test := range addressTests {
		f.Add(test.remote, strings.Join(test.forwarded, "\n"))
	}
	trusting, direct := keyOf(f, framework.ByIP(proxies...)), keyOf(f, framework.ByIP())
	f.Fuzz(func(t *testing.T, remote, forwarded string) {
		var lines []string
		if forwarded != "" {
			lines = strings.Split(forwarded, "\n")
		}
		r := from(remote, lines...)
		if got, want := trusting(r), referenceKey(remote, lines, proxies); got != want {
			t.Errorf("from %q by %q: %q, want %q", remote, lines, got, want)
		}
		if got, want := direct(r), referenceKey(remote, nil, nil); got != want {
			t.Errorf("from %q, trusting nobody: %q, want %q", remote, got, want)
		}
	})
}
