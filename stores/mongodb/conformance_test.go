package haltmongo

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
	"github.com/halt-dev/halt/core/storetest/testserver"
)

// start is when the clock of tests begins that make their own time.
var start = time.Date(2026, time.March, 14, 15, 9, 26, 535897*1000, time.UTC)

// The suite, in MongoDB's own time. On a replica set calls of several charges are transactions.
func TestSuite(t *testing.T) {
	t.Parallel()
	storetest.Run(t, harness(connect(t, ExampleURI)))
}

// The suite once more, with a clock that the tests set.
func TestSuiteClock(t *testing.T) {
	t.Parallel()
	client := connect(t, anotherURI(t))
	h := harness(client)
	var clock *storetest.Clock
	h.TTL = nil     // documents live in MongoDB's own time
	h.Corrupt = nil // the clock makes no difference to that
	h.New = func(tb testing.TB) halt.Store {
		skip(tb, "TestSuite has it, and the clock makes no difference to it", "Keys", "Names", "ManyKeys", "ConcurrentKeys")
		s := open(tb, newCollection(tb, client), &patient)
		clock = storetest.NewClock(start)
		s.now = clock.Now
		return s
	}
	h.Advance = func(_ testing.TB, _ halt.Store, d time.Duration) { clock.Advance(d) }
	storetest.Run(t, h)
}

// The suite where there are no transactions: calls of several charges are decided charge by charge.
func TestSuiteStandalone(t *testing.T) {
	t.Parallel()
	if !isSecantus {
		t.Skip("HALT_TEST_MONGODB_URI says where to test; a standalone needs a server of its own")
	}
	h := harness(connect(t, uriOf(testserver.MongoDB(t, "--standalone"))))
	h.Atomic, h.Corrupt, h.TTL = false, nil, nil
	create := h.New
	h.New = func(tb testing.TB) halt.Store {
		skip(tb, "TestSuite has it, and a call of one charge is the same", "Keys", "Names", "ManyKeys", "ConcurrentKeys")
		return create(tb)
	}
	storetest.Run(t, h)
}

// skip skips the cases of those names.
func skip(tb testing.TB, why string, cases ...string) {
	tb.Helper()
	if slices.Contains(cases, tb.Name()[strings.LastIndexByte(tb.Name(), '/')+1:]) {
		tb.Skip(why)
	}
}

func harness(client *mongo.Client) storetest.Harness {
	some := map[string]func(testing.TB, halt.Store, halt.Charge){}
	for _, how := range []string{"foreign", "text", "int32 count"} {
		some[how] = damages()[how] // TestDamaged has them all
	}
	return storetest.Harness{
		New:        func(tb testing.TB) halt.Store { return open(tb, newCollection(tb, client), &patient) },
		Resolution: time.Millisecond,
		Atomic:     true,
		Corrupt:    some,
		TTL: func(tb testing.TB, s halt.Store, c halt.Charge) (time.Duration, bool) {
			raw, err := s.(*Store).collection.FindOne(context.Background(), bson.D{field(fieldID, newDocumentID(&c).value())}).Raw()
			if err != nil {
				return 0, false
			}
			at, ok := raw.Lookup(fieldExpires).DateTimeOK()
			if !ok {
				return halt.Never, true
			}
			return time.Until(time.UnixMilli(at)), true
		},
	}
}
