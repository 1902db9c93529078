package castest

import (
	"bytes"
	"strings"

	"github.com/halt-dev/halt/core/cas"
)

var dataCases = []testCase{
	{
		name: "Keys", run: keys,
		rule: "Every key has an entry of its own, whatever bytes it is made of and however long it is.",
	},
	{
		name: "Values", run: values,
		rule: "Values are kept to the byte, whatever bytes they are made of, from one to some thousands.",
	},
	{
		name: "Given", run: slicesGiven,
		rule: "The register changes none of the slices that it is given, and keeps none: its caller may write over them after the call.",
	},
	{
		name: "Returned", run: slicesReturned,
		rule: "What the register returned stays as it is: a cas.Store remembers it, so it is neither written over nor used again. (The store " +
			"does not write into it either.)",
	},
}

// awkwardKeys can break a register's quoting, splitting, hashing or comparing; no two are equal, and none is as long as longest.
var awkwardKeys = []string{
	"", " ", "  ", "a", "A", "a ", " a", "a\x00", "a\x00b", "\x00", "\x00\x00", "\xff", "\xfe", "\xff\xfe", "\xc3\x28", "\xed\xa0\x80",
	"\u00e9", "e\u0301", "E\u0301", "\ufffd", "\u2028", "ss", "\u00df", "\t", "\n", "\r\n", "a\nb", "a:b", "a:", ":a", ":", "::", "}", "{}",
	"{a}b", "{a}c", "'", "\"", "`", "\\", "\\0", "%", "%00", "%s", "$", "$1", "${a}", ".", "..", "a.b", "/", "../a", "*", "a*", "?", "[a]",
	"null", "nil", "0", "00", "-1", "1e3", "true", "'; DROP TABLE halt; --", "\U0001f6a6",
}

func keys(e *trial) {
	longest := 64 << 10
	if e.h.MaxKey > 0 {
		longest = min(longest, e.h.MaxKey)
	}
	all := make(map[string]cas.Entry)
	var order []string
	add := func(key string) {
		if _, ok := all[key]; !ok && len(key) <= longest {
			all[key] = cas.Entry{}
			order = append(order, key)
		}
	}
	for _, k := range awkwardKeys {
		add(e.key(k))
	}
	for n := 64; n <= longest; n *= 2 {
		for _, n := range []int{n - 7, n - 1, n} {
			k := e.key(strings.Repeat("k", n-len(e.prefix)))
			add(k)
			add(k[:n-1] + "l")
		}
	}
	for _, k := range order {
		all[k] = e.fresh(k)
	}
	for _, k := range order {
		e.load(k)
		e.put(k, all[k], e.value(), long)
	}
	for i, k := range order {
		if is := e.load(k); i%2 == 0 {
			e.put(k, is, nil, 0)
		}
	}
	for _, k := range order {
		e.load(k)
	}
}

func values(e *trial) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	vs := [][]byte{
		{1},
		{0},
		{0xff},
		{0, 0},
		[]byte(" "), []byte("\r\n"), []byte("a\r\nb\r\n"), []byte("'"), []byte("\\"), []byte("null"), []byte("0"), []byte("-1"),
		[]byte("\xff\xfe invalid UTF-8 \xc3\x28"), every, make([]byte, 1000), bytes.Repeat([]byte{0xff}, 1000),
	}
	for _, n := range []int{16, 17, 64, 100, 255, 256, 1000, 1024, 2048} {
		v := make([]byte, n)
		for i := range v {
			v[i] = byte(e.rng.Uint32())
		}
		vs = append(vs, v)
	}
	key := e.key("k")
	var last cas.Entry
	for i, v := range vs {
		if last = e.put(key, last, v, long); i%2 == 0 {
			last = e.load(key)
		} else {
			e.load(key)
		}
	}
}

func slicesGiven(e *trial) {
	e.scribbles = true
	key := e.key("k")
	last := e.fresh(key)
	e.load(key)
	for range 3 {
		was := last
		last = e.put(key, last, e.value(), long)
		e.load(key)
		e.refused("replacing what was replaced", key, was, e.value())
	}
	e.put(key, e.load(key), nil, 0)
	if e.several == nil {
		return
	}
	a, b, c := e.key("a"), e.key("b"), e.key("c")
	e.fresh(c)
	for range 3 {
		v := e.is[c]
		e.putAll(
			cas.Swap{Key: a, Old: cas.Entry{Value: e.is[a]}, Value: e.value(), Life: long},
			cas.Swap{Key: b, Old: cas.Entry{Value: e.is[b]}, Value: e.value(), Life: long},
			cas.Swap{Key: c, Old: cas.Entry{Value: v}, Value: v, Life: long},
		)
		for _, k := range []string{a, b, c} {
			e.load(k)
		}
		e.refusedAll("replacing what never was",
			cas.Swap{Key: a, Old: cas.Entry{Value: e.is[a]}, Value: e.value(), Life: long},
			cas.Swap{Key: b, Old: cas.Entry{Value: e.value()}, Value: e.value(), Life: long},
		)
	}
}

func slicesReturned(e *trial) {
	type returned struct{ slice, was []byte }
	var all []returned
	keep := func(v []byte) { all = append(all, returned{v, bytes.Clone(v)}) }
	keys := []string{e.key("a"), e.key("b")}
	var was [2]cas.Entry
	for i := range 12 {
		key := keys[i%2]
		old := e.load(key)
		keep(old.Value)
		if i > 1 {
			res := e.refused("replacing what was replaced", key, was[i%2], e.value())
			keep(res.Entry.Value)
		}
		value := e.value()
		if i >= 10 {
			value = nil
		}
		e.put(key, old, value, long)
		was[i%2] = old
		for _, r := range all {
			e.check(bytes.Equal(r.slice, r.was), "what was returned as %s is %s after other calls", show(r.was), show(r.slice))
		}
	}
}
