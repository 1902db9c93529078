package halt_test

import (
	"context"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

func BenchmarkZY(b *testing.B) {
	p := halt.Policy{Name: "api", Limit: 120_000_000, Window: 24 * time.Hour, Burst: 50_000_000}
	l := halt.New(memory.New(nil), &halt.Options{Observers: []halt.Observer{nopS{}}})
	for b.Loop() {
		l.Allow(context.Background(), p, "user:1")
	}
}

func BenchmarkZP(b *testing.B) {
	p := halt.Policy{Name: "api", Limit: 120_000_000, Window: 24 * time.Hour, Burst: 50_000_000}
	l := halt.New(memory.New(nil), nil)
	for b.Loop() {
		l.Allow(context.Background(), p, "user:1")
	}
}
