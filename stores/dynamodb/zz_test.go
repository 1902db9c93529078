package haltdynamo

import (
	"testing"

	"github.com/halt-dev/halt/core/cas"
	"github.com/halt-dev/halt/core/cas/castest"
)

func TestZZCastest(t *testing.T) {
	conn := func(testing.TB) cas.Register {
		return &register{client: connect(Endpoint), table: Table, clock: cas.NewClock().Now}
	}
	castest.Run(t, castest.Harness{New: conn, Another: func(tb testing.TB, _ cas.Register) cas.Register { return conn(tb) }})
}
