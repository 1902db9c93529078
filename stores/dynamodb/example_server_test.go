package haltdynamo_test

import haltdynamo "github.com/halt-dev/halt/stores/dynamodb"

// serverURL returns the address of the server that runs beside the tests.
func serverURL() string { return haltdynamo.Endpoint }
