package memory

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// Charges have one fingerprint exactly if they have one storage key.
func TestFingerprintIsStorageKey(t *testing.T) {
	h := newHasher()
	r := rand.New(rand.NewPCG(3, 4))
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	names := []string{"a", "b", "ab", "ba", "aa", "aab", "abb", "abab", "abcde", "abcdecde", "abcdefgh", "abcdefghi", "abcdefghijklmnopq", strings.Repeat("a", 64)}
	byKey, byFP := map[string]uint64{}, map[uint64]string{}
	for range 200_000 {
		c := halt.Charge{
			Policy: halt.Policy{
				Name: pick(names...), Plan: pick("", "free"), Limit: r.Int64N(3) + 1, Burst: r.Int64N(3),
				Algorithm: halt.Algorithm(r.IntN(5)), Window: time.Duration(r.IntN(3)+1) * time.Second,
				Block: time.Duration(r.IntN(2)) * time.Second,
			},
			Key: pick("a", "b", "ab", "ba", "\x00", ""), Cost: r.Int64N(3), Mode: halt.Mode(r.IntN(5)), Shadow: r.IntN(4) == 0,
		}
		switch p := &c.Policy; p.Algorithm {
		case halt.SlidingWindow, halt.InFlight:
			p.Precision = []int{0, 1, 9, 10, 11, 60}[r.IntN(6)]
		case halt.FixedWindow:
			if r.IntN(2) == 0 {
				p.Window = 0
				p.Period = halt.Period{Unit: halt.Unit(r.IntN(5) + 1), Zone: pick("", "UTC", "Europe/Berlin", "Asia/Tokyo")}
				if p.Period.Unit == halt.Month {
					p.Period.Anchor = r.IntN(4)
				}
			}
		default:
		}
		key, fp := halt.StorageKey("", c), h.fingerprint(&c, c.OnShadow())
		if other, ok := byKey[key]; ok && other != fp {
			t.Fatalf("%q has two fingerprints", key)
		}
		if other, ok := byFP[fp]; ok && other != key {
			t.Fatalf("%q and %q have one fingerprint", key, other)
		}
		byKey[key], byFP[fp] = fp, key
	}
	if len(byKey) < 1000 {
		t.Fatalf("only %d storage keys were tried", len(byKey))
	}
}

func TestFingerprintIsSeeded(t *testing.T) {
	c := halt.Policy{Name: "a", Limit: 1, Window: time.Second}.Charge("key", 1)
	a, b := newHasher(), newHasher()
	if a.fingerprint(&c, false) == b.fingerprint(&c, false) {
		t.Error("two stores have the same fingerprint of a key")
	}
}

// The bits of a fingerprint that choose the shard and those that choose the slot are spread evenly, for keys that count up.
func TestFingerprintIsEven(t *testing.T) {
	h := newHasher()
	p := halt.Policy{Name: "a", Limit: 1, Window: time.Second}
	const n, bins = 64_000, 64
	var low, high [bins]int
	key := []byte("user:00000")
	for range n {
		for i := len(key) - 1; ; i-- {
			if key[i]++; key[i] <= '9' {
				break
			}
			key[i] = '0'
		}
		c := p.Charge(string(key), 1)
		fp := h.fingerprint(&c, false)
		low[fp%bins]++
		high[fp>>58]++
	}
	for i := range bins {
		for _, got := range []int{low[i], high[i]} {
			if got < n/bins*3/4 || got > n/bins*5/4 { // eight standard deviations
				t.Fatalf("%d of %d fingerprints in one of %d bins", got, n, bins)
			}
		}
	}
}
