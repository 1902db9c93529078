// Package storetest is what a [halt.Store] is held against: the reference store, and the suite that every store passes.
//
// [Model] is the reference: a map, a lock and the pure arithmetic of package algorithm. With a [Clock] in its hand a test
// decides what time it is. It serves in users' tests too.
//
// [Run] is the suite. A store's own test describes the store and runs it:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, storetest.Harness{
//			New:    func(tb testing.TB) halt.Store { return connect(tb) },
//			Atomic: true,
//		})
//	}
//
// What a store cannot do is declared in the [Harness], and its cases are skipped with that reason; the suite never
// concludes it from an error. Every call of every case is repeated on the model, at the instant at which the store says
// that it decided (Decision.At), and has to agree to the field. So a store in real time is tested as exactly as one whose
// clock stands still, and no case waits for longer than a second or so.
//
// A failure names the rule that was broken. Random traces start from fixed seeds; HALT_SEED=n in the environment starts
// them from others.
package storetest
