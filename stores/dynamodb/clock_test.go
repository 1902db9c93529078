package haltdynamo

import (
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/cas"
	"github.com/halt-dev/halt/core/storetest"
)

// Processes whose clocks are hours and days off decide by the server's, from the first decision on, and share a budget.
func TestWrongClocks(t *testing.T) {
	o := fresh(patient)
	p := halt.Policy{Name: "minute", Limit: 10, Window: time.Hour}
	q := lasting(1000)
	admitted := 0
	for _, off := range []time.Duration{0, time.Hour, -time.Hour, 1000 * time.Hour, -1000 * time.Hour, 5 * time.Second, -5 * time.Second} {
		right := cas.NewClock().Now
		s, err := open(connect(Endpoint), Table, &o, func() halt.Instant { return right() + halt.Instant(off/time.Microsecond) })
		if err != nil {
			t.Fatal(err)
		}
		near := func(d halt.Decision) {
			t.Helper()
			// One second is what the Date leaves open. No bound on how long a decision takes.
			if ahead := time.Duration(d.At-right()) * time.Microsecond; ahead > 2*time.Second || ahead < -2*time.Second-patient.Timeout {
				t.Errorf("with a clock that is off by %v it was decided %v from now", off, ahead)
			}
		}
		for _, cs := range [][]halt.Charge{{p.Charge("k", 1)}, {p.Charge("k", 1), q.Charge("l", 1)}} {
			ds := make(halt.Decisions, len(cs))
			if err := s.Take(ctx, cs, ds); err != nil {
				t.Fatal(err)
			}
			for _, d := range ds {
				near(d)
			}
			if ds.Allowed() {
				admitted++
			}
		}
	}
	if admitted != 10 {
		t.Errorf("%d were admitted of 10", admitted)
	}
}

// The same with a call of several charges as the first.
func TestWrongClockAndTwoCharges(t *testing.T) {
	right := cas.NewClock().Now
	o := fresh(patient)
	s, err := open(connect(Endpoint), Table, &o, func() halt.Instant { return right() + halt.Instant(time.Hour/time.Microsecond) })
	if err != nil {
		t.Fatal(err)
	}
	ds := make([]halt.Decision, 2)
	if err := s.Take(ctx, []halt.Charge{lasting(1).Charge("k", 1), lasting(1).Charge("l", 1)}, ds); err != nil {
		t.Fatal(err)
	}
	if ahead := time.Duration(ds[0].At-right()) * time.Microsecond; ahead > 2*time.Second {
		t.Errorf("it was decided %v from now", ahead)
	}
}

// A process whose clock stood still while it slept decides by the right time what others have written meanwhile.
func TestAwakening(t *testing.T) {
	o := fresh(patient)
	right := cas.NewClock().Now
	var slept atomic.Int64
	s, err := open(connect(Endpoint), Table, &o, func() halt.Instant { return right() - halt.Instant(slept.Load()) })
	if err != nil {
		t.Fatal(err)
	}
	c := halt.Policy{Name: "p", Limit: 3, Window: 10 * time.Minute}.Charge("k", 1)
	take(t, s, c)
	other := newStore(t, connect(Endpoint), o)
	for range 3 {
		take(t, other, c)
	}
	slept.Store(int64(time.Hour / time.Microsecond))
	if d := take(t, s, c); d.Allowed {
		t.Errorf("%+v", d)
	}
}

// DynamoDB may take days to delete an item whose time is over. It is as if it were gone.
func TestExpiredItemIsHarmless(t *testing.T) {
	r := newRig(t)
	for a := halt.TokenBucket; a <= halt.InFlight; a++ {
		t.Run(a.String(), func(t *testing.T) {
			clock := storetest.NewClock(start)
			s := r.open(t, undated{r.client}, patient, clock.Now)
			p := halt.Policy{Name: "short", Algorithm: a, Limit: 3, Window: time.Second, Block: 2 * time.Second}
			c := p.Charge("k", 1)
			for range 5 {
				take(t, s, c)
			}
			now := clock.Advance(24 * time.Hour)
			// Another store, which remembers nothing, finds it.
			r.mu.Lock()
			o := Options{Prefix: r.prefixes[s], Timeout: patient.Timeout}
			r.mu.Unlock()
			other, err := open(undated{r.client}, Table, &o, clock.Now)
			if err != nil {
				t.Fatal(err)
			}
			item := r.item(t, s, c)
			expires, err := strconv.ParseInt(item[ttlAttribute].(*types.AttributeValueMemberN).Value, 10, 64)
			if err != nil || expires > int64(now)/1e6 {
				t.Fatalf("the item is not past its time: %v, %v", item, err)
			}
			if d := take(t, other, p.Charge("k", 0)); !d.Allowed || d.Remaining != p.Capacity() || d.ResetAfter != 0 {
				t.Errorf("%+v", d)
			}
			if d := take(t, other, c); !d.Allowed || d.Remaining != p.Capacity()-1 {
				t.Errorf("%+v", d)
			}
			// And if DynamoDB deletes it after all, while somebody remembers it.
			if _, err := r.client.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: aws.String(Table), Key: r.key(s, c)}); err != nil {
				t.Fatal(err)
			}
			if d := take(t, other, c); !d.Allowed || d.Remaining != p.Capacity()-1 {
				t.Errorf("after the deletion: %+v", d)
			}
		})
	}
}

// An item whose time is over is replaced by one write, as if there were none; one whose time is not is in the way.
func TestRegisterReplacesExpired(t *testing.T) {
	r := newRegister(t, connect(Endpoint))
	var at halt.Instant
	system := r.clock
	r.clock = func() halt.Instant { return system() + at }
	key := fresh(patient).Prefix + "k"
	swap := func(value string, life time.Duration) cas.Result {
		t.Helper()
		got, err := r.CompareAndSwap(ctx, key, cas.Entry{}, []byte(value), life)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := swap("first", time.Minute); !got.Swapped {
		t.Fatalf("%+v", got)
	}
	if got := swap("second", time.Minute); got.Swapped || !got.Found || string(got.Entry.Value) != "first" {
		t.Errorf("before its time is over: %+v", got)
	}
	// A clock that was set, as an Offset would take it for; the next answer puts that right.
	at = halt.Instant(time.Minute/time.Microsecond) + 2*halt.Instant(second)
	if got := swap("third", time.Minute); !got.Swapped {
		t.Errorf("after its time: %+v", got)
	}
	at = 0
	done, err := r.SwapAll(ctx, []cas.Swap{{Key: key, Value: []byte("fourth"), Life: time.Minute}, {Key: key + "2", Value: []byte("fourth"), Life: time.Minute}})
	if done || err != nil {
		t.Errorf("before its time is over, in a transaction: %t, %v", done, err)
	}
}

// The expiry never comes before the end of the life.
func TestExpiry(t *testing.T) {
	for _, c := range []struct {
		now  halt.Instant
		life time.Duration
		want int64
	}{{0, 0, 1}, {999_999, time.Microsecond, 2}, {1_500_000, 500 * time.Millisecond, 3}, {1_500_000, 499 * time.Millisecond, 2}} {
		if got := expiry(c.now, c.life); got != c.want {
			t.Errorf("%d + %v: %d, want %d", c.now, c.life, got, c.want)
		}
	}
}
