package haltmemcached

import (
	"bytes"
	"context"
	"errors"
	"math"
	"strconv"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/cas"
)

// register is Memcached as package cas wants it: its meta commands compare and swap by the number that Memcached gives to every
// write, and tell the number of the new one, so that the next swap needs no reading.
//
// These numbers start again at 1 when a server does, so one is worth something only on the connection on which it was learned:
// that ends with the server. An Entry's Epoch is its connection. After a change of connection the value is compared instead, and so
// it is after a set whose answer told no number: Memcached 1.6.20 forgets to.
//
// What was read and not written from here is what others write, too. So a swap of it asks in the same breath what is there,
// and needs no reading if others were first again: else those who write without reading would always be faster.
type register struct {
	prefix  string
	servers []*server
	clock   func() halt.Instant
}

// others is set in the Epoch of what was read and not written from here.
const others = 1 << 63

func newRegister(servers []string, o *Options, clock func() halt.Instant) *register {
	r := &register{prefix: o.Prefix, clock: clock}
	for _, name := range servers {
		r.servers = append(r.servers, newServer(name, o, clock))
	}
	return r
}

// Ahead implements cas.TimeRegister.
func (r *register) Ahead(key string) time.Duration {
	if len(r.servers) == 1 {
		return r.servers[0].offset.Ahead()
	}
	v, _ := r.serverOf(r.wireKey(key))
	return v.offset.Ahead()
}

// Load implements cas.Register.
func (r *register) Load(ctx context.Context, key string) (cas.Entry, error) {
	key = r.wireKey(key)
	v, h := r.serverOf(key)
	return v.load(ctx, h, key)
}

// load reads the entry of one of Memcached's keys.
func (v *server) load(ctx context.Context, h uint64, key string) (cas.Entry, error) {
	x := v.newExchange()
	x.get(key)
	if err := v.do(ctx, h, x, 0); err != nil {
		return cas.Entry{}, err
	}
	defer x.release()
	v.dated.Store(true) // a connection asks for it first
	return x.entry(0)
}

// CompareAndSwap implements cas.Register.
func (r *register) CompareAndSwap(
	ctx context.Context, key string, old cas.Entry, value []byte, life time.Duration,
) (cas.Result, error) {
	key = r.wireKey(key)
	v, h := r.serverOf(key)
	if !v.dated.Load() {
		// What this process has decided so far it has by its own clock, which may be hours off. It is to decide once more.
		now, err := v.load(ctx, h, key)
		if err != nil {
			return cas.Result{}, cas.NotDone(err)
		}
		return cas.Result{Found: true, Entry: now}, nil
	}
	for {
		res, err := v.swap(ctx, h, key, old, value, r.expiry(v, life))
		if !errors.Is(err, errNumber) {
			return res, err
		}
		now, err := v.load(ctx, h, key)
		switch {
		case err != nil:
			return cas.Result{}, cas.NotDone(err)
		case now.Value == nil || !bytes.Equal(now.Value, old.Value):
			return cas.Result{Found: true, Entry: now}, nil
		}
		old = now // by its number on this connection
	}
}

// swap sends a swap of one of Memcached's keys once. Its error is errNumber's, and nothing was sent, if the entry's number is not
// known here.
func (v *server) swap(ctx context.Context, h uint64, key string, old cas.Entry, value []byte, expiry int64) (cas.Result, error) {
	if old.Value != nil && old.Version == 0 { // not told; without one a set would be taken for the first
		return cas.Result{}, errNumber
	}
	x := v.newExchange()
	if value == nil {
		x.remove(key, old.Version)
	} else {
		x.set(key, old.Version, value, expiry)
	}
	if value != nil && (old.Value == nil || old.Epoch&others != 0) {
		x.want = 2
		x.get(key)
	}
	if err := v.do(ctx, h, x, old.Epoch&^others); err != nil {
		return cas.Result{}, err
	}
	defer x.release()
	return x.result()
}

// get appends a get of the key's value and number.
func (x *exchange) get(key string) {
	x.send = append(x.send, "mg "...)
	x.send = append(x.send, key...)
	x.send = append(x.send, " c v\r\n"...)
}

// set appends a set of the key, if its number is as told; 0: if there is none.
func (x *exchange) set(key string, number uint64, value []byte, expiry int64) {
	x.send = append(x.send, "ms "...)
	x.send = append(x.send, key...)
	x.send = append(x.send, ' ')
	x.send = strconv.AppendInt(x.send, int64(len(value)), 10)
	if number == 0 {
		x.send = append(x.send, " ME c T"...)
	} else {
		x.send = append(x.send, " C"...)
		x.send = strconv.AppendUint(x.send, number, 10)
		x.send = append(x.send, " c T"...)
	}
	x.send = strconv.AppendInt(x.send, expiry, 10)
	x.send = append(x.send, "\r\n"...)
	x.send = append(x.send, value...)
	x.send = append(x.send, "\r\n"...)
}

// remove appends a removal of the key, if its number is as told.
func (x *exchange) remove(key string, number uint64) {
	x.send = append(x.send, "md "...)
	x.send = append(x.send, key...)
	x.send = append(x.send, " C"...)
	x.send = strconv.AppendUint(x.send, number, 10)
	x.send = append(x.send, "\r\n"...)
}

var errNoNumbers = errors.New("halt/memcached: the server can't compare and swap: it runs with -C, --disable-cas")

// entry returns what the i-th answer, to a get, says.
func (x *exchange) entry(i int) (cas.Entry, error) {
	switch a := &x.replies[i]; a.status {
	case statusValue:
		if a.number == 0 {
			return cas.Entry{}, errNoNumbers
		}
		return cas.Entry{Value: a.value, Version: a.number, Epoch: x.epoch | others}, nil
	case statusMiss:
		return cas.Entry{}, nil
	default:
		return cas.Entry{}, a.failure()
	}
}

// result returns what the answer to a set or a removal says.
func (x *exchange) result() (cas.Result, error) {
	switch a := &x.replies[0]; a.status {
	case statusDone:
		return cas.Result{Swapped: true, Entry: cas.Entry{Version: a.number, Epoch: x.epoch}}, nil
	case statusNotFound:
		return cas.Result{Found: true}, nil
	case statusExists, statusNotStored:
		if x.want == 1 {
			return cas.Result{}, nil
		}
		e, err := x.entry(1)
		if err != nil {
			return cas.Result{}, cas.NotDone(err)
		}
		return cas.Result{Found: true, Entry: e}, nil
	default:
		return cas.Result{}, cas.NotDone(a.failure())
	}
}

// expiry returns when an entry is to expire, as Memcached wants it. Its clock moves in seconds and is late, so an entry with 1
// second to live may live for no time at all.
func (r *register) expiry(v *server, life time.Duration) int64 {
	const longest = 30 * 24 * 60 * 60 // beyond that it is a time of the server's clock, not an age
	seconds := int64((life+time.Second-1)/time.Second) + 1
	if seconds <= longest {
		return seconds
	}
	now := r.clock() + halt.Instant(v.offset.Ahead()/time.Microsecond)
	// The server's clock may be off by some seconds from what is known of it. What it takes is 31 bits.
	return min(int64(now/1_000_000)+seconds+4, math.MaxInt32)
}
