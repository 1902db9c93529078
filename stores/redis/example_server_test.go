package haltredis_test

import haltredis "github.com/halt-dev/halt/stores/redis"

// serverAddr returns the address of the server that runs beside the tests.
func serverAddr() string { return haltredis.ExampleAddr }
