package halt_test

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
)

func TestStorageKey(t *testing.T) {
	t.Parallel()
	p := halt.Policy{Name: "api", Limit: 5, Window: time.Minute}
	month := halt.Policy{Name: "quota", Limit: 5, Algorithm: halt.FixedWindow, Period: halt.Period{Unit: halt.Month, Zone: "Europe/Berlin", Anchor: 15}}
	long, name := strings.Repeat("x", 500), strings.Repeat("n", 64)
	sliding := halt.Policy{Name: "w", Window: time.Second, Algorithm: halt.SlidingWindow}
	inFlight := halt.Policy{Name: "f", Window: time.Second, Algorithm: halt.InFlight, Precision: 60}
	leaky := halt.Policy{Name: "l", Window: time.Second, Algorithm: halt.LeakyBucket}
	hour := halt.Policy{Name: "h", Algorithm: halt.FixedWindow, Period: halt.Period{Unit: halt.Hour}}
	longest := halt.Policy{Name: name, Algorithm: halt.FixedWindow, Window: decade}
	for _, c := range []struct {
		want string
		c    halt.Charge
	}{
		{"halt:api:T1m0s:user:42", p.Charge("user:42", 1)},
		{"halt:~api:T1m0s:k", halt.Charge{Policy: p, Key: "k", Mode: halt.Shadow}},
		{"halt:~api:T1m0s:l", halt.Charge{Policy: p, Key: "l", Mode: halt.Credit, Shadow: true}},
		{"halt:quota:Fmonth,Europe/Berlin,15:k", month.Charge("k", 1)},
		{"halt:w:S1s/10:k", sliding.Charge("k", 1)},
		{"halt:f:I1s/60:k", inFlight.Charge("k", 1)},
		{"halt:l:L1s:" + long, leaky.Charge(long, 1)},
		{"halt:h:Fhour,UTC:\x00", hour.Charge("\x00", 1)},
		{"halt:" + name + ":F87600h0m0s:\xff\xfe", longest.Charge("\xff\xfe", 1)},
	} {
		if got := halt.StorageKey("halt:", c.c); got != c.want {
			t.Errorf("%q, not %q", got, c.want)
		}
	}
}

// TestStorageKeyIdentity: two charges have one storage key exactly if they draw on one budget. What two charges of a call
// are, and what more than sixteen are, is found out in different ways, and has to be the same.
func TestStorageKeyIdentity(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 6))
	pick := func(from ...string) string { return from[rng.IntN(len(from))] }
	random := func() halt.Charge {
		p := halt.Policy{
			Name: pick("a", "a.b", "b"), Plan: pick("", "x"), Limit: 1 + rng.Int64N(2), Block: time.Duration(rng.IntN(2)) * time.Second,
			Algorithm: halt.Algorithm(rng.IntN(5)), Window: time.Duration(1+rng.IntN(2)) * time.Second,
		}
		switch p.Algorithm {
		case halt.FixedWindow:
			if rng.IntN(2) == 0 {
				p.Window, p.Period = 0, halt.Period{Unit: halt.Unit(4 + rng.IntN(2)), Zone: pick("", "UTC", "Europe/Berlin")}
				if p.Period.Unit == halt.Month {
					p.Period.Anchor = rng.IntN(3)
				}
			}
		case halt.SlidingWindow, halt.InFlight:
			p.Precision = []int{0, 10, 1}[rng.IntN(3)]
		default:
			p.Burst = rng.Int64N(2)
		}
		c := halt.Charge{Policy: p, Key: pick("k", "k:", ":k", "T1s:k", "b:T1s:k"), Mode: halt.Mode(rng.IntN(5))}
		if c.Mode == halt.Debit || c.Mode == halt.Credit {
			c.Shadow = rng.IntN(2) == 0
		}
		return c
	}
	l := halt.New(storetest.NewModel(nil), nil)
	var filler []halt.Charge
	for i := range 20 {
		filler = append(filler, (halt.Policy{Name: "filler", Limit: 1, Window: time.Second}).Charge(strings.Repeat("f", i+1), 0))
	}
	same := 0
	for range 20_000 {
		a, b := random(), random()
		if rng.IntN(2) == 0 { // else they are hardly ever the same
			b.Policy.Name, b.Key, b.Policy.Algorithm, b.Policy.Window, b.Policy.Period = a.Policy.Name, a.Key, a.Policy.Algorithm, a.Policy.Window, a.Policy.Period
			b.Policy.Burst, b.Policy.Precision = 0, a.Policy.Precision
			if b.Policy.Precision == 10 {
				b.Policy.Precision = 0
			}
		}
		equal := halt.StorageKey("p:", a) == halt.StorageKey("p:", b)
		want := a.OnShadow() == b.OnShadow() && a.Policy.Name == b.Policy.Name && a.Key == b.Key && a.Policy.Algorithm == b.Policy.Algorithm &&
			a.Policy.Window == b.Policy.Window && a.Policy.Period.String() == b.Policy.Period.String() &&
			(a.Policy.Algorithm < halt.SlidingWindow || a.Policy.SubWindows() == b.Policy.SubWindows())
		if equal != want {
			t.Fatalf("storage keys %q and %q of %+v and %+v", halt.StorageKey("", a), halt.StorageKey("", b), a, b)
		}
		if equal {
			same++
		}
		_, err := l.AllowAll(t.Context(), a, b)
		_, many := l.AllowAll(t.Context(), append([]halt.Charge{a, b}, filler...)...)
		if errors.Is(err, halt.ErrInvalidCharge) != equal || errors.Is(many, halt.ErrInvalidCharge) != equal {
			t.Fatalf("a call of both: %v, with twenty more: %v; storage keys %q and %q", err, many, halt.StorageKey("", a), halt.StorageKey("", b))
		}
	}
	if same < 500 {
		t.Errorf("only %d pairs were the same", same)
	}
}

func TestInvalidCharges(t *testing.T) {
	t.Parallel()
	l := halt.New(storetest.NewModel(nil), nil)
	p := halt.Policy{Name: "api", Limit: 5, Window: time.Minute}
	for field, c := range map[string]halt.Charge{
		"Key":    {Policy: p, Cost: 1},
		"Cost":   {Policy: p, Key: "secret", Cost: -1},
		"Mode":   {Policy: p, Key: "secret", Mode: 5},
		"Shadow": {Policy: p, Key: "secret", Shadow: true},
		"Taken":  {Policy: p, Key: "secret", Cost: 2, Taken: 1, Mode: halt.Credit},
	} {
		_, err := l.AllowAll(t.Context(), p.Charge("fine", 1), c)
		var invalid *halt.InvalidError
		if !errors.Is(err, halt.ErrInvalidCharge) || !errors.As(err, &invalid) || invalid.Faults[0].Field != field || invalid.Policy != "api" {
			t.Errorf("%s: %v", field, err)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the text tells the key: %v", field, err)
		}
	}
	if _, err := l.AllowAll(t.Context(), halt.Charge{Policy: p, Key: "k", Cost: 1, Taken: 1, At: -1, Mode: halt.Credit}); !errors.Is(err, halt.ErrInvalidCharge) {
		t.Errorf("a Credit from before 1970: %v", err)
	}
	if d, err := l.Peek(t.Context(), p, "fine"); err != nil || d.Remaining != 5 {
		t.Errorf("an invalid call was spent: %+v, %v", d, err)
	}
	if s := halt.Credit.String() + halt.Mode(7).String(); s != "creditunknown" {
		t.Errorf("names: %s", s)
	}
}
