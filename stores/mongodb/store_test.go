package haltmongo

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/algorithm"
	"github.com/halt-dev/halt/core/storetest"
)

var _ halt.Store = (*Store)(nil)

func TestNew(t *testing.T) {
	s := newStore(t, nil)
	if s.Name() != "mongodb" || s.timeout != 100*time.Millisecond {
		t.Errorf("%q, %v", s.Name(), s.timeout)
	}
	if _, err := New(nil, nil); err == nil {
		t.Error("New took no collection")
	}
	if _, err := New(s.collection, &Options{Timeout: -1}); err == nil || !strings.Contains(err.Error(), "Options.Timeout") {
		t.Errorf("a wrong Timeout: %v", err)
	}
	many := make([]halt.Charge, mostCharges+1)
	if err := s.Take(context.Background(), many, make([]halt.Decision, len(many))); !errors.Is(err, halt.ErrInvalidCharge) {
		t.Errorf("a call of too many charges: %v", err)
	}
}

// Whatever the collection's options are, the store waits for a majority and reads from the primary.
func TestConcerns(t *testing.T) {
	var mu sync.Mutex
	var commands []bson.Raw
	client, err := mongo.Connect(options.Client().ApplyURI(ExampleURI).SetMonitor(monitor(func(c bson.Raw) {
		mu.Lock()
		defer mu.Unlock()
		commands = append(commands, c)
	})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Disconnect(context.Background()) })
	c := newCollection(t, client).Clone(options.Collection().SetWriteConcern(writeconcern.Unacknowledged()).SetReadPreference(readpref.Secondary()))
	s := open(t, c, &patient)
	p := lasting(10)
	take(t, s, p.Charge("k", 1))
	ds := make(halt.Decisions, 2)
	if err := s.Take(context.Background(), []halt.Charge{p.Charge("k", 1), p.Charge("l", 1)}, ds); err != nil || !ds.Allowed() {
		t.Errorf("a call of two: %+v, %v", ds, err)
	}
	if err := s.Reset(context.Background(), p, "k"); err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	majorities := 0
	for _, c := range commands {
		name, _ := c.IndexErr(0)
		switch name.Key() {
		case "findAndModify", "delete", "commitTransaction":
			if w, _ := c.Lookup("writeConcern", "w").StringValueOK(); w != "majority" {
				t.Errorf("%s: write concern %v", name.Key(), c.Lookup("writeConcern"))
			}
			majorities++
		}
		if mode, ok := c.Lookup("$readPreference", "mode").StringValueOK(); ok && !strings.HasPrefix(mode, "primary") {
			t.Errorf("%s: read preference %s", name.Key(), mode)
		}
	}
	if majorities < 2 {
		t.Errorf("%d commands that write", majorities)
	}
}

// A decision is one command, whatever waits at the same time on its key.
func TestOneCommand(t *testing.T) {
	s, sent := newCounted(t)
	for a := halt.TokenBucket; a <= halt.InFlight; a++ {
		p := halt.Policy{Name: "api", Algorithm: a, Limit: 2, Window: time.Hour}
		for range 4 { // the first makes the document, the last are refused
			take(t, s, p.Charge("k", 1))
		}
	}
	if n := sent(); n["findAndModify"] != 20 || len(n) != 1 {
		t.Errorf("20 decisions took these commands: %v", n)
	}
}

// The short form of an update decides what it can; what it can't takes the long form, once.
func TestLongForm(t *testing.T) {
	s, sent := newCounted(t)
	now := halt.InstantOf(start)
	s.now = func() halt.Instant { return now }
	const second = halt.Instant(1e6)
	burst := map[halt.Algorithm]int64{halt.LeakyBucket: 1} // and one that it lets through: two, as of the others
	for a := halt.TokenBucket; a <= halt.InFlight; a++ {
		p := halt.Policy{Name: "api", Algorithm: a, Limit: 2, Burst: burst[a], Window: time.Hour, Block: time.Minute}
		now = halt.InstantOf(start)
		var state algorithm.State
		for i, step := range []struct {
			later    halt.Instant
			commands int
		}{
			{0, 1},
			{0, 1},
			{0, 2},
			{0, 1},
			{59 * second, 1}, // a refusal that starts a block, and two while it lasts
			{8000 * second, 2},
			{0, 1}, // the first Take after the block
			{8000 * second, 1},
			{-9 * second, 1},
			{-11 * second, 2},
			{0, 1}, // the clock is set back
		} {
			now += step.later
			before := sent()["findAndModify"]
			c := p.Charge("k", 1)
			want, _ := algorithm.Decide(&c, &state, now)
			round(&want)
			if d := take(t, s, c); d != want {
				t.Errorf("%s, step %d: %+v, want %+v", a, i, d, want)
			}
			if n := sent()["findAndModify"] - before; n != step.commands {
				t.Errorf("%s, step %d took %d commands, want %d", a, i, n, step.commands)
			}
		}
	}
}

// newCounted returns a store, and a function that tells how many commands it has sent, by name.
func newCounted(tb testing.TB) (s *Store, sent func() map[string]int) {
	tb.Helper()
	var mu sync.Mutex
	names := map[string]int{}
	client, err := mongo.Connect(options.Client().ApplyURI(ExampleURI).SetMonitor(monitor(func(c bson.Raw) {
		name, _ := c.IndexErr(0)
		mu.Lock()
		defer mu.Unlock()
		names[name.Key()]++
	})))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = client.Disconnect(context.Background()) })
	return open(tb, newCollection(tb, client), &patient), func() map[string]int {
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(names)
	}
}

// The index is made once, and may be asked for again.
func TestEnsureIndexes(t *testing.T) {
	ctx := context.Background()
	s := newStore(t, &patient)
	for range 2 {
		if err := s.EnsureIndexes(ctx); err != nil {
			t.Fatal(err)
		}
	}
	cursor, err := s.collection.Indexes().List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var all []bson.M
	if err := cursor.All(ctx, &all); err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 || fmt.Sprint(all[1]["expireAfterSeconds"]) != "0" {
		t.Errorf("the indexes are %v", all)
	}
}

// No document is another's, and keys are no longer in the index than is stated.
func TestDocumentIDs(t *testing.T) {
	long := strings.Repeat("x", longestID)
	seen := map[documentID]string{}
	for _, key := range []string{"", "k", "\x00", long, long + "a", long + "b", string(make([]byte, 32)), "a" + long} {
		for _, shadow := range []bool{false, true} {
			c := lasting(1).Charge(key, 1)
			c.Mode, c.Shadow = halt.Debit, shadow
			id := newDocumentID(&c)
			if was, ok := seen[id]; ok {
				t.Errorf("%q and %q share a document", was, key)
			}
			seen[id] = key
			if v := id.value(); len(v.Data) > longestID || (v.Subtype != 0) != id.hashed {
				t.Errorf("%d bytes of subtype %d", len(v.Data), v.Subtype)
			}
		}
	}
}

// Nothing in a key, which may be anybody's choice, is taken for a part of the update. Its number's place holder once was: then
// each call found another document, and no limit.
func TestKeyHoldsSpareNonce(t *testing.T) {
	s := newStore(t, &patient)
	spare := string(binary.LittleEndian.AppendUint64(nil, uint64(spareNonce)))
	for _, key := range []string{spare, "user:" + spare, spare + spare + "x"} {
		for _, want := range []bool{true, false} {
			if d := take(t, s, lasting(1).Charge(key, 1)); d.Allowed != want {
				t.Errorf("%q: %+v, want allowed: %t", key, d, want)
			}
		}
	}
}

// The documents are the same whatever the client does to the numbers of others.
func TestClientOptions(t *testing.T) {
	ctx := context.Background()
	registry := bson.NewRegistry()
	registry.RegisterKindEncoder(reflect.Int64, bson.ValueEncoderFunc(func(_ bson.EncodeContext, w bson.ValueWriter, v reflect.Value) error {
		return w.WriteString(fmt.Sprint(v.Int()))
	}))
	for name, o := range map[string]*options.ClientOptions{
		"IntMinSize": options.Client().SetBSONOptions(&options.BSONOptions{IntMinSize: true}),
		"a registry": options.Client().SetRegistry(registry),
	} {
		client, err := mongo.Connect(o.ApplyURI(ExampleURI))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Disconnect(ctx) })
		s := open(t, newCollection(t, client), &patient)
		p, q := lasting(10), lasting(10)
		q.Name, q.Algorithm = "other", halt.SlidingWindow
		for range 3 {
			ds := make(halt.Decisions, 2)
			if err := s.Take(ctx, []halt.Charge{p.Charge("k", 1), q.Charge("k", 1)}, ds); err != nil || !ds.Allowed() {
				t.Errorf("%s: a call of two: %+v, %v", name, ds, err)
			}
		}
		for _, p := range []halt.Policy{p, q} {
			if d, err := storetest.TakeOne(ctx, s, p.Charge("k", 1)); err != nil || d.Remaining != 6 {
				t.Errorf("%s, %s: %+v, %v", name, p.Name, d, err)
			}
		}
	}
}

// Documents are as large as docs/operations.md says.
func TestDocumentSize(t *testing.T) {
	s := newStore(t, &patient)
	for _, c := range []struct {
		algorithm halt.Algorithm
		precision int
		most      int
	}{{halt.TokenBucket, 0, 200}, {halt.FixedWindow, 0, 200}, {halt.SlidingWindow, 0, 480}, {halt.SlidingWindow, 60, 1750}} {
		p := halt.Policy{Name: "api", Algorithm: c.algorithm, Limit: 100, Window: time.Hour, Precision: c.precision}
		charge := p.Charge("user:123456789012345", 1) // 20 bytes
		take(t, s, charge)
		take(t, s, charge)
		raw, err := s.find(context.Background(), newDocumentID(&charge))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s, precision %d: %d bytes", c.algorithm, c.precision, len(raw))
		if len(raw) > c.most {
			t.Errorf("a document of a %s takes %d bytes, more than %d: %v", c.algorithm, len(raw), c.most, raw)
		}
	}
}

// Errors have halt's kinds, and those of the server are their causes.
func TestErrors(t *testing.T) {
	full := mongo.CommandError{Code: 14031, Name: "OutOfDiskSpace", Message: "no space left"}
	var cause mongo.CommandError
	for _, c := range []struct {
		err  error
		kind error
		what outcome
	}{
		{full, halt.ErrStore, failed},
		{mongo.CommandError{Code: 13, Name: "Unauthorized"}, halt.ErrStore, failed},
		{mongo.CommandError{Code: 50, Name: "MaxTimeMSExpired"}, halt.ErrDeadline, failed},
		{context.DeadlineExceeded, halt.ErrDeadline, failed},
		{context.Canceled, context.Canceled, failed},
		{mongo.CommandError{Code: 11000, Message: "E11000 dup key: secret"}, halt.ErrContention, conflicted},
		{mongo.CommandError{Code: 112, Name: "WriteConflict"}, halt.ErrStore, conflicted},
		{mongo.CommandError{Code: 189, Labels: []string{"RetryableWriteError"}}, halt.ErrStore, unknown},
		{mongo.CommandError{Labels: []string{"NetworkError"}}, halt.ErrStore, unknown},
		{mongo.ErrNoDocuments, halt.ErrStore, unknown},
		{errCorrupt, halt.ErrCorrupt, failed},
	} {
		err := typed(c.err)
		if !errors.Is(err, c.kind) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v became %v, want %v", c.err, err, c.kind)
		}
		if got := outcomeOf(c.err); got != c.what {
			t.Errorf("%v: outcome %d, want %d", c.err, got, c.what)
		}
	}
	if err := typed(full); !errors.As(err, &cause) || cause.Code != full.Code {
		t.Errorf("the cause is lost: %v", err)
	}
}

// Calls of several charges in any order, from stores that know nothing of one another, never admit too much, and all come
// through: transactions that collide start again.
func TestTransactionsCollide(t *testing.T) {
	ctx := context.Background()
	first := newStore(t, &patient)
	if !transactional(t, first) {
		t.Skip("a standalone has no transactions")
	}
	p, q := lasting(60), lasting(60)
	q.Name, q.Algorithm = "other", halt.SlidingWindow
	var wg sync.WaitGroup
	var mu sync.Mutex
	admitted := 0
	for n := range 4 {
		s := open(t, first.collection, &patient)
		for range 2 {
			wg.Go(func() {
				for range 10 {
					cs := []halt.Charge{p.Charge("k", 1), q.Charge("k", 1)}
					if n%2 == 0 {
						cs[0], cs[1] = cs[1], cs[0]
					}
					ds := make(halt.Decisions, 2)
					if err := s.Take(ctx, cs, ds); err != nil {
						t.Error(err)
					}
					mu.Lock()
					if ds.Allowed() {
						admitted++
					}
					mu.Unlock()
				}
			})
		}
	}
	wg.Wait()
	if admitted != 60 {
		t.Errorf("%d were admitted of 60", admitted)
	}
	if a, b := take(t, first, p.Charge("k", 0)), take(t, first, q.Charge("k", 0)); a.Remaining != 0 || b.Remaining != 0 {
		t.Errorf("%d and %d are left", a.Remaining, b.Remaining)
	}
}
