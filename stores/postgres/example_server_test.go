package haltpostgres_test

import haltpostgres "github.com/halt-dev/halt/stores/postgres"

// serverDSN returns the address of the server that runs beside the tests.
func serverDSN() string { return haltpostgres.ExampleDSN }
