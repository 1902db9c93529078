package haltdynamo

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/algorithm"
	"github.com/halt-dev/halt/core/cas"
	"github.com/halt-dev/halt/core/storetest"
)

// newRegister returns a register that knows the time already.
func newRegister(tb testing.TB, client Client) *register {
	tb.Helper()
	r := &register{client: client, table: Table, clock: cas.NewClock().Now}
	if _, err := r.Load(ctx, "time"); err != nil {
		tb.Fatal(err)
	}
	return r
}

// isNotDone tells whether an error is one of cas.NotDone's, whose type has no name outside.
func isNotDone(err error) bool { return reflect.TypeOf(err) == reflect.TypeOf(cas.NotDone(nil)) }

// Random operations against a map.
func TestRegister(t *testing.T) {
	seed, _ := strconv.ParseUint(os.Getenv("HALT_SEED"), 10, 64)
	rng := rand.New(rand.NewPCG(seed, 0))
	r := newRegister(t, connect(Endpoint))
	model := map[string][]byte{}
	name := func() string { return fmt.Sprintf("register:%d:%d", os.Getpid(), rng.IntN(4)) }
	value := func() []byte {
		if rng.IntN(4) == 0 {
			return nil
		}
		return binary.BigEndian.AppendUint64(nil, rng.Uint64())
	}
	old := func(key string) cas.Entry {
		if rng.IntN(3) == 0 {
			return cas.Entry{Value: value()}
		}
		return cas.Entry{Value: model[key]}
	}
	same := func(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }
	for n := range 400 {
		key := name()
		switch rng.IntN(3) {
		case 0:
			if e, err := r.Load(ctx, key); err != nil || !same(e.Value, model[key]) {
				t.Fatalf("%d: Load: %q, %v; want %q", n, e.Value, err, model[key])
			}
		case 1:
			is, to := old(key), value()
			got, err := r.CompareAndSwap(ctx, key, is, to, time.Hour)
			fits := same(is.Value, model[key])
			if err != nil || got.Swapped != fits || !fits && (!got.Found || !same(got.Entry.Value, model[key])) {
				t.Fatalf("%d: CompareAndSwap of %q by %q: %+v, %v; there was %q", n, is.Value, to, got, err, model[key])
			}
			if fits {
				model[key] = to
			}
		case 2:
			var swaps []cas.Swap
			fits := true
			for _, i := range rng.Perm(4)[:2+rng.IntN(3)] {
				key := fmt.Sprintf("register:%d:%d", os.Getpid(), i)
				w := cas.Swap{Key: key, Old: old(key), Value: value(), Life: time.Hour}
				if w.Value == nil || rng.IntN(3) == 0 { // SwapAll removes nothing
					w.Value = w.Old.Value
				}
				fits = fits && same(w.Old.Value, model[key])
				swaps = append(swaps, w)
			}
			got, err := r.SwapAll(ctx, swaps)
			if err != nil || got != fits {
				t.Fatalf("%d: SwapAll of %+v: %t, %v; there was %q", n, swaps, got, err, model)
			}
			for _, w := range swaps {
				if fits {
					model[w.Key] = w.Value
				}
			}
		}
	}
}

// Swaps of one entry and of several at once, by many: each that says that it swapped did, and nothing else.
func TestRegisterConcurrently(t *testing.T) {
	r := newRegister(t, connect(Endpoint))
	names := [3]string{}
	for i := range names {
		names[i] = fmt.Sprintf("together:%d:%d", os.Getpid(), i)
	}
	count := func(e cas.Entry) uint64 {
		if e.Value == nil {
			return 0
		}
		return binary.BigEndian.Uint64(e.Value)
	}
	unique := new(atomic.Uint64)
	next := func(e cas.Entry) []byte { // a count, and a nonce
		return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, count(e)+1), unique.Add(1))
	}
	var done [len(names)]atomic.Uint64
	var wg sync.WaitGroup
	for g := range 12 {
		rng := rand.New(rand.NewPCG(uint64(g), 0))
		wg.Go(func() {
			for range 12 {
				some := rng.Perm(len(names))[:1+rng.IntN(len(names))]
				swaps := make([]cas.Swap, len(some))
				for i, k := range some {
					e, err := r.Load(ctx, names[k])
					if err != nil {
						t.Error(err)
						return
					}
					swaps[i] = cas.Swap{Key: names[k], Old: e, Value: next(e), Life: time.Hour}
				}
				var swapped bool
				var err error
				if len(swaps) == 1 {
					var got cas.Result
					got, err = r.CompareAndSwap(ctx, swaps[0].Key, swaps[0].Old, swaps[0].Value, time.Hour)
					swapped = got.Swapped
				} else {
					swapped, err = r.SwapAll(ctx, swaps)
				}
				if err != nil {
					t.Error(err)
					return
				}
				if swapped {
					for _, k := range some {
						done[k].Add(1)
					}
				}
			}
		})
	}
	wg.Wait()
	for i, key := range names {
		e, err := r.Load(ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		if count(e) != done[i].Load() || count(e) == 0 {
			t.Errorf("%d swaps went through, and %d are there", done[i].Load(), count(e))
		}
	}
}

// A call of more charges than a transaction can have is refused, and nothing of it is spent.
func TestTooManyCharges(t *testing.T) {
	s := newStore(t, connect(Endpoint), patient)
	p := lasting(10)
	for _, n := range []int{mostActions, mostActions + 1} {
		cs := make([]halt.Charge, n)
		for i := range cs {
			cs[i] = p.Charge(fmt.Sprint(n, "/", i), 1)
		}
		err := s.Take(ctx, cs, make([]halt.Decision, n))
		if n <= mostActions && err != nil || n > mostActions && !failsAs(err, halt.ErrInvalidCharge) {
			t.Errorf("%d charges: %v", n, err)
		}
		if d := take(t, s, p.Charge(cs[0].Key, 0)); (d.Remaining == 9) != (err == nil) {
			t.Errorf("%d charges, %v: %d are left", n, err, d.Remaining)
		}
	}
}

func TestItemKey(t *testing.T) {
	long := strings.Repeat("k", mostKey)
	for key, want := range map[string]string{
		"halt:api:T1m0s:user:42": "halt:api:T1m0s:user:42", "halt:ü€😀\uFFFD}{": "halt:ü€😀\uFFFD}{", long: long,
		long + "k": "", "a\x00": "", "a\xff": "", "a\n": "", "a\x7f": "", "a\xed\xa0\x80": "", strings.Repeat("😀", 1000): "", strings.Repeat("\x00", 1<<16): "",
	} {
		got := itemKey(key)
		switch {
		case want != "" && got != want:
			t.Errorf("%.30q: %q", key, got)
		case want == "" && (!strings.HasPrefix(got, hashMark) || got == key):
			t.Errorf("%.30q is not hashed: %q", key, got)
		case !utf8.ValidString(got) || len(got) > mostKey:
			t.Errorf("%.30q: %q", key, got)
		}
	}
	// No two keys share an item, whatever they are.
	seen := map[string]string{}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 20_000 {
		b := []byte("halt:")
		for range rng.IntN(6) {
			b = append(b, []string{"a", "b", "\x00", "\xff", "?", "#", "é", "\xc3", strings.Repeat("z", mostKey-6)}[rng.IntN(9)]...)
		}
		got := itemKey(string(b))
		if other, ok := seen[got]; ok && other != string(b) {
			t.Fatalf("%.40q and %.40q share %.40q", other, b, got)
		}
		seen[got] = string(b)
	}
}

// No item is larger than 1024 bytes, so that a write never costs more than one unit.
func TestItemSize(t *testing.T) {
	clock := halt.InstantOf(time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC))
	r := &recorder{}
	s, err := cas.New(r, &cas.Options{Clock: func() halt.Instant { return clock }, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	p := halt.Policy{Name: strings.Repeat("n", 64), Algorithm: halt.SlidingWindow, Limit: 1<<52 - 1, Window: time.Minute, Precision: 60, Block: 10 * 365 * 24 * time.Hour}
	for range 61 {
		if _, err := storetest.TakeOne(ctx, s, p.Charge(strings.Repeat("k", mostKey), (1<<52-1)/61)); err != nil {
			t.Fatal(err)
		}
		clock += halt.Instant(time.Second / time.Microsecond)
	}
	if d, err := storetest.TakeOne(ctx, s, p.Charge(strings.Repeat("k", mostKey), 1<<51)); err != nil || !d.Blocked {
		t.Fatalf("%+v, %v", d, err)
	}
	if _, err := algorithm.Parse(r.value[17:], &p); err != nil {
		t.Fatal(err)
	}
	item := itemOf(strings.Repeat("k", mostKey), r.value, clock, 10*365*24*time.Hour)
	size := 0
	for name, v := range item {
		size += len(name)
		switch v := v.(type) {
		case *types.AttributeValueMemberS:
			size += len(v.Value)
		case *types.AttributeValueMemberB:
			size += len(v.Value)
		case *types.AttributeValueMemberN:
			size += len(v.Value)/2 + 2 // as documented, rounded up
		}
	}
	t.Logf("the largest item has %d bytes", size)
	if size > 1024 {
		t.Errorf("an item of %d bytes", size)
	}
}

// recorder is a register of one entry.
type recorder struct{ value []byte }

func (r *recorder) Load(context.Context, string) (cas.Entry, error) {
	return cas.Entry{Value: r.value}, nil
}

func (r *recorder) CompareAndSwap(_ context.Context, _ string, old cas.Entry, value []byte, _ time.Duration) (cas.Result, error) {
	if !bytes.Equal(old.Value, r.value) {
		return cas.Result{Found: true, Entry: cas.Entry{Value: r.value}}, nil
	}
	r.value = value
	return cas.Result{Swapped: true}, nil
}
