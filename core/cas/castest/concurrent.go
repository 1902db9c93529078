package castest

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/halt-dev/halt/core/cas"
)

const (
	crowd   = 64 // goroutines that race for one swap
	workers = 8  // goroutines that swap one after the other
	each    = 25 // swaps of each
)

// mostAttempts is how many swaps a worker tries: of those that are refused nearly each is one that another made.
const mostAttempts = 10_000

var errNowhere = fmt.Errorf("of %d swaps, tried one after the other, %d were not to be had", mostAttempts, each)

// patience is how long a crowd may take.
var patience = 2 * time.Minute

var concurrentCases = []testCase{
	{
		name: "ConcurrentCreate", run: concurrentCreate,
		rule: "However many create an entry at the same time, exactly one does, and its value is what is there.",
	},
	{
		name: "ConcurrentReplace", run: concurrentReplace,
		rule: "However many replace or remove the same entry at the same time, exactly one does, and what it made is what is there.",
	},
	{
		name: "ConcurrentCount", run: concurrentCount,
		rule: "Of counters that many raise at the same time, by Load or from the last Result, the count is the number of swaps that " +
			"were acknowledged: none is lost, and none that was refused is written. Load and Found are never older than what was " +
			"acknowledged before.",
	},
	{
		name: "ConcurrentRemove", run: concurrentRemove,
		rule: "However many create, replace and remove an entry at the same time, each entry is swapped once, and as many were removed as " +
			"were created, but for what is there.",
	},
	{
		name: "ConcurrentSwapAll", several: true, run: concurrentSwapAll,
		rule: "SwapAlls that overlap, among themselves and with CompareAndSwaps, are all or nothing: what is moved between accounts is " +
			"neither lost nor made, and what one checks is true at the moment when it writes.",
	},
}

func concurrentCreate(e *trial) {
	rs := e.registers()
	for i := range 4 {
		key := e.key(fmt.Sprint(i))
		e.warmUp(rs, key)
		e.contend(key, rs, make([]cas.Entry, len(rs)), func(int) []byte { return e.value() })
	}
}

func concurrentReplace(e *trial) {
	rs := e.registers()
	for i := range 4 {
		key := e.key(fmt.Sprint(i))
		e.firmly(key, e.value())
		olds := make([]cas.Entry, len(rs)) // their Versions may be different
		for i, r := range rs {
			olds[i] = e.surely(r, key)
		}
		e.contend(key, rs, olds, func(g int) []byte {
			if i%2 == 1 && g%2 == 0 {
				return nil
			}
			return e.value()
		})
	}
}

// counted returns a value that tells a count.
func (e *trial) counted(n int64) []byte {
	return binary.BigEndian.AppendUint64(e.value(), uint64(n))
}

// count returns what a value of counted tells, 0 if there is none.
func count(v []byte) int64 {
	if v == nil {
		return 0
	}
	if len(v) < 8 {
		fail("what nobody wrote was found: %s", show(v))
	}
	return int64(binary.BigEndian.Uint64(v[len(v)-8:]))
}

// raise stores n if it is more.
func raise(to *atomic.Int64, n int64) {
	for {
		if is := to.Load(); n <= is || to.CompareAndSwap(is, n) {
			return
		}
	}
}

func concurrentCount(e *trial) {
	rs := e.registers()
	key := e.key("counter")
	e.warmUp(rs, key)
	h := newHistory(cas.Entry{})
	var acknowledged, unknown, least atomic.Int64 // least is what the count is at least
	e.rush(workers, func(g int, rng *rand.Rand) error {
		r := rs[g%len(rs)]
		is, known := cas.Entry{}, true // a guess
		for done, attempts := 0, 0; done < each; attempts++ {
			if attempts == mostAttempts {
				return errNowhere
			}
			before := least.Load()
			if !known || rng.IntN(4) == 0 {
				is = h.load(e, r, key)
				if n := count(is.Value); n < before {
					return fmt.Errorf("a Load found %d, but %d was acknowledged before", n, before)
				}
			}
			n := count(is.Value)
			before = least.Load()
			swapped, lost, now, err := h.swap(e, r, key, is, e.counted(n+1))
			switch {
			case err != nil:
				return err
			case lost:
				unknown.Add(1)
				done++
			case swapped:
				acknowledged.Add(1)
				raise(&least, n+1)
				done++
			case now != nil:
				if n := count(now.Value); n < before {
					return fmt.Errorf("a swap found %d in its way, but %d was acknowledged before", n, before)
				}
			}
			if known = now != nil; known {
				is = *now
			}
		}
		return nil
	})
	is := h.load(e, e.reg, key)
	h.check(e)
	n := count(is.Value)
	most := acknowledged.Load() + unknown.Load()
	e.check(acknowledged.Load() <= n && n <= most, "the count is %d after %d acknowledged swaps and %d with an error", n, acknowledged.Load(), unknown.Load())
}

func concurrentRemove(e *trial) {
	rs := e.registers()
	key := e.key("k")
	e.warmUp(rs, key)
	h := newHistory(cas.Entry{})
	var created, removed, unknown atomic.Int64
	e.rush(workers, func(g int, rng *rand.Rand) error {
		r := rs[g%len(rs)]
		is, known := cas.Entry{}, true
		for done, attempts := 0, 0; done < each; attempts++ {
			if attempts == mostAttempts {
				return errNowhere
			}
			if !known {
				is = h.load(e, r, key)
			}
			value := e.value()
			if is.Value != nil && rng.IntN(2) == 0 {
				value = nil
			}
			swapped, lost, now, err := h.swap(e, r, key, is, value)
			switch {
			case err != nil:
				return err
			case lost:
				unknown.Add(1)
				done++
			case swapped && is.Value == nil:
				created.Add(1)
				done++
			case swapped && value == nil:
				removed.Add(1)
				done++
			case swapped:
				done++
			}
			if known = now != nil; known {
				is = *now
			}
		}
		return nil
	})
	is := h.load(e, e.reg, key)
	h.check(e)
	left := int64(0)
	if is.Value != nil {
		left = 1
	}
	if unknown.Load() == 0 {
		e.check(created.Load()-removed.Load() == left, "%d were created and %d removed, and %d is there", created.Load(), removed.Load(), left)
	}
}

func concurrentSwapAll(e *trial) {
	const accounts, balance = 5, 1000
	var rs []cas.TransactionRegister
	for _, r := range e.registers() {
		t, ok := r.(cas.TransactionRegister)
		if !ok {
			fail("Another returned a register that has no SwapAll")
		}
		rs = append(rs, t)
	}
	ks := e.keys(accounts)
	for _, k := range ks {
		e.firmly(k, e.counted(balance))
	}
	for _, r := range rs {
		e.surely(r, ks[0])
	}
	moved := make([]atomic.Int64, accounts) // by swaps that were acknowledged
	var paid, unknown atomic.Int64
	load := func(r cas.Register, key string) (cas.Entry, int64) {
		is := e.surely(r, key)
		runtime.Gosched() // so that others come in between, also where a call takes no time
		return is, count(is.Value)
	}
	transfer := func(r cas.TransactionRegister, rng *rand.Rand) (bool, error) {
		order, amount := rng.Perm(accounts)[:2], 1+rng.Int64N(20)
		from, n := load(r, ks[order[0]])
		to, m := load(r, ks[order[1]])
		ok, err := e.sendAll(e.ctx, r, []cas.Swap{
			{Key: ks[order[0]], Old: from, Value: e.counted(n - amount), Life: long},
			{Key: ks[order[1]], Old: to, Value: e.counted(m + amount), Life: long},
		})
		if ok && err == nil {
			moved[order[0]].Add(-amount)
			moved[order[1]].Add(amount)
		}
		return ok, err
	}
	pay := func(r cas.TransactionRegister, rng *rand.Rand) (bool, error) { // from outside
		i := rng.IntN(accounts)
		is, n := load(r, ks[i])
		res, err := e.send(e.ctx, r, ks[i], is, e.counted(n+1), long)
		if res.Swapped && err == nil {
			moved[i].Add(1)
			paid.Add(1)
		}
		return res.Swapped, err
	}
	audit := func(r cas.TransactionRegister, g int) (bool, error) {
		swaps := make([]cas.Swap, 0, accounts+1)
		before, sum := paid.Load(), int64(0)
		for _, k := range ks {
			is, n := load(r, k)
			sum += n
			swaps = append(swaps, cas.Swap{Key: k, Old: is, Value: is.Value, Life: long})
		}
		own := e.key(fmt.Sprint("audit", g))
		is, n := load(r, own)
		swaps = append(swaps, cas.Swap{Key: own, Old: is, Value: e.counted(n + 1), Life: long})
		ok, err := e.sendAll(e.ctx, r, swaps)
		if !ok || err != nil {
			return false, err
		}
		// Payments may be under way at this moment, one of each other goroutine, beside those that were acknowledged.
		if sum < accounts*balance+before || sum > accounts*balance+paid.Load()+unknown.Load()+workers {
			fail("a SwapAll that checked all accounts found %d in them, and there were %d to %d",
				sum, accounts*balance+before, accounts*balance+paid.Load()+workers)
		}
		return true, nil
	}
	e.rush(workers, func(g int, rng *rand.Rand) error {
		r := rs[g%len(rs)]
		for done, attempts := 0, 0; done < each; attempts++ {
			if attempts == mostAttempts {
				return errNowhere
			}
			var ok bool
			var err error
			switch what := rng.IntN(8); {
			case what == 0:
				ok, err = pay(r, rng)
			case what < 3:
				if ok, err = audit(r, g); !ok && err == nil {
					ok = rng.IntN(4) == 0 // the more write the fewer get through
				}
			default:
				ok, err = transfer(r, rng)
			}
			if err != nil && !e.h.LosesReplies {
				return err
			}
			if err != nil {
				unknown.Add(1)
			}
			if ok || err != nil {
				done++
			}
		}
		return nil
	})
	sum := int64(0)
	for i, k := range ks {
		n := count(e.surely(e.reg, k).Value)
		sum += n
		if unknown.Load() == 0 {
			e.check(n == balance+moved[i].Load(), "an account has %d, and %d were acknowledged", n, balance+moved[i].Load())
		}
	}
	if unknown.Load() == 0 {
		e.check(sum == accounts*balance+paid.Load(), "the accounts have %d together, in place of %d", sum, accounts*balance+paid.Load())
	}
}
