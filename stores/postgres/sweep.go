package haltpostgres

import (
	"context"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/halt-dev/halt/core/combine"
)

// sweepPages is how many pages of the table one statement looks through: it locks what it deletes until it is over.
const sweepPages = 16

// sweeper is what the takes' own sweeping knows.
type sweeper struct {
	every time.Duration
	last  atomic.Int64 // when a step began, in ns since the Unix epoch
	page  atomic.Int64 // where the next begins; 0: not begun
}

// Sweep deletes the rows of all budgets that have been as never seen for a minute, a few pages at a time, and returns how
// many there were. It passes over rows that are in use, and never makes a call wait for longer than a few pages take. Run it
// now and then: such rows cost nothing but their space. It returns when it is through the table, or when ctx ends. Several
// may run at once, each on a connection of its own, which is not one of [Options].InFlight.
func (s *Store) Sweep(ctx context.Context) (deleted int64, err error) {
	for page, total := int64(0), int64(1); page < total; page += sweepPages {
		var gone int64
		for attempt := 0; ; attempt++ {
			if gone, total, err = s.sweepStep(ctx, page); err == nil {
				break
			}
			if ctx.Err() != nil {
				return deleted, combine.Ended(ctx.Err())
			}
			if attempt == attempts-1 || outcomeOf(err) == failed || s.single != nil {
				return deleted, typed(err)
			}
			if err := combine.Pause(ctx, attempt); err != nil {
				return deleted, combine.Ended(err)
			}
		}
		deleted += gone
	}
	return deleted, nil
}

// sweepStep looks through the pages from the given one on, and returns how many the table has, too.
func (s *Store) sweepStep(ctx context.Context, page int64) (gone, total int64, err error) {
	answer, err := s.query(ctx, s.sweepSQL, strconv.FormatInt(page, 10), strconv.Itoa(sweepPages))
	if err != nil {
		return 0, 0, err
	}
	first, second, _ := strings.Cut(answer, " ")
	gone, ok1 := number(first)
	total, ok2 := number(second)
	if !ok1 || !ok2 {
		return 0, 0, errReply
	}
	return gone, total, nil
}

// sweepBySide does a step if one is due. What goes wrong does no harm, and comes up again in the calls.
func (s *Store) sweepBySide(ctx context.Context) {
	w := &s.sweeper
	if w.every == 0 || s.single != nil {
		return
	}
	now, last := time.Now().UnixNano(), w.last.Load()
	if now-last < int64(w.every) && now >= last || !w.last.CompareAndSwap(last, now) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout) // what is left of the batch's time may be little
	defer cancel()
	page := w.page.Load()
	_, total, err := s.sweepStep(ctx, page)
	if err != nil {
		return
	}
	page += sweepPages
	if last == 0 && total > 0 { // processes begin at different pages
		page = rand.Int64N(total)
	}
	if page >= total {
		page = 0
	}
	w.page.Store(page)
}
