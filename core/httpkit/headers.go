package httpkit

import (
	"net/http"
	"strconv"
	"strings"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
)

// Style says which header fields tell a client about its budgets.
type Style uint8

const (
	// Standard writes RateLimit-Policy and RateLimit as draft-ietf-httpapi-ratelimit-headers-10 has them: one item per
	// policy. Its t is when the budget is whole again, or of a policy that refuses when to come again. InFlight, Unlimited
	// and shadow rules have no item. It is the default.
	Standard Style = iota
	// Legacy writes X-RateLimit-Limit, X-RateLimit-Remaining and X-RateLimit-Reset (Unix time in seconds) of the policy
	// with the least remaining.
	Legacy
	// NoHeaders writes neither. A refusal's Retry-After stays.
	NoHeaders
)

// The fields' names in net/http's canonical form.
const (
	fieldPolicy = "Ratelimit-Policy"
	fieldLimit  = "Ratelimit"

	legacyLimit     = "X-Ratelimit-Limit"
	legacyRemaining = "X-Ratelimit-Remaining"
	legacyReset     = "X-Ratelimit-Reset"
)

// policyFields are the members of RateLimit-Policy for the policies that are known from the start. They are few, and to
// compare policies costs less than to hash one.
type policyFields []policyField

type policyField struct {
	policy halt.Policy
	member string
}

func (f *policyFields) add(r *halt.Policy, settled bool) {
	if r.Name == "" {
		return // it is resolved
	}
	p := *r
	if settled {
		p.Block = 0 // what is settled is charged without its Block
	}
	if f.member(&p) == "" {
		*f = append(*f, policyField{p, string(appendPolicy(nil, &p))})
	}
}

// member returns a policy's member, or "" if it is not known.
func (f policyFields) member(p *halt.Policy) string {
	for i := range f {
		if f[i].policy == *p {
			return f[i].member
		}
	}
	return ""
}

// shown tells whether a charge's budget is shown to the client.
func shown(c *halt.Charge) bool {
	return c.Mode.Binds() && c.Policy.Limit != halt.Unlimited && c.Policy.Algorithm != halt.InFlight
}

// write sets RateLimit-Policy and RateLimit, or adds to what a middleware before has set.
func (k *Kit[R]) write(h Header, p *guard.Pass[R], v guard.Verdict) {
	if !shows(v.Charges) {
		return
	}
	var buf [96]byte
	var policies string
	limits := buf[:0]
	if k.sole {
		policies, limits = k.policies[0].member, appendLimit(limits, v.Charges[0].Policy.Name, &v.Decisions[0])
	} else {
		policies, limits = k.policies.fields(limits, v)
	}
	m, ok := h.(http.Header)
	if !ok {
		limit := mergeLists(h.Get(fieldLimit), p.Text(limits))
		h.Set(fieldPolicy, mergeLists(h.Get(fieldPolicy), policies))
		h.Set(fieldLimit, limit)
		return
	}
	lines := p.Lines(2)
	lines[0], lines[1] = policies, p.Text(limits)
	if len(m) > 0 { // most often nothing is set yet
		lines[0], lines[1] = merged(m[fieldPolicy], lines[0]), merged(m[fieldLimit], lines[1])
	}
	m[fieldPolicy], m[fieldLimit] = lines[0:1:1], lines[1:2:2]
}

// shows tells whether any of the budgets is shown.
func shows(cs []halt.Charge) bool {
	for i := range cs {
		if shown(&cs[i]) {
			return true
		}
	}
	return false
}

// fields returns the values of RateLimit-Policy and RateLimit for a verdict that is shown. It appends that of RateLimit to limits.
func (f policyFields) fields(limits []byte, v guard.Verdict) (string, []byte) {
	var buf [192]byte
	policies := buf[:0]
	only, n := "", 0
	for i := range v.Charges {
		c := &v.Charges[i]
		if !shown(c) || !tightest(v, i) {
			continue
		}
		member := f.member(&c.Policy)
		if n++; n > 1 {
			if only != "" {
				policies, only = append(policies, only...), ""
			}
			policies, limits = append(policies, ", "...), append(limits, ", "...)
		}
		switch {
		case member == "":
			policies = appendPolicy(policies, &c.Policy)
		case n == 1:
			only = member // no need to build it
		default:
			policies = append(policies, member...)
		}
		limits = appendLimit(limits, c.Policy.Name, &v.Decisions[i])
	}
	if only == "" {
		only = string(policies)
	}
	return only, limits
}

// merged is mergeLists for all lines of a field.
func merged(before []string, after string) string {
	if len(before) == 0 {
		return after
	}
	return mergeLists(strings.Join(before, ", "), after)
}

// tightest tells whether no other charge under the same policy name is tighter than the i-th: a field must not name a
// policy twice.
func tightest(v guard.Verdict, i int) bool {
	for j := range v.Charges {
		if j == i || v.Charges[j].Policy.Name != v.Charges[i].Policy.Name || !shown(&v.Charges[j]) {
			continue
		}
		if a, b := &v.Decisions[j], &v.Decisions[i]; tighter(a, b) || j < i && !tighter(b, a) {
			return false
		}
	}
	return true
}

// tighter tells whether a says more of when the client can go on than b: a refusal (the longer, the more) before an
// admission, then what has less remaining.
func tighter(a, b *halt.Decision) bool {
	switch {
	case a.Allowed != b.Allowed:
		return !a.Allowed
	case !a.Allowed && a.RetryAfter != b.RetryAfter:
		return a.RetryAfter > b.RetryAfter
	}
	return a.Remaining < b.Remaining
}

// writeLegacy sets the X-RateLimit fields of the budget with the least remaining, unless a middleware before has set
// those of a tighter one.
func writeLegacy(h Header, v guard.Verdict) {
	least := -1
	for i := range v.Charges {
		if shown(&v.Charges[i]) && (least < 0 || tighter(&v.Decisions[i], &v.Decisions[least])) {
			least = i
		}
	}
	if least < 0 {
		return
	}
	d := &v.Decisions[least]
	if n, err := strconv.ParseInt(h.Get(legacyRemaining), 10, 64); err == nil && n <= d.Remaining && d.Allowed {
		return
	}
	reset := (int64(d.At) + d.ResetAfter.Microseconds() + 999_999) / 1_000_000 // rounded up once: not before the reset
	h.Set(legacyLimit, decimal(d.Limit))
	h.Set(legacyRemaining, decimal(d.Remaining))
	h.Set(legacyReset, decimal(reset))
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

// mergeLists returns the list before, without the members whose policy is in the list after, and then after's members.
// Of a before that is no list nothing stays: a client would have to ignore the whole field for it.
func mergeLists(before, after string) string {
	if before == "" {
		return after
	}
	var b strings.Builder
	names := members(after)
	for _, m := range members(before) {
		replaced := false
		for _, a := range names {
			replaced = replaced || policyName(a) == policyName(m)
		}
		if !replaced {
			b.WriteString(m)
			b.WriteString(", ")
		}
	}
	b.WriteString(after)
	return b.String()
}
