// Package adaptertest is the suite that every HTTP adapter of Halt passes, so that clients get the same answers, to the
// byte, whatever framework serves them.
//
// The author of an adapter describes it in a [Harness]: the functions that the adapter exports, how the suite reads the
// framework's requests, and Serve, which mounts a [Site] in the framework and listens on a real port. The adapter's test
// is then one line:
//
//	func TestAdapter(t *testing.T) { adaptertest.Run(t, harness()) }
//
// [Run] sends one trace of requests over HTTP/1.1 and compares each answer with the golden transcript that is part of
// this package: the status line, all header fields, the body, and what OnError was told. Only the fields that belong to
// the transport are left out: Date, Connection, Content-Length and Transfer-Encoding. The limiter stands on
// storetest.Model and a clock that the trace moves, so nothing in an answer depends on when it was given.
//
// What a transcript can't hold is checked on sites of its own: clients that hang up, streamed and large bodies,
// upgrades, uploads that nobody reads, exact admission under concurrency, keys that outlive a framework's buffers, faults
// at wiring, and that no goroutine stays behind.
package adaptertest
