package memory_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

// A store of a few keys looks at all of them: what is expired goes first, then what is nearest to its reset.
func TestEvictsTheNearestToItsReset(t *testing.T) {
	const maxKeys = 10
	synctest.Test(t, func(t *testing.T) {
		s := memory.New(&memory.Options{MaxKeys: maxKeys})
		p := halt.Policy{Name: "p", Limit: 3600, Window: time.Hour} // a second each
		spent := func(key string) bool {
			c := p.Charge(key, 1)
			c.Mode = halt.Peek
			return take(t, s, c).Remaining < p.Limit
		}
		for i := range maxKeys {
			take(t, s, p.Charge(fmt.Sprint(i), int64((i*7)%maxKeys+1)*10)) // resets after 10 to 100 s, in disorder
		}
		must(t, s.Len() == maxKeys, "Len is %d", s.Len())

		// Newcomers with a later reset push out one after the other, from the nearest on.
		for n := range 3 {
			take(t, s, p.Charge(fmt.Sprint("new", n), 1000))
			must(t, s.Len() == maxKeys, "Len is %d", s.Len())
			for i := range maxKeys {
				want := (i*7)%maxKeys > n
				must(t, spent(fmt.Sprint(i)) == want, "after %d newcomers, key %d: kept is %v", n+1, i, !want)
			}
		}

		time.Sleep(50 * time.Second) //nolint:forbidigo // the bubble's clock
		take(t, s, p.Charge("last", 1))
		must(t, s.Len() == maxKeys-2+1, "Len is %d: the two that are expired left, nobody else", s.Len())
		for i := range maxKeys {
			must(t, spent(fmt.Sprint(i)) == ((i*7)%maxKeys >= 5), "key %d", i)
		}
	})
}

// A newcomer finds a place even if all others are deeper in debt.
func TestNewcomerIsKept(t *testing.T) {
	for _, maxKeys := range []int{1, 2, 100, 5000} {
		s := memory.New(&memory.Options{MaxKeys: maxKeys})
		p := halt.Policy{Name: "p", Limit: 10, Window: time.Hour}
		for i := range 3 * maxKeys {
			take(t, s, p.Charge(fmt.Sprint("deep", i), 10))
			must(t, s.Len() == min(i+1, maxKeys), "Len is %d after %d of at most %d", s.Len(), i+1, maxKeys)
		}
		take(t, s, p.Charge("new", 9))
		must(t, !take(t, s, p.Charge("new", 2)).Allowed, "the newcomer is forgotten")
	}
}

// Of a policy's own flood, too, those survive that have nothing left: whoever is refused must not come back by it, however
// near to its reset the key is.
func TestFloodOfTheSamePolicy(t *testing.T) {
	for _, a := range []halt.Algorithm{halt.TokenBucket, halt.LeakyBucket, halt.FixedWindow, halt.SlidingWindow} {
		for _, block := range []time.Duration{0, time.Hour} {
			t.Run(fmt.Sprint(a, " block ", block), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					const debtors, maxKeys = 100, 10_000
					s := memory.New(&memory.Options{MaxKeys: maxKeys})
					p := halt.Policy{Name: "api", Limit: 5, Window: time.Hour, Algorithm: a, Block: block}
					for i := range debtors {
						c := p.Charge(fmt.Sprint("debtor ", i), 1)
						for allowed := true; allowed; {
							allowed = take(t, s, c).Allowed
						}
					}
					time.Sleep(7 * time.Minute) //nolint:forbidigo // the bubble's clock: the flood is younger, and resets later
					for i := range 10 * maxKeys {
						take(t, s, p.Charge(fmt.Sprint("once ", i), 1))
					}
					if n := s.Len(); n > maxKeys {
						t.Errorf("%d keys", n)
					}
					forgotten := 0
					for i := range debtors {
						// What has been regained meanwhile is theirs; being as good as new is not.
						if d := take(t, s, p.Charge(fmt.Sprint("debtor ", i), 3)); d.Allowed {
							forgotten++
						}
					}
					if forgotten > 0 {
						t.Errorf("%d of %d forgotten", forgotten, debtors)
					}
				})
			})
		}
	}
}
