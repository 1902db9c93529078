package stats

import (
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// TestTopOfZipf sends a stream of which few keys make up most, and compares the lists with exact counts: of allowed ones by
// cost, of refused ones by number.
func TestTopOfZipf(t *testing.T) {
	const n, top = 400_000, 20
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	zipf := rand.NewZipf(r, 1.05, 1, 10_000_000)
	c := New(&Options{TopKeys: top, ShowKeys: true})
	refusals, spent := map[string]int64{}, map[string]int64{}
	charges, decisions := make([]halt.Charge, 1), make(halt.Decisions, 1)
	e := &halt.Event{Charges: charges, Decisions: decisions}
	for i := range n {
		key := "user:" + strconv.FormatUint(zipf.Uint64(), 10)
		cost := 1 + r.Int64N(9)
		charges[0] = halt.Policy{Name: "api", Limit: 10, Window: time.Minute}.Charge(key, cost)
		decisions[0] = halt.Decision{Allowed: i%2 == 0, Limit: 10}
		if decisions[0].Allowed {
			spent[key] += cost
		} else {
			refusals[key]++
		}
		c.End(context.Background(), e)
	}
	s := c.Snapshot()
	checkTop(t, "refused", s.TopRefused, refusals, n/2, top)
	sum := int64(0)
	for _, v := range spent {
		sum += v
	}
	checkTop(t, "spending", s.TopSpending, spent, sum, top)
}

func checkTop(t *testing.T, what string, got TopKeys, truth map[string]int64, total int64, top int) {
	t.Helper()
	if len(got.Keys) != top || got.Total != total || got.Unlisted > total/sketchKeys/8*9+9 {
		t.Fatalf("%s: %d keys of %d in all, others at most %d", what, len(got.Keys), got.Total, got.Unlisted)
	}
	exact := make([]int64, 0, len(truth))
	for _, v := range truth {
		exact = append(exact, v)
	}
	slices.Sort(exact)
	listed := map[string]bool{}
	for i, k := range got.Keys {
		listed[k.Key] = true
		if v := truth[k.Key]; v > k.Count || v < k.Count-k.Error {
			t.Errorf("%s: %s has %d, not %d to %d", what, k.Key, v, k.Count-k.Error, k.Count)
		}
		// What is at this place truly is at most the error away from what the list says.
		if v := exact[len(exact)-1-i]; v > k.Count || v < k.Count-got.Unlisted {
			t.Errorf("%s: at place %d there is one of %d, not %d", what, i+1, v, k.Count)
		}
	}
	last := got.Keys[top-1].Count
	for key, v := range truth {
		if v > last && v > got.Unlisted && !listed[key] {
			t.Errorf("%s: %s of %d is missing, and the last of the list has %d", what, key, v, last)
		}
	}
	t.Logf("%s: first %d, last %d, whose error is at most %d; others have at most %d",
		what, got.Keys[0].Count, last, got.Keys[top-1].Error, got.Unlisted)
}
