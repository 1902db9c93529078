package storetest

import (
	"errors"
	"strings"

	halt "github.com/halt-dev/halt/core"
)

var keyCases = []testCase{
	{
		name: "Keys", run: everyKeyItsOwn,
		rule: "Every key has a budget of its own, whatever bytes it is made of and however long it is.",
	},
	{
		name: "Names", run: everyNameItsOwn,
		rule: "Every policy's name has budgets of its own, whatever keys look like: no key reaches another policy's budget.",
	},
	{
		name: "ManyKeys", run: manyKeys,
		rule: "Thousands of keys are kept apart, and each is remembered.",
	},
}

// awkwardKeys can break a store's quoting, tagging, splitting or hashing; no two are equal.
func awkwardKeys(longest int) []string {
	if longest <= 0 || longest > 64<<10 {
		longest = 64 << 10
	}
	long := strings.Repeat("k", longest-1)
	keys := []string{
		"}", "{}", "{", "{/}", "}{", "{a}b", "{a}c", "\x00", "\x00\x00", "a\x00", "a\x00b", "a", "\xff", "\xfe", "\xff\xfe", "\xc3\x28",
		"\xed\xa0\x80", "\u00e9", "e\u0301", "\ufffd", "\u2028", " ", "  ", "a ", " a", "\t", "\n", "\r\n", "a\nb", "a:b", "a:", ":a", "::", ":",
		"'", "\"", "`", "\\", "\\x00", "\\0", "%", "%00", "%s", "$", "$1", "${a}", "$where", ".", "..", "a.b", "/", "../a", "*", "a*", "?", "[a]", "~",
		"~a", "A", "null", "NULL", "nil", "0", "00", "-1", "1e3", "0x10", "nan", "inf", "true", "user:42", "user:42:", "'; DROP TABLE halt; --",
		"\U0001f6a6", long + "a", long + "b", "a" + long, long, long[:len(long)/2], long[:min(len(long), 250)], long[:min(len(long), 251)],
	}
	seen := make(map[string]bool)
	unique := keys[:0]
	for _, k := range keys {
		if k != "" && len(k) <= longest && !seen[k] {
			seen[k] = true
			unique = append(unique, k)
		}
	}
	return unique
}

func everyKeyItsOwn(e *trial) {
	p := e.still(halt.SlidingWindow, 3)
	q := e.still(halt.TokenBucket, 3)
	keys := awkwardKeys(e.h.MaxKey)
	for round := range 3 {
		for _, k := range keys {
			d := e.one(p.Charge(k, 1))
			e.check(d.Allowed && d.Remaining == int64(2-round), "key %q of %d bytes shares its budget, or lost it: %+v", short(k), len(k), d)
		}
	}
	for i, k := range keys { // two keys in one call
		ds := e.take(q.Charge(k, 1), q.Charge(keys[(i+1)%len(keys)], 1))
		e.check(ds.Allowed(), "keys %q and %q in one call: %+v", short(k), short(keys[(i+1)%len(keys)]), ds)
	}
	for _, k := range keys {
		d := e.one(p.Charge(k, 1))
		e.check(!d.Allowed, "key %q of %d bytes lost its budget: %+v", short(k), len(k), d)
		e.reset(p, k)
		d = e.peek(p.Charge(k, 0), 3)
		e.check(d.Allowed, "key %q of %d bytes after a Reset: %+v", short(k), len(k), d)
	}
}

func everyNameItsOwn(e *trial) {
	p := e.still(halt.TokenBucket, 1)
	p.Name = "n"
	q := p
	q.Name = "n.n"
	m := p
	m.Name = strings.Repeat("n", 64)
	// Keys that imitate the storage key of another policy's budget, or of a shadow's.
	other := halt.StorageKey("", q.Charge("k", 1))
	cs := []halt.Charge{
		p.Charge("k", 1), q.Charge("k", 1), m.Charge("k", 1), p.Charge(other, 1), p.Charge("."+other, 1), p.Charge(".n:k", 1),
		p.Charge(".nk", 1), p.Charge(strings.Repeat("n", 63)+"k", 1),
		p.Charge(other[1:], 1), p.Charge(other[3:], 1), q.Charge(halt.StorageKey("", p.Charge("k", 1)), 1), p.Charge("~k", 1),
		p.Charge("n:k", 1), q.Charge("n:k", 1), m.Charge("n:k", 1),
		{Policy: p, Key: "k", Cost: 1, Mode: halt.Shadow},
		{Policy: p, Key: "~k", Cost: 1, Mode: halt.Shadow},
		{Policy: q, Key: "k", Cost: 1, Mode: halt.Shadow},
	}
	for _, c := range cs {
		d := e.one(c)
		e.check(d.Allowed, "%s meets another budget: %+v", show([]halt.Charge{c}), d)
	}
	for _, c := range cs {
		d := e.one(c)
		e.check(!d.Allowed, "%s lost its budget: %+v", show([]halt.Charge{c}), d)
	}
}

func manyKeys(e *trial) {
	n := e.times(4000)
	p := e.still(halt.FixedWindow, 2)
	key := func(i int) string { return strings.Repeat("x", i%5) + string(rune('a'+i%26)) + string(rune(0x400+i)) }
	for round := range 2 {
		for i := range n {
			d := e.one(p.Charge(key(i), 1))
			e.check(d.Allowed && d.Remaining == int64(1-round), "key %d of %d: %+v", i, n, d)
		}
	}
	for i := range n {
		d := e.one(p.Charge(key(i), 1))
		e.check(!d.Allowed, "key %d of %d was forgotten: %+v", i, n, d)
	}
}

// tellsKey tells whether an error, or anything that it wraps, gives a key away.
func tellsKey(err error, key string) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		if strings.Contains(err.Error(), key) {
			return true
		}
	}
	return false
}
