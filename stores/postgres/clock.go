package haltpostgres

import (
	"sync/atomic"
	"time"

	halt "github.com/halt-dev/halt/core"
)

// clockOffset is how far PostgreSQL's clock is ahead of this process's, in µs, as of the last answer. It only serves to send
// the right edges of calendar periods at the first try: PostgreSQL's clock decides.
type clockOffset struct{ us atomic.Int64 }

func (o *clockOffset) learn(now halt.Instant) {
	o.us.Store(int64(now - halt.InstantOf(time.Now())))
}

// serverNow returns about what PostgreSQL's clock shows.
func (s *Store) serverNow() halt.Instant {
	return halt.InstantOf(time.Now()) + halt.Instant(s.ahead.us.Load())
}

// testClock returns what the function is to take for the time; 0: PostgreSQL's own clock.
func (s *Store) testClock() halt.Instant {
	if s.now == nil {
		return 0
	}
	return s.now()
}
