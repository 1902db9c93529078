package haltmemcached

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/halt-dev/halt/core/cas"
	"github.com/halt-dev/halt/core/cas/castest"
)

func TestZZLost(t *testing.T) {
	addrs := servers(t, 1)
	conn := func(tb testing.TB) cas.Register {
		f := new(faulty)
		lose := func() bool { return rand.IntN(30) == 0 }
		f.lose.Store(&lose)
		o := patient
		o.Dial = f.dial
		o.Timeout = 2*time.Second
		s := open(tb, &o, addrs...)
		return s.register
	}
	castest.Run(t, castest.Harness{New: conn, Another: func(tb testing.TB, _ cas.Register) cas.Register { return conn(tb) }, LosesReplies: true})
}
