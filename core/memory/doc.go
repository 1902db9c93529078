// Package memory is a [halt.Store] in this process's memory: exact, without a server, and without an allocation in a decision.
//
//	limiter := halt.New(memory.New(nil), nil)
//
// It is the right store for a service of one process, for limits that protect a process (what is in flight, load on a CPU), for
// tests, and in front of a shared store. Its budgets are this process's own: three replicas of a service admit three times the
// limit, and a restart forgets. Where several processes are to share a budget, take a store that is a module of its own, such as
// github.com/halt-dev/halt/stores/redis; nothing else changes.
//
// # Memory
//
// A key of a token bucket, leaky bucket or fixed window takes a slot of 32 bytes in a hash table; with the free slots between them
// that is 38 to 48 bytes a key in a store of a million. While a key is blocked it takes 24 more. A key of a sliding window or of
// what is in flight takes 8 more for each sub-window, and 16: 96 more at the default Precision of 10. However long keys and names
// are, they aren't kept, nor is anything else that the garbage collector would have to look at.
//
// In place of keys and names the store keeps 64-bit fingerprints of all that identifies a budget (see [halt.StorageKey]), seeded at random
// per store, so that nobody outside can search for two that are equal. Two budgets with one fingerprint would be one. The odds
// that a new key meets one of a million others are 1 in 18 trillion; that any two of a million meet, 1 in 37 million.
//
// The number of keys is bounded: see [Options] and, for what is forgotten at the bound, [Store]. There is no goroutine, and nothing
// to close.
//
// # Time
//
// The store's clock is the wall clock's reading when [New] was called, plus the monotonic time since: it never steps back. If the
// wall clock jumps ahead (it was set, or the machine slept), the store follows within a second; if it is set back, the store goes
// on undisturbed.
//
// So a store that was made inside a [testing/synctest] bubble runs on the bubble's time, and an hour passes at once:
//
//	synctest.Test(t, func(t *testing.T) {
//		limiter := halt.New(memory.New(nil), nil) // in the bubble
//		policy := halt.Policy{Name: "reports", Limit: 10, Window: time.Hour}
//		for range 10 {
//			limiter.Allow(t.Context(), policy, "alice")
//		}
//		time.Sleep(time.Hour) // returns at once
//		d, err := limiter.Allow(t.Context(), policy, "alice") // allowed
//		...
//	})
package memory
