package httpkit

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/guard"
)

// Style says which header fields tell a client about its budgets.
type Style uint8

const (
	// Standard writes RateLimit-Policy and RateLimit as draft-ietf-httpapi-ratelimit-headers-10 has them: one item per
	// policy. It is the default.
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

// policyFields are the items of RateLimit-Policy for the policies that are known from the start.
type policyFields map[halt.Policy]string

func (f policyFields) add(p *halt.Policy) {
	if p.Name != "" {
		q := *p
		f[q] = string(appendPolicy(nil, p))
		q.Block = 0 // what is settled is charged without its Block
		f[q] = f[*p]
	}
}

// shown tells whether a charge's budget is shown to the client.
func shown(c *halt.Charge) bool {
	return c.Mode.Binds() && c.Policy.Limit != halt.Unlimited && c.Policy.Algorithm != halt.InFlight
}

// write sets RateLimit-Policy and RateLimit, or adds to what a middleware before has set.
func (f policyFields) write(h Header, v guard.Verdict) {
	var policyBuf, limitBuf [192]byte
	policies, limits := policyBuf[:0], limitBuf[:0]
	first, n := "", 0
	for i := range v.Charges {
		c := &v.Charges[i]
		if !shown(c) || !tightest(v, i) {
			continue
		}
		if n++; n == 1 {
			first = f[c.Policy]
		}
		if n > 1 || first == "" {
			if n > 1 {
				if n == 2 && first != "" {
					policies = append(policies, first...)
				}
				policies = append(policies, ", "...)
			}
			policies = appendPolicy(policies, &c.Policy)
		}
		if n > 1 {
			limits = append(limits, ", "...)
		}
		limits = appendLimit(limits, c.Policy.Name, &v.Decisions[i])
	}
	switch {
	case n == 0:
		return
	case n > 1 || first == "":
		first = string(policies)
	}
	set(h, first, string(limits))
}

// set sets both fields, merged into those that are there. One allocation holds both of net/http's slices.
func set(h Header, policies, limits string) {
	if before := h.Get(fieldPolicy); before != "" {
		policies = mergeLists(before, policies)
	}
	if before := h.Get(fieldLimit); before != "" {
		limits = mergeLists(before, limits)
	}
	if m, ok := h.(http.Header); ok {
		values := &[2]string{policies, limits}
		m[fieldPolicy] = values[0:1:1]
		m[fieldLimit] = values[1:2:2]
		return
	}
	h.Set(fieldPolicy, policies)
	h.Set(fieldLimit, limits)
}

// tightest tells whether no other charge under the same policy name has less remaining than the i-th: a field must not
// name a policy twice.
func tightest(v guard.Verdict, i int) bool {
	for j := range v.Charges {
		if j == i || v.Charges[j].Policy.Name != v.Charges[i].Policy.Name || !shown(&v.Charges[j]) {
			continue
		}
		if a, b := v.Decisions[j].Remaining, v.Decisions[i].Remaining; a < b || a == b && j < i {
			return false
		}
	}
	return true
}

// writeLegacy sets the X-RateLimit fields of the budget with the least remaining, unless a middleware before has set
// those of a tighter one.
func writeLegacy(h Header, v guard.Verdict) {
	least := -1
	for i := range v.Charges {
		if shown(&v.Charges[i]) && (least < 0 || v.Decisions[i].Remaining < v.Decisions[least].Remaining) {
			least = i
		}
	}
	if least < 0 {
		return
	}
	d := &v.Decisions[least]
	if n, err := strconv.ParseInt(h.Get(legacyRemaining), 10, 64); err == nil && n <= d.Remaining {
		return
	}
	reset := int64(d.At)/1_000_000 + guard.Seconds(d.ResetAfter)
	h.Set(legacyLimit, decimal(d.Limit))
	h.Set(legacyRemaining, decimal(d.Remaining))
	h.Set(legacyReset, decimal(reset))
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

// mergeLists returns the list before, without the members whose policy is in the list after, and then after's members.
func mergeLists(before, after string) string {
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
