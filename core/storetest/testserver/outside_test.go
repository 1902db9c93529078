package testserver

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func TestOutside(t *testing.T) {
	t.Parallel()
	var did []string
	var dir string
	err := Outside(func(tb testing.TB) {
		dir = tb.TempDir()
		tb.Cleanup(func() { did = append(did, "first") })
		tb.Cleanup(func() {
			did = append(did, "last")
			tb.Fatal("no end")
		})
		tb.Errorf("no %s", "good")
		if !tb.Failed() || tb.Context().Err() != nil {
			t.Error("it has failed, and not ended")
		}
		tb.Fatalf("no %s", "use")
		did = append(did, "on")
	})
	if want := []string{"last", "first"}; !slices.Equal(did, want) {
		t.Errorf("it did %v, want %v", did, want)
	}
	if err == nil || !strings.Contains(err.Error(), "no good") || !strings.Contains(err.Error(), "no use") || !strings.Contains(err.Error(), "no end") {
		t.Errorf("the error is %v", err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the folder is still there: %v", err)
	}
	if err := Outside(func(testing.TB) {}); err != nil {
		t.Error(err)
	}
}
