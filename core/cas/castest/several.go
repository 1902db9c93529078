package castest

import (
	"fmt"

	"github.com/halt-dev/halt/core/cas"
)

var severalCases = []testCase{
	{
		name: "SwapAll", several: true, run: swapAll,
		rule: "SwapAll creates and replaces, all at once, if each entry is still old.",
	},
	{
		name: "SwapAllNone", several: true, run: swapAllNone,
		rule: "If one entry is not old any more, whichever it is, SwapAll writes nothing and says so.",
	},
	{
		name: "SwapAllChecks", several: true, run: swapAllChecks,
		rule: "A swap whose Value is that of Old, or of nothing by nothing, is not written but checked: if the entry is another, nothing is " +
			"written of the others either.",
	},
	{
		name: "SwapAllMost", several: true, run: swapAllMost,
		rule: "SwapAll takes as many as MostSwaps swaps, and all or none of them.",
	},
	{
		name: "SwapAllValues", several: true, run: swapAllValues,
		rule: "A register that can SwapAll compares values: what SwapAll wrote is then swapped by its value, without a Version, and what was " +
			"swapped or loaded one by one can go into a SwapAll.",
	},
}

// swap returns a swap of what is there for a new value.
func (e *trial) swap(key string) cas.Swap {
	return cas.Swap{Key: key, Old: cas.Entry{Value: e.is[key]}, Value: e.value(), Life: long}
}

// checks returns a swap that only checks what is there.
func (e *trial) checks(key string) cas.Swap {
	w := e.swap(key)
	w.Value = w.Old.Value
	return w
}

func (e *trial) keys(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = e.key(fmt.Sprint("key", i))
	}
	return keys
}

func swapAll(e *trial) {
	ks := e.keys(4)
	e.fresh(ks[1])
	e.fresh(ks[2])
	for range 4 {
		e.putAll(e.swap(ks[0]), e.swap(ks[1]), e.swap(ks[2]), e.swap(ks[3]))
		for _, k := range ks {
			e.load(k)
		}
		e.putAll(e.swap(ks[3]), e.swap(ks[1]))
		for _, k := range ks {
			e.load(k)
		}
		e.put(ks[0], e.load(ks[0]), nil, 0) // to be created again
	}
}

func swapAllNone(e *trial) {
	ks := e.keys(3)
	for _, filled := range []bool{true, false} {
		for at := range ks {
			for _, k := range ks {
				if e.load(k); filled && e.is[k] == nil {
					e.fresh(k)
				}
			}
			for _, what := range []string{"replaced", "never there", "thought to be nothing"} {
				swaps := []cas.Swap{e.swap(ks[0]), e.swap(ks[1]), e.swap(ks[2])}
				switch what {
				case "replaced":
					if e.is[ks[at]] == nil {
						e.fresh(ks[at]) // what was thought to be nothing
						break
					}
					e.put(ks[at], e.load(ks[at]), e.value(), long)
				case "never there":
					swaps[at].Old.Value = e.value()
				default:
					if e.is[ks[at]] == nil {
						continue
					}
					swaps[at].Old.Value = nil
				}
				e.refusedAll(fmt.Sprintf("number %d was %s", at+1, what), swaps...)
			}
		}
		for _, k := range ks {
			if e.is[k] != nil {
				e.put(k, e.load(k), nil, 0)
			}
		}
	}
}

func swapAllChecks(e *trial) {
	ks := e.keys(3)
	e.fresh(ks[0])
	for range 2 {
		e.putAll(e.checks(ks[0]), e.swap(ks[1]), e.checks(ks[2])) // the last one is nothing
		for _, k := range ks {
			e.load(k)
		}
		e.put(ks[0], e.load(ks[0]), e.value(), long)
	}
	was := e.checks(ks[0])
	e.put(ks[0], e.load(ks[0]), e.value(), long)
	e.refusedAll("a checked entry was replaced", was, e.swap(ks[1]), e.checks(ks[2]))
	e.refusedAll("a checked entry was replaced", e.swap(ks[1]), e.checks(ks[2]), was)
	was = e.checks(ks[0])
	e.put(ks[0], e.load(ks[0]), nil, 0)
	e.refusedAll("a checked entry was removed", was, e.swap(ks[1]), e.checks(ks[2]))
	was = e.checks(ks[2])
	e.fresh(ks[2])
	e.refusedAll("where nothing was, something is", was, e.swap(ks[1]))
	e.refusedAll("where nothing was, something is", e.swap(ks[1]), was)
	e.putAll(e.checks(ks[0]), e.swap(ks[1]), e.checks(ks[2]))
	for _, k := range ks {
		e.load(k)
	}
}

func swapAllMost(e *trial) {
	ks := e.keys(cas.MostSwaps)
	all := func() (swaps []cas.Swap) {
		for i, k := range ks {
			if i%10 == 3 {
				swaps = append(swaps, e.checks(k))
			} else {
				swaps = append(swaps, e.swap(k))
			}
		}
		return swaps
	}
	e.putAll(all()...)
	swaps := all()
	last := ks[len(ks)-1]
	e.put(last, e.load(last), e.value(), long)
	e.refusedAll("the last one was replaced", swaps...)
	e.putAll(all()...)
	for _, k := range ks {
		e.load(k)
	}
}

func swapAllValues(e *trial) {
	a, b := e.key("a"), e.key("b")
	for range 3 {
		e.putAll(e.swap(a), e.swap(b))
		was := cas.Entry{Value: e.is[a]}
		last := e.put(a, was, e.value(), long)
		e.refused("replacing what SwapAll wrote and was replaced", a, was, e.value())
		e.load(a)
		sa, sb := e.swap(a), e.swap(b)
		sa.Old, sb.Old = last, e.load(b)
		e.putAll(sa, sb)
		e.refused("replacing what SwapAll replaced", a, last, e.value())
		e.put(a, e.load(a), nil, 0)
		e.put(b, cas.Entry{Value: e.is[b]}, nil, 0)
	}
}
