// Package databases holds the tests of the stores in Redis, PostgreSQL, DynamoDB, Memcached and MongoDB on bad networks: slow, cut
// and half-open, by way of toxiproxy. They are in this module to keep toxiproxy out of the stores'.
package databases
