package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/halt-dev/halt/core/storetest/testserver"
)

// The demo runs on any of the stores: what -drive counts is what the policies say.
func TestDriveOnEveryStore(t *testing.T) {
	for _, c := range []struct {
		name  string
		start func(t *testing.T) string
	}{
		{"Redis", func(t *testing.T) string { return "redis://" + testserver.Redis(t).Addr() }},
		{"PostgreSQL", func(t *testing.T) string {
			return "postgres://postgres@" + testserver.Postgres(t).Addr() + "/postgres?sslmode=disable"
		}},
		{"MongoDB", func(t *testing.T) string {
			return "mongodb://" + testserver.MongoDB(t).Addr() + "/?directConnection=true"
		}},
		{"DynamoDB", func(t *testing.T) string { return "dynamodb://" + testserver.DynamoDB(t).Addr() + "/demo" }},
		{"Memcached", func(t *testing.T) string { return "memcached://" + testserver.Memcached(t).Addr() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // they mostly wait
			store := c.start(t)
			for range 2 { // what the first run used is nothing to the second
				var out bytes.Buffer
				if err := run(t.Context(), []string{"-drive", "-port", "0", "-store", store}, &out); err != nil {
					t.Errorf("%v\n%s", err, out.String())
				}
			}
		})
	}
}

// What can't be opened is an error that does not tell a password.
func TestOpenStoreFails(t *testing.T) {
	for _, address := range []string{
		"", "memory", "etcd://host", "redis://:secret@127.0.0.1:1", "redis://:secret@%zz",
		"redis://:secret#x@127.0.0.1:1", "redis://:secret/x@127.0.0.1:1", "redis://:12secret@34@127.0.0.1:1", "mongodb://u:secret/x@127.0.0.1:1/d",
		"dynamodb://u:secret/x@h/d", "postgres://u:secret/x@127.0.0.1:1/d", "postgres://u:secret#x@127.0.0.1:1/d", "memcached://u:secret/x@127.0.0.1:1",
		"postgres://u:secret@127.0.0.1:1/d", "postgres://u:secret@%zz",
		"mongodb://u:secret@127.0.0.1:1/?serverSelectionTimeoutMS=50", "mongodb://u:secret@%zz", "dynamodb://secret@%zz", "memcached://",
	} {
		store, _, err := openStore(t.Context(), address)
		if err == nil {
			t.Errorf("%s: %T", address, store)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error tells the password: %v", err)
		}
	}
}
