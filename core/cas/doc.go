// Package cas is a [halt.Store] over a database that can compare and swap, and do nothing else: a [Register]. It decides in
// this process, by package algorithm, and swaps the state of a budget for the next.
//
// All calls of this process that wait for the same budget at the same time are decided one after the other and written by one
// swap: a hot key costs one swap for many calls. What a budget's entry was last is remembered, and the next swap tries it
// without reading: a key that one process uses costs one write for each decision, and no read. Only a swap that went through
// proves that the guess was right, so a refusal, a Peek or an error is never decided from one: the entry is read first.
//
// Every value carries a nonce. When the answer to a swap is lost, or a register repeats one by itself, what is found under the
// key tells whether it happened, so that it counts once. If somebody else has written meanwhile, to any of its entries, that can't
// be known: Takes are then decided again, which can only admit less, and a Credit or a Debit is an error.
//
// # Clocks
//
// The time is this process's: a clock that never steps back ([Clock]), corrected by how far the server's is ahead if the
// register can tell ([TimeRegister]). Where the clocks of processes differ by at most s from the true time, the bounds of the
// algorithms hold with t + 2s in place of t: a token bucket admits at most C + (t+2s)*L/W in any interval t, and a sliding
// window holds for intervals of Window - 2s. Beyond [Options].Skew, and at the latest when two processes are 10 s apart,
// nothing is promised: a state more than 10 s ahead of the clock counts as never seen.
//
// # Calls of several charges
//
// They are one atomic step at one instant if the register can swap several entries at once ([TransactionRegister]). Otherwise
// halt.TakeEach decides them, which may refuse falsely under contention and never admits too much.
//
// # A register of your own
//
// Package castest holds a register against the contract, its atomicity above all. Package storetest holds the store over it
// against every rule of a halt.Store; but that store makes no two swaps of a key race, so it needs castest beside.
package cas
