package main

import "testing"

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
