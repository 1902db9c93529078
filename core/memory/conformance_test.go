package memory_test

import (
	"testing"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
	"github.com/halt-dev/halt/core/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, storetest.Harness{
		New:    func(testing.TB) halt.Store { return memory.New(nil) },
		Bubble: true,
		Atomic: true,
	})
}
