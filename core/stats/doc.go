// Package stats counts what a limiter decides and shows it, live.
//
// A [Collector] is a halt.Observer. [Collector.Snapshot] returns what it has counted, as a plain struct;
// [Collector.Handler] serves the same as a dashboard and as JSON:
//
//	statistics := stats.New(nil)
//	limiter := halt.New(store, &halt.Options{Observers: []halt.Observer{statistics}})
//	mux.Handle("/halt/", onlyAdmins(statistics.Handler()))
//
// It counts in this process; what several processes decide together is for a metrics system to add up, such as by package
// haltotel.
//
// # Memory
//
// Everything is bounded by construction, whoever sends the requests: policies and routes beyond the first 128 and 256 are
// counted as [Other], rates are kept in rings of buckets, the store's latency in a histogram, and the top keys in a sketch
// of fixed size ([TopKeys]). It comes to less than 2 MiB.
//
// # Cost
//
// A decision allocates nothing, and waits for no other as long as a stripe of the counters is free: one that meets another
// on its stripe goes to the next. Keys that were not just seen go on to the sketch in batches of 32. While there is traffic
// a timer fires once a second to move the counts on; without any nothing runs, so there is nothing to close.
//
// A Limiter that has observers does not log failures by itself: put a halt.NewLogObserver beside.
package stats
