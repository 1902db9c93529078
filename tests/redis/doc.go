// Package redis holds the tests of the Redis store on bad networks: slow, cut and half-open, by way of toxiproxy. They are in
// this module to keep toxiproxy out of the store's.
package redis
