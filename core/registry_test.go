package halt_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	halt "github.com/halt-dev/halt/core"
)

func TestRegistry(t *testing.T) {
	t.Parallel()
	b, a := halt.Policy{Name: "b", Limit: 2, Window: time.Second}, halt.Policy{Name: "a", Limit: 1, Window: time.Second}
	r, err := halt.NewRegistry(b, a)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := r.Get("a"); err != nil || p != a {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := r.Get("c"); !errors.Is(err, halt.ErrUnknownPolicy) {
		t.Errorf("an unknown name: %v", err)
	}
	if ps := r.Policies(); len(ps) != 2 || ps[0] != a || ps[1] != b {
		t.Errorf("%+v", ps)
	}
	a.Limit = 9
	if err := r.Set(a); err != nil {
		t.Fatal(err)
	}
	if p, _ := r.Get("a"); p.Limit != 9 {
		t.Errorf("after a change: %+v", p)
	}
	if err := r.Set(halt.Policy{Name: "a", Limit: -5}); !errors.Is(err, halt.ErrInvalidPolicy) {
		t.Errorf("an invalid policy: %v", err)
	}
	if p, _ := r.Get("a"); p != a {
		t.Errorf("an invalid policy changed it to %+v", p)
	}
	r.Remove("a")
	r.Remove("never there")
	if _, err := r.Get("a"); !errors.Is(err, halt.ErrUnknownPolicy) {
		t.Errorf("a removed name: %v", err)
	}
}

func TestRegistryRejects(t *testing.T) {
	t.Parallel()
	p := halt.Policy{Name: "p", Limit: 2, Window: time.Second}
	var invalid *halt.InvalidError
	if _, err := halt.NewRegistry(p, p); !errors.As(err, &invalid) || invalid.Faults[0].Field != "Name" || invalid.Policy != "p" {
		t.Errorf("two of one name: %v", err)
	}
	if _, err := halt.NewRegistry(p, halt.Policy{}); !errors.Is(err, halt.ErrInvalidPolicy) {
		t.Errorf("an invalid policy: %v", err)
	}
}

// TestRegistryZero: the zero Registry is an empty one.
func TestRegistryZero(t *testing.T) {
	t.Parallel()
	var r halt.Registry
	if _, err := r.Get("p"); !errors.Is(err, halt.ErrUnknownPolicy) {
		t.Errorf("%v", err)
	}
	if ps := r.Policies(); len(ps) != 0 {
		t.Errorf("%+v", ps)
	}
	r.Remove("p")
	if err := r.Set(halt.Policy{Name: "p", Limit: 2, Window: time.Second}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Get("p"); err != nil {
		t.Error(err)
	}
}

func TestRegistryConcurrent(t *testing.T) {
	t.Parallel()
	r, err := halt.NewRegistry(halt.Policy{Name: "p", Limit: 1, Window: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for g := range int64(8) {
		wg.Go(func() {
			for i := range int64(100) {
				if err := r.Set(halt.Policy{Name: fmt.Sprint("p", g), Limit: 1 + i, Window: time.Second}); err != nil {
					t.Error(err)
				}
				if p, err := r.Get("p"); err != nil || p.Limit != 1 {
					t.Errorf("%+v, %v", p, err)
				}
				if p, err := r.Get(fmt.Sprint("p", g)); err != nil || p.Limit != 1+i {
					t.Errorf("a writer does not read what it wrote: %+v, %v", p, err)
				}
			}
		})
	}
	wg.Wait()
	if ps := r.Policies(); len(ps) != 9 {
		t.Errorf("writers lost each other's: %+v", ps)
	}
}
