package haltpostgres

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/storetest"
)

// lossy makes connections that lose replies: the server has done what it was asked to, and the client hears nothing.
type lossy struct {
	armed atomic.Bool                 // the next reply to the function is lost
	lose  atomic.Pointer[func() bool] // or those that it says
}

func (l *lossy) use(c *pgxpool.Config) {
	c.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, network, addr)
		return &lossyConn{Conn: conn, from: l}, err
	}
}

type lossyConn struct {
	net.Conn
	from   *lossy
	called atomic.Bool // the last thing sent was a call of the function
}

// arguments begins what the arguments of a call have, prepared or not, and nothing else does: the keys.
var arguments = []byte(`{"\\x`)

func (c *lossyConn) Write(b []byte) (int, error) {
	c.called.Store(bytes.Contains(b, arguments))
	return c.Conn.Write(b)
}

func (c *lossyConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil || !c.called.Load() {
		return n, err
	}
	lose := c.from.lose.Load()
	if c.from.armed.CompareAndSwap(true, false) || lose != nil && (*lose)() {
		_ = c.Close()
		return 0, io.EOF
	}
	return n, err
}

// A Credit or a Debit whose reply is lost runs once and is an error; a Take or a Reset is repeated once.
func TestLostReply(t *testing.T) {
	l := new(lossy)
	s, _ := newStore(t, &patient, l.use)
	p := lasting(100)
	first := take(t, s, p.Charge("k", 50))
	for _, c := range []struct {
		mode  halt.Mode
		fails bool
		left  int64
	}{
		{halt.Credit, true, 60},
		{halt.Debit, true, 50},
		{halt.Peek, false, 50},
		{halt.Take, false, 30}, // twice: less is admitted than could be
	} {
		charge := halt.Charge{Policy: p, Key: "k", Cost: 10, Mode: c.mode}
		if c.mode == halt.Credit {
			charge.At, charge.Taken = first.At, 50
		}
		l.armed.Store(true)
		_, err := storetest.TakeOne(context.Background(), s, charge)
		if (err != nil) != c.fails || err != nil && halt.ErrorKind(err) != "store" {
			t.Errorf("a %s whose reply is lost: %v", c.mode, err)
		}
		if l.armed.Load() {
			t.Errorf("no reply to a %s was lost", c.mode)
		}
		if d := take(t, s, p.Charge("k", 0)); d.Remaining != c.left {
			t.Errorf("after a %s of 10 whose reply was lost, %d are left, want %d", c.mode, d.Remaining, c.left)
		}
	}
	l.armed.Store(true)
	if err := s.Reset(context.Background(), p, "k"); err != nil || l.armed.Load() {
		t.Errorf("a Reset whose reply is lost: %v", err)
	}
	if d := take(t, s, p.Charge("k", 0)); d.Remaining != 100 {
		t.Errorf("after a Reset whose reply was lost, %d are left, not 100", d.Remaining)
	}
}

// The suite's concurrent cases where one reply in twenty is lost.
func TestLosesReplies(t *testing.T) {
	l := new(lossy)
	schema := schemaName(t)
	pool := connect(t, dsn, l.use)
	lose := func() bool { return rand.IntN(20) == 0 }
	h := harness(connect(t, dsn), schema, func(tb testing.TB) *Store {
		l.lose.Store(nil)
		s := open(tb, pool, patientIn(schema))
		if strings.Contains(tb.Name(), "Concurrent") { // other cases follow what becomes of each call
			l.lose.Store(&lose)
		}
		return s
	})
	h.LosesReplies, h.Corrupt, h.TTL = true, nil, nil
	storetest.Run(t, h)
}
