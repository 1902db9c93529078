// Package tests holds what crosses the modules of this repository: what a stranger's `go get` of each brings along, and,
// in bench, Halt beside its peers.
package tests
