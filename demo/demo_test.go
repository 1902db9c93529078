package main

import (
	"bytes"
	"strings"
	"testing"
)

// TestDrive is what go run ./demo -drive does, on free ports.
func TestDrive(t *testing.T) {
	var out bytes.Buffer
	err := run(t.Context(), []string{"-drive", "-port", "0"}, &out)
	t.Logf("\n%s", out.String())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "NO:") {
		t.Error("a route's counts are not what its policy says")
	}
}

// TestRowFault makes sure that a wrong count is seen.
func TestRowFault(t *testing.T) {
	good := row{sent: 3, admitted: 2, refused: 1, retryAfter: "1", least: 2, most: 2}
	if why := good.fault(); why != "" {
		t.Error(why)
	}
	for _, spoil := range []func(*row){
		func(r *row) { r.admitted = 1 },
		func(r *row) { r.admitted = 3 },
		func(r *row) { r.other = 1 },
		func(r *row) { r.retryAfter = "" },
		func(r *row) { r.failure = "other" },
	} {
		bad := good
		spoil(&bad)
		if bad.fault() == "" {
			t.Errorf("%+v passes", bad)
		}
	}
}
