// Package haltmemcached is a [halt.Store] in Memcached: budgets that all processes of a service share, decided exactly, in one
// round trip where one process uses a key.
//
//	store, err := haltmemcached.New([]string{"localhost:11211"}, nil)
//	...
//	defer store.Close()
//	limiter := halt.New(store, nil)
//
// It needs Memcached 1.6.18 or later, and is tested with that: older ones have other meta commands, or wrong ones. It brings no
// driver along, but speaks them itself, on two connections to each server, on which many questions are under way at once. The
// usual Go client
// (bradfitz/gomemcache) needs two round trips to compare and swap, a gets and a cas, because the commands that it speaks do not
// tell the number of the entry that was written; the meta commands do, so the next write needs no reading. Those numbers start
// again when a server does, and are worth something on one connection only: the clients that speak meta commands do not tell on
// which an answer came, so that a number of before a restart could replace an entry of after it.
//
// # How it decides
//
// It is package cas over Memcached: this process decides, and writes the new state if the entry is still the one that it
// decided upon. Calls of this process that wait for the same key at the same time are one write. A key that one process uses
// costs one round trip for each decision: an admission's writes, a refusal's only reads. Where others have written meanwhile it
// is one or two more. If too many write the same key at the same time, a call ends with an error that matches
// halt.ErrContention.
//
// The charges of a call of several are decided one by one, as halt.TakeEach does: it may refuse falsely under contention, and
// never admits more than the policies do. Put the most specific key first and shared ones last.
//
// # Clocks
//
// The time is this process's. Package cas says what it costs if clocks are off by s: an interval of t admits what one of t + 2s
// may. Memcached's own clock shows seconds only, and up to 3 s late; a process whose clock can't be right by that is
// corrected, so that even one that is wrong by an hour is off by 3 s or so: from the first decision on a server on, which
// therefore takes a round trip more.
//
// # What Memcached forgets
//
// It is a cache: a budget that was evicted, flushed or lost with its server starts afresh, and admits its limit again. Give it
// room: an entry takes about 130 bytes and the length of the caller's key. Don't run it with -M, which forbids evictions: a
// server that is full then answers SERVER_ERROR, which reaches the caller, and loses the entry that it could not replace.
//
// A key belongs to one of the servers, the same for all processes that were given the same list. If that is down, its calls
// fail; they are not moved to another server, where they would be admitted their limits again. A server that is added to the
// list takes its share of the keys, which start afresh there, and moves no others. A proxy in between must send the commands of
// a connection to one server only, and end the connection when it loses the server. A server that runs with -C can't compare and
// swap: calls fail.
//
// Whoever can write to Memcached can change every budget. A value that is not Halt's is an error that matches
// halt.ErrCorrupt, and stays as it is.
//
// # Failures
//
// Every call ends after [Options].Timeout at the latest, or when its context does, whatever the network does. After a lost
// answer the entry tells by its nonce whether it was written, so that each call counts once; where others have written
// meanwhile that can't be known, and then a Credit or a Debit is an error and a Take is decided again, which can only admit less.
package haltmemcached
