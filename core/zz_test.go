package halt_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/memory"
)

type nopO struct{}

func (nopO) Start(ctx context.Context, e *halt.Event) context.Context { return ctx }
func (nopO) End(ctx context.Context, e *halt.Event)                   {}

type nopS struct{ nopO }

func (nopS) SamplesElapsed() bool { return true }

func TestZZ(t *testing.T) {
	p := halt.Policy{Name: "api", Limit: 120_000_000, Window: 24 * time.Hour, Burst: 50_000_000}
	names := []string{"plain", "nop", "nopspare"}
	opts := []*halt.Options{nil, {Observers: []halt.Observer{nopO{}}}, {Observers: []halt.Observer{nopS{}}}}
	var ls []*halt.Limiter
	for _, o := range opts {
		ls = append(ls, halt.New(memory.New(nil), o))
	}
	res := make([][]float64, len(ls))
	for range 1500 {
		for i, l := range ls {
			start := time.Now()
			for range 2000 {
				l.Allow(context.Background(), p, "user:1")
			}
			res[i] = append(res[i], float64(time.Since(start).Nanoseconds())/2000)
		}
	}
	for i := range ls {
		slices.Sort(res[i])
		fmt.Printf("%-10s min %.1f p10 %.1f p25 %.1f p50 %.1f\n", names[i], res[i][0], res[i][150], res[i][375], res[i][750])
	}
}
