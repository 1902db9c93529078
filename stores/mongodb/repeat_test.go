package haltmongo

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
)

// lossy makes connections that lose answers: the server has done what it was asked to, and the client hears nothing.
type lossy struct {
	command string                      // to which answers can be lost
	armed   atomic.Int64                // how many of the next are
	lose    atomic.Pointer[func() bool] // or those that it says
	sent    atomic.Int64                // how many such commands were sent
}

func (l *lossy) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, network, addr)
	return &lossyConn{Conn: c, from: l}, err
}

type lossyConn struct {
	net.Conn
	from *lossy
	hit  atomic.Bool // the last thing sent was such a command
}

func (c *lossyConn) Write(b []byte) (int, error) {
	hit := bytes.Contains(b, []byte(c.from.command))
	c.hit.Store(hit)
	n, err := c.Conn.Write(b)
	if hit {
		c.from.sent.Add(1)
	}
	return n, err
}

func (c *lossyConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil || !c.hit.Load() {
		return n, err
	}
	if lose := c.from.lose.Load(); c.from.armed.Add(-1) >= 0 || lose != nil && (*lose)() {
		_ = c.Close()
		return 0, io.EOF
	}
	return n, err
}

// newLossy returns a store whose answers can be lost, and one on the same collection whose answers are not.
func newLossy(tb testing.TB, command string, retryWrites bool) (s, plain *Store, l *lossy) {
	tb.Helper()
	l = &lossy{command: command}
	client, err := mongo.Connect(options.Client().ApplyURI(ExampleURI).SetDialer(l).SetRetryWrites(retryWrites))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = client.Disconnect(context.Background()) })
	plain = newStore(tb, &patient)
	return open(tb, client.Database(database).Collection(plain.collection.Name()), &patient), plain, l
}

// A lost answer is found in the document: nothing runs twice, and everybody gets his decision.
func TestLostAnswer(t *testing.T) {
	for _, retryWrites := range []bool{false, true} {
		for mode, left := range map[halt.Mode]int64{halt.Take: 40, halt.Debit: 40, halt.Credit: 60, halt.Peek: 50} {
			s, plain, l := newLossy(t, "findAndModify", retryWrites)
			p := lasting(100)
			taken := take(t, s, p.Charge("k", 50))
			c := halt.Charge{Policy: p, Key: "k", Cost: 10, Mode: mode, At: taken.At, Taken: 50}
			l.armed.Store(1)
			before := l.sent.Load()
			d, err := storetest.TakeOne(context.Background(), s, c)
			if err != nil || d.Remaining != left {
				t.Errorf("a %s whose answer was lost (retryWrites %t): %+v, %v", mode, retryWrites, d, err)
			}
			if n := l.sent.Load() - before; n != 1 && !retryWrites {
				t.Errorf("a %s whose answer was lost was sent %d times", mode, n)
			}
			if d := take(t, plain, p.Charge("k", 0)); d.Remaining != left {
				t.Errorf("after a %s whose answer was lost (retryWrites %t) %d are left, want %d", mode, retryWrites, d.Remaining, left)
			}
		}
	}
}

// If somebody else has written the document since, nobody can tell whether an update ran. A Take is sent again, which admits
// less; a Credit or Debit is not.
func TestLostAnswerOverwritten(t *testing.T) {
	for mode, sent := range map[halt.Mode]int64{halt.Take: 2, halt.Debit: 1, halt.Credit: 1} {
		s, plain, l := newLossy(t, "findAndModify", false)
		p := lasting(100)
		taken := take(t, s, p.Charge("k", 50))
		overwrite := func() bool {
			l.lose.Store(nil)
			take(t, plain, p.Charge("k", 1))
			return true
		}
		l.lose.Store(&overwrite)
		before := l.sent.Load()
		d, err := storetest.TakeOne(context.Background(), s, halt.Charge{Policy: p, Key: "k", Cost: 10, Mode: mode, At: taken.At, Taken: 50})
		if n := l.sent.Load() - before; n != sent {
			t.Errorf("a %s was sent %d times, want %d", mode, n, sent)
		}
		if mode == halt.Take && (err != nil || !d.Allowed) || mode != halt.Take && !errors.Is(err, halt.ErrStore) {
			t.Errorf("a %s: %+v, %v", mode, d, err)
		}
		left := map[halt.Mode]int64{halt.Take: 29, halt.Debit: 39, halt.Credit: 59}[mode]
		if d := take(t, plain, p.Charge("k", 0)); d.Remaining != left {
			t.Errorf("after a %s %d are left, want %d", mode, d.Remaining, left)
		}
	}
}

// A transaction whose commit was not answered is committed again: once, all of it.
func TestLostCommit(t *testing.T) {
	s, plain, l := newLossy(t, "commitTransaction", true)
	if !transactional(t, plain) {
		t.Skip("a standalone has no transactions")
	}
	p, q := lasting(100), lasting(100)
	q.Name = "other"
	l.armed.Store(1)
	ds := make(halt.Decisions, 2)
	if err := s.Take(context.Background(), []halt.Charge{p.Charge("k", 10), q.Charge("k", 20)}, ds); err != nil || !ds.Allowed() {
		t.Errorf("a call whose commit was not answered: %+v, %v", ds, err)
	}
	if n := l.sent.Load(); n != 2 {
		t.Errorf("it was committed %d times", n)
	}
	if a, b := take(t, plain, p.Charge("k", 0)), take(t, plain, q.Charge("k", 0)); a.Remaining != 90 || b.Remaining != 80 {
		t.Errorf("%d and %d are left", a.Remaining, b.Remaining)
	}
}

// The suite where one answer in twenty is lost.
func TestLosesReplies(t *testing.T) {
	t.Parallel()
	l := &lossy{command: "findAndModify"}
	client, err := mongo.Connect(options.Client().ApplyURI(ExampleURI).SetDialer(l))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Disconnect(context.Background()) })
	lose := func() bool { return rand.IntN(20) == 0 }
	h := harness(client)
	h.LosesReplies, h.Corrupt, h.TTL = true, nil, nil
	h.New = func(tb testing.TB) halt.Store {
		l.lose.Store(nil)
		if strings.Contains(tb.Name(), "Concurrent") { // other cases follow what becomes of each call
			l.lose.Store(&lose)
		}
		return open(tb, newCollection(tb, client), &patient)
	}
	storetest.Run(t, h)
}

// transactional tells whether the servers have transactions.
func transactional(tb testing.TB, s *Store) bool {
	tb.Helper()
	yes, err := s.transactions(context.Background())
	if err != nil {
		tb.Fatal(err)
	}
	return yes
}

// SecantusDB, on which the tests run where there is no MongoDB, loses no update: neither a plain one nor a pipeline's.
func TestNoUpdateIsLost(t *testing.T) {
	ctx := context.Background()
	c := newStore(t, &patient).collection
	one := int64(1)
	for name, update := range map[string]any{
		"inc":      unary("$inc", bson.D{field("n", one)}),
		"pipeline": bson.A{set(field("n", add(otherwise("$n", int64(0)), one)))},
	} {
		var acknowledged, doubtful atomic.Int64
		errs := make(chan error, 64)
		for range 64 {
			go func() {
				for range 10 {
					_, err := c.FindOneAndUpdate(ctx, bson.D{field(fieldID, name)}, update, options.FindOneAndUpdate().SetUpsert(true)).Raw()
					switch {
					case err == nil:
						acknowledged.Add(1)
					case mongo.IsDuplicateKeyError(err): // two that found nothing
					case errors.Is(err, mongo.ErrNoDocuments): // the first has no document before it
						doubtful.Add(1)
					default:
						errs <- err
						return
					}
				}
				errs <- nil
			}()
		}
		for range 64 {
			if err := <-errs; err != nil {
				t.Fatal(err)
			}
		}
		raw, err := c.FindOne(ctx, bson.D{field(fieldID, name)}).Raw()
		if err != nil {
			t.Fatal(err)
		}
		n := raw.Lookup("n").AsInt64()
		t.Logf("%s: %d acknowledged, %d without a document, %d counted", name, acknowledged.Load(), doubtful.Load(), n)
		if n < acknowledged.Load() || n > acknowledged.Load()+doubtful.Load() {
			t.Errorf("%s: %d updates were acknowledged, and %d at most, and the document counts %d", name, acknowledged.Load(), acknowledged.Load()+doubtful.Load(), n)
		}
	}
}
