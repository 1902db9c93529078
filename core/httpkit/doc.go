// Package httpkit is what Halt's HTTP adapters share: keys from requests, the client's address, the RateLimit header
// fields, problem details, and the path of a request through a [guard.Guard]. It is meant for authors of adapters; see
// halthttp for one. adaptertest is the suite that each adapter passes.
//
// An adapter binds [Config] and the key functions of a [Framework] to its framework's context, and translates.
package httpkit
