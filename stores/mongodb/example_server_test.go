package haltmongo_test

import haltmongo "github.com/halt-dev/halt/stores/mongodb"

// serverURI returns the address of the server that runs beside the tests.
func serverURI() string { return haltmongo.ExampleURI }
