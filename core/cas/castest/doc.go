// Package castest is what a [cas.Register] is held against: the suite that every register passes.
//
// A register's own test describes the register and runs it. Beside it, package storetest holds the store over the register
// against every rule of a store. Neither replaces the other: one store merges all calls on a key, so there no two swaps race.
//
//	func TestRegister(t *testing.T) {
//		castest.Run(t, castest.Harness{
//			New:     func(tb testing.TB) cas.Register { return connect(tb) },
//			Another: func(tb testing.TB, _ cas.Register) cas.Register { return connect(tb) },
//		})
//	}
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, storetest.Harness{
//			New: func(tb testing.TB) halt.Store {
//				s, err := cas.New(connect(tb), &cas.Options{Prefix: unused(), Timeout: 30 * time.Second})
//				if err != nil {
//					tb.Fatal(err)
//				}
//				return s
//			},
//			Atomic: true, // if it is a cas.TransactionRegister
//		})
//	}
//
// What the suite demands is what [cas.Register] and [cas.TransactionRegister] promise, and no more than a [cas.Store] relies
// on: a swap that was free to happen may be declined, as long as it then did not happen and one of the next is not; an entry
// may be kept for longer than its life; a call whose context has ended may have been carried out.
//
// It can't see everything. That a register tells the time well ([cas.TimeRegister]), and which of its errors are
// [cas.NotDone]'s, is its own tests' to check. That it returns an error where it sent a swap twice and can't know the outcome
// shows only behind something that loses answers ([Harness].LosesReplies).
//
// A failure names the rule that was broken. HALT_SEED=n in the environment makes other random choices.
package castest
