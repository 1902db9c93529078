package haltpostgres

import (
	"crypto/sha256"

	halt "github.com/halt-dev/halt/core"
)

// longestKey is how long a budget's name may be to be a row's key as it is, in bytes. PostgreSQL's indexes hold no more than
// 2704, and short entries keep them small.
const longestKey = 255

// appendKey appends the key of a row: the budget's name, as halt.StorageKey has it, which is what names the policy and the
// caller's key; or if that is long, "#" and its SHA-256. No policy's name begins with "#".
func appendKey(b []byte, key, policy string) []byte {
	start := len(b)
	b = append(b, policy...)
	b = append(b, key...)
	if len(b)-start <= longestKey {
		return b
	}
	sum := sha256.Sum256(b[start:])
	b = append(b[:start], '#')
	return append(b, sum[:]...)
}

// rowKey returns the key of the row of a charge's budget.
func rowKey(c *halt.Charge) []byte {
	return appendKey(nil, c.Key, identity(&c.Policy, c.OnShadow()))
}

// identity names a policy's budgets: halt.StorageKey's name for them, without the key.
func identity(p *halt.Policy, shadow bool) string {
	c := halt.Charge{Policy: *p}
	if shadow {
		c.Mode = halt.Shadow
	}
	return halt.StorageKey("", c)
}
