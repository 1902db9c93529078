package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// Each contender that limits does so, as long as one asks after the other.
func TestEveryDatabaseDeciderLimits(t *testing.T) {
	for _, d := range databases() {
		t.Run(d.Name, func(t *testing.T) {
			addr := d.Start(t)
			if v, err := d.Version(addr); err != nil || v == "" {
				t.Fatalf("version %q: %v", v, err)
			}
			for _, c := range d.Deciders {
				take, closer, err := c.New(ruleFive, addr)
				if err != nil {
					t.Fatal(err)
				}
				for _, k := range []string{"a", "b"} {
					for i := range 5 {
						if !take(k) {
							t.Errorf("%s, key %s: request %d was refused, five are allowed", c.Name, k, i+1)
						}
					}
					if got := take(k); got == c.Limits {
						t.Errorf("%s, key %s: a sixth request: %v", c.Name, k, got)
					}
				}
				closer()
			}
		})
	}
}

// One database, with all that the report says of it. What reads and then writes admits too much only if it is unlucky.
func TestMeasuresDatabase(t *testing.T) {
	o := options{passes: 1, took: time.Millisecond, quick: true, log: t.Logf}
	rep, err := measured(o, size{}, "memcached")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range rep.databases[0].admitted {
		if a.Allowed != int(a.Limit) && a.Name != getThenSet {
			t.Errorf("%s admitted %d of a limit of %d", a.Name, a.Allowed, a.Limit)
		}
	}
	var b bytes.Buffer
	rep.write(&b)
	for _, d := range memcachedDatabase().Deciders {
		if !strings.Contains(b.String(), d.Name) {
			t.Errorf("the report lacks %s:\n%s", d.Name, b.String())
		}
	}
	if _, err := measured(o, size{}, "etcd"); err == nil {
		t.Error("an unknown section is measured")
	}
}
