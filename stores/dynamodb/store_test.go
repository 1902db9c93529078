package haltdynamo

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	halt "github.com/halt-dev/halt/core"
)

func TestNew(t *testing.T) {
	client := connect(Endpoint)
	var none *dynamodb.Client
	for _, c := range []struct {
		name   string
		client Client
		table  string
		o      *Options
		says   string
	}{
		{"no client", nil, "t", nil, "client"},
		{"nil of the SDK's type", none, "t", nil, "client"},
		{"no table", client, "", nil, "table"},
		{"prefix", client, "t", &Options{Prefix: "#"}, "Prefix"},
		{"timeout", client, "t", &Options{Timeout: -1}, "Timeout"},
		{"remember", client, "t", &Options{Remember: -1}, "Remember"},
		{"fine", client, "t", &Options{Prefix: "p:", Timeout: time.Second, Remember: 1}, ""},
		{"defaults", client, "t", nil, ""},
	} {
		s, err := New(c.client, c.table, c.o)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
		if err == nil && s.Name() != "dynamodb" {
			t.Errorf("%s: the name is %q", c.name, s.Name())
		}
	}
}

// Stores of different prefixes share a table and nothing else, whatever their keys are.
func TestPrefixes(t *testing.T) {
	client := connect(Endpoint)
	p := lasting(2)
	base := fresh(patient).Prefix
	for _, key := range []string{"k", "\x00", strings.Repeat("k", 1<<16)} {
		for _, prefix := range []string{base + "a:", base + "b:"} {
			o := Options{Prefix: prefix, Timeout: patient.Timeout}
			s := newStore(t, client, o)
			if d := take(t, s, p.Charge(key, 1)); d.Remaining != 1 {
				t.Errorf("%+v", d)
			}
			if err := s.Reset(ctx, p, key); err != nil {
				t.Error(err)
			}
			if d := take(t, s, p.Charge(key, 1)); d.Remaining != 1 {
				t.Errorf("after a Reset: %+v", d)
			}
		}
	}
}

// What a store remembers is a guess: another process's Credits, Resets and Takes count at once.
func TestOthersCount(t *testing.T) {
	o := fresh(patient)
	one, two := newStore(t, connect(Endpoint), o), newStore(t, connect(Endpoint), o)
	p := lasting(10)
	first := take(t, one, p.Charge("k", 10))
	if d := take(t, two, p.Charge("k", 1)); d.Allowed {
		t.Errorf("%+v", d)
	}
	take(t, two, halt.Charge{Policy: p, Key: "k", Cost: 4, Mode: halt.Credit, At: first.At, Taken: 10})
	if d := take(t, one, p.Charge("k", 4)); !d.Allowed || d.Remaining != 0 {
		t.Errorf("after another's Credit: %+v", d)
	}
	if err := two.Reset(ctx, p, "k"); err != nil {
		t.Fatal(err)
	}
	if d := take(t, one, p.Charge("k", 10)); !d.Allowed {
		t.Errorf("after another's Reset: %+v", d)
	}
	if d := take(t, two, p.Charge("k", 1)); d.Allowed {
		t.Errorf("%+v", d)
	}
}

// Calls of two charges, by several processes: on a key of the caller's own and on one that all share. Together they are admitted
// what the shared one has, exactly, and nothing is spent of the own keys of those that were not.
func TestTransactionsTogether(t *testing.T) {
	o := fresh(patient)
	const processes, callers, limit = 3, 4, 40
	own, shared := lasting(1<<40), lasting(limit)
	shared.Name = "shared"
	admitted := [processes][callers]int64{}
	stores := [processes]*Store{}
	var wg sync.WaitGroup
	for i := range stores {
		stores[i] = newStore(t, connect(Endpoint), o)
		for g := range callers {
			wg.Go(func() {
				for ds := make(halt.Decisions, 2); ; admitted[i][g]++ {
					err := stores[i].Take(ctx, []halt.Charge{own.Charge(fmt.Sprint(i, g), 1), shared.Charge("k", 1)}, ds)
					if err != nil {
						t.Error(err)
					}
					if err != nil || !ds.Allowed() {
						return
					}
				}
			})
		}
	}
	wg.Wait()
	total := int64(0)
	for i := range stores {
		for g, n := range admitted[i] {
			total += n
			if d := take(t, stores[0], own.Charge(fmt.Sprint(i, g), 0)); own.Limit-d.Remaining != n {
				t.Errorf("%d calls were admitted and %d spent", n, own.Limit-d.Remaining)
			}
		}
	}
	if total != limit {
		t.Errorf("%d were admitted of %d", total, limit)
	}
}

// A store that remembers one entry decides as well, at the price of a read.
func TestRememberOne(t *testing.T) {
	o := patient
	o.Remember = 1
	s := newStore(t, connect(Endpoint), o)
	p := lasting(3)
	for i := range 4 {
		for _, key := range []string{"a", "b", "c"} {
			if d := take(t, s, p.Charge(key, 1)); d.Allowed != (i < 3) {
				t.Errorf("number %d of %s: %+v", i+1, key, d)
			}
		}
	}
}

// An error of the SDK's own is the cause of the store's.
func TestErrorText(t *testing.T) {
	err := typed(errors.New("whatever"))
	if err == nil || typed(nil) != nil {
		t.Errorf("%v", err)
	}
	if text := (&throttle{errors.New("the SDK's words")}).Error(); !strings.Contains(text, "capacity: the SDK's words") {
		t.Error(text)
	}
}
