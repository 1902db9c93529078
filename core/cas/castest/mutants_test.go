package castest_test

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/halt-dev/halt/core/cas"
)

// mutant is a register that gets one thing wrong, and the cases that have to notice.
type mutant struct {
	name string
	by   []string
	kind kind
	flaw flaw

	hangs bool
	mixes bool // it has a SwapAll, though it compares versions
}

var (
	byValue   = kind{tells: true}
	byVersion = kind{versions: true, tells: true}
)

// every returns a function that is true every n-th time.
func every(r *register, n int64) bool { return r.calls.Add(1)%n == 0 }

var mutants = []mutant{
	// What is read.
	{name: "finds an empty value where nothing is", by: []string{"Nothing"}, flaw: flaw{
		load: func(r *register, ctx context.Context, key string) (cas.Entry, error) {
			e, err := r.doLoad(ctx, key)
			if e.Value == nil {
				e.Value = []byte{}
			}
			return e, err
		},
	}},
	{name: "gives nothing a version", by: []string{"Nothing"}, flaw: flaw{
		load: func(r *register, ctx context.Context, key string) (cas.Entry, error) {
			e, err := r.doLoad(ctx, key)
			e.Version++
			return e, err
		},
	}},
	{name: "reads what it cached", by: []string{"ConcurrentCount"}, flaw: flaw{
		load: func(r *register, ctx context.Context, key string) (cas.Entry, error) {
			e, err := r.doLoad(ctx, key)
			if every(r, 2) {
				if old, ok := r.cached.Load(key); ok {
					return old.(cas.Entry), nil
				}
			}
			r.cached.Store(key, e)
			return e, err
		},
	}},

	// What is compared.
	{name: "isn't atomic", by: []string{"ConcurrentCreate", "ConcurrentReplace", "ConcurrentCount", "ConcurrentRemove"}, kind: byValue, flaw: flaw{racy: true}},
	{name: "isn't atomic, with versions", by: []string{"ConcurrentCreate", "ConcurrentReplace", "ConcurrentCount"}, kind: byVersion, flaw: flaw{racy: true}},
	{name: "isn't atomic where nothing is", by: []string{"ConcurrentCreate"}, flaw: flaw{
		swap: func(r *register, ctx context.Context, key string, old cas.Entry, value []byte, life time.Duration) (cas.Result, error) {
			if old.Value != nil {
				return r.doSwap(ctx, key, old, value, life)
			}
			if is, err := r.doLoad(ctx, key); err != nil || is.Value != nil {
				return cas.Result{}, err
			}
			runtime.Gosched()
			r.mu.Lock()
			defer r.mu.Unlock()
			r.set(key, value, life)
			return cas.Result{Swapped: true}, nil
		},
	}},
	{name: "has a lock of each register's own", by: []string{"ConcurrentCreate", "ConcurrentReplace", "ConcurrentCount"}, flaw: ownLock},
	{name: "ignores old", by: []string{"Create", "Stale", "Found", "Twice", "Alike", "Remove"}, flaw: flaw{
		holds: func(cas.Entry, cas.Entry, []byte) (bool, bool) { return true, true },
	}},
	{name: "creates twice", by: []string{"Create", "Found", "Twice", "Empty", "ConcurrentCreate"}, flaw: flaw{
		holds: func(_, old cas.Entry, _ []byte) (bool, bool) { return true, old.Value == nil },
	}},
	{name: "replaces what was removed", by: []string{"Stale", "Found"}, flaw: flaw{
		holds: func(is, old cas.Entry, value []byte) (bool, bool) {
			return true, is.Value == nil && old.Value != nil && value != nil
		},
	}},
	{name: "takes an empty value for nothing", by: []string{"Empty"}, flaw: flaw{
		holds: func(is, old cas.Entry, _ []byte) (bool, bool) { return true, len(is.Value) == 0 && len(old.Value) == 0 },
	}},
	{name: "compares lengths", by: []string{"Stale", "Twice", "Alike"}, flaw: flaw{
		holds: func(is, old cas.Entry, _ []byte) (bool, bool) {
			return len(is.Value) == len(old.Value), is.Value != nil && old.Value != nil
		},
	}},
	{name: "compares letters, not their case", by: []string{"Alike"}, flaw: alike(strings.EqualFold)},
	{name: "compares without the spaces at the end", by: []string{"Alike"}, flaw: alike(func(a, b string) bool {
		return strings.TrimRight(a, " ") == strings.TrimRight(b, " ")
	})},
	{name: "compares to the first NUL", by: []string{"Alike"}, flaw: alike(func(a, b string) bool {
		a, _, _ = strings.Cut(a+"\x00", "\x00")
		b, _, _ = strings.Cut(b+"\x00", "\x00")
		return a != "" && a == b
	})},
	{name: "compares the first bytes", by: []string{"Alike"}, flaw: alike(func(a, b string) bool {
		return a[:min(len(a), 40)] == b[:min(len(b), 40)]
	})},
	{name: "removes whatever is there", by: []string{"Remove", "Stale", "Found"}, flaw: flaw{
		holds: func(is, _ cas.Entry, value []byte) (bool, bool) { return true, value == nil && is.Value != nil },
	}},
	{name: "removes again", by: []string{"Twice", "Stale"}, flaw: flaw{
		holds: func(is, old cas.Entry, value []byte) (bool, bool) {
			return true, value == nil && is.Value == nil && old.Value != nil
		},
	}},

	// What is written, and told.
	{name: "never swaps", by: []string{"Loaded", "Create", "ConcurrentCount"}, flaw: flaw{
		holds: func(cas.Entry, cas.Entry, []byte) (bool, bool) { return false, true },
	}},
	{name: "loses every 50th swap that it acknowledged", by: []string{"ConcurrentCount"}, kind: byValue, flaw: flaw{
		swap: func(r *register, ctx context.Context, key string, old cas.Entry, value []byte, life time.Duration) (cas.Result, error) {
			r.mu.Lock()
			lost := r.holds(key, old, value) && every(r, 50)
			r.mu.Unlock()
			if lost {
				return cas.Result{Swapped: true}, nil
			}
			return r.doSwap(ctx, key, old, value, life)
		},
	}},
	{name: "says that nothing happened when it did", by: []string{"ConcurrentCount", "ConcurrentRemove", "Loaded"}, kind: byValue, flaw: flaw{
		result: func(r *register, _ string, res *cas.Result) {
			if res.Swapped && every(r, 5) {
				*res = cas.Result{}
			}
		},
	}},
	{name: "tells the version before", by: []string{"Chain"}, kind: byVersion, flaw: flaw{
		result: func(_ *register, _ string, res *cas.Result) {
			if res.Swapped {
				res.Entry.Version--
			}
		},
	}},
	{name: "finds the old entry", by: []string{"Found", "Stale", "Create"}, kind: byValue, flaw: flaw{
		swap: func(r *register, ctx context.Context, key string, old cas.Entry, value []byte, life time.Duration) (cas.Result, error) {
			res, err := r.doSwap(ctx, key, old, value, life)
			if res.Found {
				res.Entry = old
			}
			return res, err
		},
	}},
	{name: "finds nothing", by: []string{"Found", "Stale", "Create"}, kind: byValue, flaw: flaw{
		result: func(_ *register, _ string, res *cas.Result) {
			if res.Found {
				res.Entry = cas.Entry{}
			}
		},
	}},
	{name: "finds an entry without its version", by: []string{"Found"}, kind: byVersion, flaw: flaw{
		result: func(_ *register, _ string, res *cas.Result) {
			if res.Found {
				res.Entry.Version = 0
			}
		},
	}},
	{name: "removes by an empty value", by: []string{"Remove", "ConcurrentRemove"}, kind: byValue, flaw: flaw{
		swap: func(r *register, ctx context.Context, key string, old cas.Entry, value []byte, life time.Duration) (cas.Result, error) {
			if value == nil {
				value = []byte{}
			}
			return r.doSwap(ctx, key, old, value, life)
		},
	}},
	{name: "takes an empty value for a removal", by: []string{"Empty"}, flaw: flaw{
		swap: func(r *register, ctx context.Context, key string, old cas.Entry, value []byte, life time.Duration) (cas.Result, error) {
			if len(value) == 0 {
				value = nil
			}
			return r.doSwap(ctx, key, old, value, life)
		},
	}},

	// Keys and slices.
	{name: "cuts long keys", by: []string{"Keys"}, flaw: flaw{key: func(k string) string { return k[:min(len(k), 255)] }}},
	{name: "has no case in keys", by: []string{"Keys"}, flaw: flaw{key: strings.ToLower}},
	{name: "trims keys", by: []string{"Keys"}, flaw: flaw{key: strings.TrimSpace}},
	{name: "makes keys valid UTF-8", by: []string{"Keys"}, flaw: flaw{key: func(k string) string { return strings.ToValidUTF8(k, "\ufffd") }}},
	{name: "ends keys at NUL", by: []string{"Keys"}, flaw: flaw{key: func(k string) string {
		k, _, _ = strings.Cut(k+"\x00", "\x00")
		return k
	}}},
	{name: "ends values at NUL", by: []string{"Values"}, flaw: flaw{value: func(v []byte) []byte {
		v, _, _ = bytes.Cut(v, []byte{0, 0})
		return bytes.Clone(v)
	}}},
	{name: "makes values valid UTF-8", by: []string{"Values"}, flaw: flaw{value: func(v []byte) []byte { return bytes.ToValidUTF8(v, []byte("?")) }}},
	{name: "cuts values", by: []string{"Values"}, flaw: flaw{value: func(v []byte) []byte { return bytes.Clone(v[:min(len(v), 1000)]) }}},
	{name: "keeps the value that it was given", by: []string{"Given"}, flaw: flaw{value: func(v []byte) []byte { return v }}},
	{name: "writes into the value that it was given", by: []string{"Given", "Loaded"}, flaw: flaw{value: func(v []byte) []byte {
		kept := bytes.Clone(v)
		if len(v) > 0 {
			v[0]++
		}
		return kept
	}}},
	{name: "returns memory that it uses again", by: []string{"Returned"}, flaw: buffered()},

	// Lives.
	{name: "keeps entries for a quarter of their life", by: []string{"Life", "LifeRenewed", "SwapAllLife"}, flaw: flaw{
		life: func(l time.Duration) time.Duration { return l / 4 },
	}},
	{name: "counts lives in whole seconds", by: []string{"Life", "LifeRenewed", "SwapAllLife"}, flaw: flaw{
		life: func(l time.Duration) time.Duration { return l / time.Second * time.Second },
	}},
	{name: "takes more than 30 days for a date", by: []string{"Life", "LifeRenewed", "SwapAllLife"}, flaw: flaw{
		life: func(l time.Duration) time.Duration {
			if l > 30*24*time.Hour {
				return 0
			}
			return l
		},
	}},
	{name: "counts in 32 bits", by: []string{"Life"}, flaw: flaw{
		life: func(l time.Duration) time.Duration {
			return time.Duration(int32(l/time.Second))*time.Second + time.Second
		},
	}},
	{name: "does not lengthen lives", by: []string{"LifeRenewed"}, flaw: flaw{
		end: func(was record, end time.Duration) time.Duration {
			if was.end > 0 {
				return was.end
			}
			return end
		},
	}},
	{name: "writes what it should check", by: []string{"SwapAllLife"}, flaw: flaw{
		swapAll: func(r *register, ctx context.Context, swaps []cas.Swap) (bool, error) {
			ok, err := r.doSwapAll(ctx, swaps)
			r.mu.Lock()
			defer r.mu.Unlock()
			for _, w := range swaps {
				if ok && w.Value != nil && checks(w) {
					r.set(w.Key, w.Value, w.Life)
				}
			}
			return ok, err
		},
	}},

	// Contexts.
	{name: "ignores its context", by: []string{"Context"}, flaw: flaw{
		load: func(r *register, _ context.Context, key string) (cas.Entry, error) {
			return r.doLoad(context.Background(), key)
		},
		swap: func(r *register, _ context.Context, key string, old cas.Entry, value []byte, life time.Duration) (cas.Result, error) {
			return r.doSwap(context.Background(), key, old, value, life)
		},
		swapAll: func(r *register, _ context.Context, swaps []cas.Swap) (bool, error) {
			return r.doSwapAll(context.Background(), swaps)
		},
	}},
	{name: "ignores SwapAll's context", by: []string{"Context"}, flaw: flaw{
		swapAll: func(r *register, _ context.Context, swaps []cas.Swap) (bool, error) {
			return r.doSwapAll(context.Background(), swaps)
		},
	}},
	{name: "waits when its context has ended", by: []string{"Context"}, hangs: true, flaw: flaw{
		load: func(r *register, ctx context.Context, key string) (cas.Entry, error) {
			if ctx.Err() != nil {
				<-r.done
			}
			return r.doLoad(ctx, key)
		},
	}},
	{name: "tells the key", by: []string{"Context"}, flaw: flaw{
		load: func(r *register, ctx context.Context, key string) (cas.Entry, error) {
			e, err := r.doLoad(ctx, key)
			if err != nil {
				err = fmt.Errorf("GET %s: %w", key, err)
			}
			return e, err
		},
	}},
	{name: "goes on with the slices when its context has ended", by: []string{"Context"}, flaw: flaw{
		swap: func(r *register, ctx context.Context, key string, old cas.Entry, value []byte, life time.Duration) (cas.Result, error) {
			if ctx.Err() != nil {
				value[0]++
				return cas.Result{}, ctx.Err()
			}
			return r.doSwap(ctx, key, old, value, life)
		},
	}},
	{name: "panics", by: []string{"Nothing", "ConcurrentCount", "Context"}, flaw: flaw{
		load: func(*register, context.Context, string) (cas.Entry, error) { panic("register: a fault") },
	}},

	// Several at once.
	{name: "writes what fits", by: []string{"SwapAllNone", "SwapAllChecks", "SwapAllMost", "ConcurrentSwapAll"}, flaw: flaw{
		swapAll: func(r *register, ctx context.Context, swaps []cas.Swap) (bool, error) {
			all := true
			for _, w := range swaps {
				ok, err := r.doSwapAll(ctx, []cas.Swap{w})
				if err != nil {
					return false, err
				}
				all = all && ok
			}
			return all, nil
		},
	}},
	{name: "writes up to the first that does not fit", by: []string{"SwapAllNone", "SwapAllMost", "ConcurrentSwapAll"}, flaw: flaw{
		swapAll: func(r *register, ctx context.Context, swaps []cas.Swap) (bool, error) {
			for _, w := range swaps {
				if ok, err := r.doSwapAll(ctx, []cas.Swap{w}); err != nil || !ok {
					return false, err
				}
			}
			return true, nil
		},
	}},
	{name: "looks first, and then writes", by: []string{"ConcurrentSwapAll"}, flaw: flaw{
		swapAll: func(r *register, ctx context.Context, swaps []cas.Swap) (bool, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			for _, w := range swaps {
				if !r.holds(w.Key, w.Old, w.Value) {
					return false, ctx.Err()
				}
			}
			r.mu.Unlock()
			<-time.After(50 * time.Microsecond)
			r.mu.Lock()
			for _, w := range swaps {
				if !checks(w) {
					r.set(w.Key, w.Value, w.Life)
				}
			}
			return true, nil
		},
	}},
	{name: "ignores checks", by: []string{"SwapAllChecks", "ConcurrentSwapAll"}, flaw: swapping(func(swaps []cas.Swap) []cas.Swap {
		return slices.DeleteFunc(slices.Clone(swaps), checks)
	})},
	{name: "ignores checks of nothing", by: []string{"SwapAllChecks"}, flaw: swapping(func(swaps []cas.Swap) []cas.Swap {
		return slices.DeleteFunc(slices.Clone(swaps), func(w cas.Swap) bool { return w.Value == nil && w.Old.Value == nil })
	})},
	{name: "swaps the first 25", by: []string{"SwapAllMost"}, flaw: swapping(func(swaps []cas.Swap) []cas.Swap { return swaps[:min(len(swaps), 25)] })},
	{name: "sorts the caller's swaps", by: []string{"SwapAll", "SwapAllNone"}, flaw: flaw{
		swapAll: func(r *register, ctx context.Context, swaps []cas.Swap) (bool, error) {
			slices.SortFunc(swaps, func(a, b cas.Swap) int { return strings.Compare(b.Key, a.Key) })
			return r.doSwapAll(ctx, swaps)
		},
	}},
	{name: "compares versions in SwapAll", by: []string{"SwapAll", "SwapAllValues"}, kind: byVersion, mixes: true},
}

// swapping is the flaw of a register that makes other swaps of those of a SwapAll.
func swapping(f func(swaps []cas.Swap) []cas.Swap) flaw {
	return flaw{swapAll: func(r *register, ctx context.Context, swaps []cas.Swap) (bool, error) {
		return r.doSwapAll(ctx, f(swaps))
	}}
}

// ownLock is the flaw of a register that is atomic only among its own callers.
var ownLock = flaw{
	swap: func(r *register, ctx context.Context, key string, old cas.Entry, value []byte, life time.Duration) (cas.Result, error) {
		r.own.Lock()
		defer r.own.Unlock()
		is, err := r.doLoad(ctx, key)
		if err != nil || string(is.Value) != string(old.Value) || (is.Value == nil) != (old.Value == nil) {
			return cas.Result{}, err
		}
		<-time.After(50 * time.Microsecond)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.set(key, value, life)
		return cas.Result{Swapped: true}, nil
	},
}

// alike is the flaw of a register that takes some values for the same.
func alike(same func(a, b string) bool) flaw {
	return flaw{holds: func(is, old cas.Entry, _ []byte) (bool, bool) {
		return true, is.Value != nil && old.Value != nil && same(string(is.Value), string(old.Value))
	}}
}

// buffered is the flaw of a register that reads everything into the same memory.
func buffered() flaw {
	var buffer []byte
	return flaw{returned: func(v []byte) []byte {
		if v == nil {
			return nil
		}
		buffer = append(buffer[:0], v...)
		return buffer
	}}
}
