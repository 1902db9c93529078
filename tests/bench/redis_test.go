package main

import (
	"testing"
	"time"
)

func TestEveryRedisDeciderLimits(t *testing.T) {
	server, err := startRedis()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.stop)
	for _, d := range redisDeciders() {
		t.Run(d.Name, func(t *testing.T) {
			take, closer, err := d.New(ruleFive, server.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer closer()
			for _, k := range []string{"a", "b"} {
				k = d.Name + k
				for i := range 5 {
					if !take(k) {
						t.Fatalf("key %s: request %d was refused, five are allowed", k, i+1)
					}
				}
				if take(k) {
					t.Fatalf("key %s: a sixth request was allowed", k)
				}
			}
		})
	}
}

func TestRedisFloors(t *testing.T) {
	for _, c := range []struct {
		f    floor
		want string
	}{
		{floor{Least: 3, Measured: 3}, "met"},
		{floor{Least: 3, Measured: 2.9}, "**missed**"},
		{floor{Least: 3, Measured: 2.9, AtMost: true}, "met"},
		{floor{Least: 3, Measured: 3.1, AtMost: true}, "**missed**"},
		{floor{Least: 3, Measured: series{}.over(nil)}, "not measured"},
	} {
		if got := c.f.outcome(); got != c.want {
			t.Errorf("%+v: %s, want %s", c.f, got, c.want)
		}
	}
}

// All of it runs, from the child on.
func TestRedisSerial(t *testing.T) {
	seen := 0
	err := serialChild(time.Millisecond, func(name string, p50, p99, allocs float64) {
		seen++
		if p50 <= 0 || p99 < p50 || allocs <= 0 {
			t.Errorf("%s: p50 %v, p99 %v, %v allocations", name, p50, p99, allocs)
		}
	})
	if want := len(redisDeciders()) + 1; err != nil || seen != want {
		t.Errorf("%d of %d were measured: %v", seen, want, err)
	}
}
