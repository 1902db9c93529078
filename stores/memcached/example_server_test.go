package haltmemcached_test

import haltmemcached "github.com/halt-dev/halt/stores/memcached"

// serverAddr returns the address of the server that runs beside the tests.
func serverAddr() string { return haltmemcached.ExampleAddr }
