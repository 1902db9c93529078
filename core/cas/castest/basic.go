package castest

import (
	"bytes"
	"time"

	"github.com/halt-dev/halt/core/cas"
)

var basicCases = []testCase{
	{
		name: "Nothing", run: nothing,
		rule: "Load of a key that has no entry returns the zero Entry and no error.",
	},
	{
		name: "Create", run: create,
		rule: "The zero Entry stands for none: a swap of it creates an entry where there is none, and does nothing where there is one.",
	},
	{
		name: "Loaded", run: loaded,
		rule: "A swap of the entry that Load returned replaces it by the value, whole, and by nothing else.",
	},
	{
		name: "Chain", run: chain,
		rule: "An entry can be swapped without having been read: by the value that was written, with the Version and Epoch that the last " +
			"Result had.",
	},
	{
		name: "Found", run: found,
		rule: "If Found, a Result's Entry is what is there, nothing included, and can be swapped without a Load.",
	},
	{
		name: "Stale", run: stale,
		rule: "An entry that was replaced or removed is never swapped again, whatever is there now, and what is there stays.",
	},
	{
		name: "Twice", run: twice,
		rule: "The same swap, sent a second time, does nothing.",
	},
	{
		name: "Alike", run: alike,
		rule: "Two values are the same only if all their bytes are: a swap of one that resembles what is there does nothing.",
	},
	{
		name: "Remove", run: remove,
		rule: "A swap for nil removes the entry if it is still old, and leaves it otherwise.",
	},
	{
		name: "Empty", run: empty,
		rule: "What is there and has no value has an empty one, which is not nothing: it is in the way of what is to be created, and can be " +
			"replaced and removed.",
	},
}

func nothing(e *trial) {
	for _, name := range []string{"never seen", "never seen", "another"} {
		got := e.load(e.key(name))
		e.check(got.Version == 0 && got.Epoch == 0, "nothing has a Version of %d and an Epoch of %d", got.Version, got.Epoch)
	}
}

func create(e *trial) {
	key := e.key("k")
	e.fresh(key)
	e.load(key)
	for range 3 {
		e.refused("creating what is there", key, cas.Entry{}, e.value())
	}
	e.load(e.key("another"))
}

func loaded(e *trial) {
	key, other := e.key("k"), e.key("another")
	e.fresh(key)
	e.fresh(other)
	for range 5 {
		e.put(key, e.load(key), e.value(), long)
		e.load(other)
	}
	e.load(key)
}

func chain(e *trial) {
	key := e.key("k")
	last := e.fresh(key)
	for range 10 {
		last = e.put(key, last, e.value(), long)
	}
	e.load(key)
	e.put(key, last, nil, 0)
	e.load(key)
}

func found(e *trial) {
	key := e.key("k")
	was := e.fresh(key)
	e.put(key, was, e.value(), long)
	if res := e.refused("replacing what was replaced", key, was, e.value()); res.Found {
		e.put(key, res.Entry, e.value(), long)
	}
	if res := e.refused("creating what is there", key, cas.Entry{}, e.value()); res.Found {
		e.put(key, res.Entry, e.value(), long)
	}
	if res := e.refused("removing what was replaced", key, was, nil); res.Found {
		e.put(key, res.Entry, nil, 0)
	} else {
		e.put(key, e.load(key), nil, 0)
	}
	if res := e.refused("replacing what was removed", key, was, e.value()); res.Found {
		e.put(key, res.Entry, e.value(), long)
	}
	e.load(key)
}

func stale(e *trial) {
	for _, reads := range []bool{false, true} { // what was read, or what was written
		key := e.key("written")
		if reads {
			key = e.key("read")
		}
		entry := func(last cas.Entry) cas.Entry {
			if reads {
				return e.load(key)
			}
			return last
		}
		var past []cas.Entry
		last := entry(e.fresh(key))
		for range 4 {
			past = append(past, last)
			last = entry(e.put(key, last, e.value(), long))
			for _, p := range past {
				e.refused("replacing what was replaced", key, p, e.value())
			}
		}
		past = append(past, last)
		e.put(key, last, nil, 0)
		for _, p := range past {
			e.refused("replacing what was removed", key, p, e.value())
			e.refused("removing what was removed", key, p, nil)
		}
		e.fresh(key)
		for _, p := range past {
			e.refused("replacing what was removed, where there is something new", key, p, e.value())
			e.refused("removing what was removed, where there is something new", key, p, nil)
		}
	}
}

func twice(e *trial) {
	key := e.key("k")
	first, second := e.value(), e.value()
	last := e.put(key, cas.Entry{}, first, long)
	e.refused("creating twice", key, cas.Entry{}, first)
	e.put(key, last, second, long)
	e.refused("replacing twice", key, last, second)
	last = e.load(key)
	e.put(key, last, nil, 0)
	e.refused("removing twice", key, last, nil)
}

func alike(e *trial) {
	base := bytes.Repeat([]byte("value "), 8)
	change := func(f func(v []byte) []byte) []byte { return f(bytes.Clone(base)) }
	for name, v := range map[string][]byte{
		"another first byte":  change(func(v []byte) []byte { v[0] = 0; return v }),
		"another last byte":   change(func(v []byte) []byte { v[len(v)-1]++; return v }),
		"another middle byte": change(func(v []byte) []byte { v[20] ^= 0x80; return v }),
		"capitals":            bytes.ToUpper(base),
		"cut off":             base[:len(base)-1],
		"without spaces":      bytes.TrimSpace(base),
		"with a space":        change(func(v []byte) []byte { return append(v, ' ') }),
		"with a NUL":          change(func(v []byte) []byte { return append(v, 0) }),
		"with a newline":      change(func(v []byte) []byte { return append(v, '\n') }),
		"with more":           change(func(v []byte) []byte { return append(v, base...) }),
	} {
		key := e.key(name)
		was := e.put(key, cas.Entry{}, base, long)
		e.put(key, was, v, long)
		e.refused(name, key, was, e.value())
		e.refused(name, key, was, nil)
	}
}

func remove(e *trial) {
	key := e.key("k")
	for _, life := range []time.Duration{0, long} { // which means nothing for what is removed
		first := e.fresh(key)
		second := e.put(key, first, e.value(), long)
		e.refused("removing what was replaced", key, first, nil)
		e.refused("removing nothing, where something is", key, cas.Entry{}, nil)
		if e.rng.IntN(2) == 0 {
			second = e.load(key)
		}
		e.put(key, second, nil, life)
		got := e.load(key)
		e.check(got.Version == 0 && got.Epoch == 0, "nothing has a Version of %d and an Epoch of %d", got.Version, got.Epoch)
	}
}

func empty(e *trial) {
	key := e.key("k")
	e.put(key, cas.Entry{}, []byte{}, long)
	is := e.load(key)
	e.refused("creating what is there, and empty", key, cas.Entry{}, e.value())
	e.put(key, is, e.value(), long)
	e.refused("replacing what was empty", key, is, e.value())

	key = e.key("removed")
	e.put(key, cas.Entry{}, []byte{}, long)
	is = e.load(key)
	e.put(key, is, nil, 0)
	e.refused("replacing what was empty, and was removed", key, is, e.value())
}
