package haltpostgres

import (
	"context"
	"fmt"
	"strconv"
	"time"

	halt "github.com/halt-dev/halt/core"
	"github.com/halt-dev/halt/core/combine"
)

// flight carries batches to PostgreSQL, one after the other. All of its memory is used again.
type flight struct {
	store   *Store
	request *request
	memory  []entry
	entries []*entry
	again   []*entry
}

func (s *Store) newFlight() *flight { return &flight{store: s, request: newRequest()} }

// attempts is how often a batch is sent at most, if each time it is certain that it has not run.
const attempts = 4

// Send decides the calls of a batch: first the Takes, which then don't wait for what a Reset waits for.
func (f *flight) Send(ctx context.Context, _ struct{}, calls []*combine.Call[bool]) {
	for len(f.memory) < len(calls) {
		f.memory = append(f.memory, entry{})
	}
	for i, w := range calls {
		e := &f.memory[i]
		*e = entry{charges: w.Charges, decisions: w.Decisions, reset: w.Of, waits: w, keys: e.keys[:0]}
	}
	for _, reset := range [...]bool{false, true} {
		f.entries = f.entries[:0]
		for i := range calls {
			if e := &f.memory[i]; e.reset == reset {
				f.entries = append(f.entries, e)
			}
		}
		f.run(ctx)
	}
	for i := range calls {
		f.memory[i] = entry{keys: f.memory[i].keys[:0]}
	}
	f.store.sweepBySide(ctx)
}

// run sends the entries, which are all Resets or none is, and sees to it that each is answered.
func (f *flight) run(ctx context.Context) {
	careful := false
	for attempt := 0; len(f.entries) > 0; attempt++ {
		f.request.build(f.entries)
		reset := f.entries[0].reset
		careful = careful || attempt == 0 && len(f.request.keys) > 1 && f.store.wary()
		answer, err := f.store.ask(ctx, f.request, reset, careful, attempt)
		f.again = f.again[:0]
		what := failed
		switch {
		case err != nil:
			what = outcomeOf(err)
		case reset:
			f.again, err = f.request.forget(answer, f.again)
		default:
			f.again, err = f.request.decide(f.store, answer, f.again)
		}
		if what == blocked {
			f.store.blocked.Store(time.Now().UnixNano())
		}
		careful = what == blocked && len(f.request.keys) > 1 && !careful
		if err != nil {
			f.settle(what, typed(err), attempt >= attempts-1 || f.store.single != nil || what == blocked && !careful)
		}
		f.entries, f.again = append(f.entries[:0], f.again...), f.again[:0]
		if len(f.entries) > 0 && err != nil && !careful {
			if err := combine.Pause(ctx, attempt); err != nil {
				for _, e := range f.entries {
					e.answer(combine.Ended(err))
				}
				f.entries = f.entries[:0]
			}
		}
	}
	f.request.reset()
}

// settle answers the entries with the error, or puts them among those to be sent again.
func (f *flight) settle(what outcome, err error, last bool) {
	for _, e := range f.entries {
		switch {
		case last, what == failed, what == late, what == unknown && (e.resent || !e.repeatable()):
			e.answer(err)
		case e.waits != nil && e.waits.Gone():
			e.answer(nil) // nobody is there to read it
		default:
			e.resent = e.resent || what == unknown
			f.again = append(f.again, e)
		}
	}
}

// ask runs the function of Takes, or that of Resets.
func (s *Store) ask(ctx context.Context, r *request, reset, careful bool, attempt int) (string, error) {
	if reset {
		return s.query(ctx, s.resetSQL, r.keysText(), s.patience(careful, attempt), strconv.FormatBool(careful))
	}
	return s.query(ctx, s.decideSQL,
		r.keysText(), r.policiesText(s.clock.Now()), r.callsText(), strconv.FormatInt(int64(s.testClock()), 10),
		s.patience(careful, attempt), strconv.FormatBool(careful))
}

// patience returns for how many ms a statement waits for a locked row. A batch that has waited for so long in vain is sent
// again and does not wait for such rows; only the calls that need them are then sent a third time, and wait once more. Who
// waits behind another who waits does so for twice as long: for his turn, then for the row.
func (s *Store) patience(careful bool, attempt int) string {
	wait := s.timeout / 4
	switch {
	case careful:
		wait = 0
	case attempt > 0:
		wait /= 2
	}
	return strconv.FormatInt(max(1, wait.Milliseconds()), 10)
}

// wary tells whether somebody has lately kept a row locked. Batches then wait for no row at first, so that the calls on others
// are answered at once: those behind a batch that waits have little time left.
func (s *Store) wary() bool {
	last := s.blocked.Load()
	return last != 0 && s.single == nil && time.Since(time.Unix(0, last)) < 2*s.timeout
}

// query runs a statement in a transaction of its own that is READ COMMITTED.
func (s *Store) query(ctx context.Context, statement string, args ...any) (answer string, err error) {
	if s.single != nil {
		select {
		case s.single <- struct{}{}:
		case <-ctx.Done():
			return "", ctx.Err()
		}
		defer func() { <-s.single }()
	}
	if !s.explicit.Load() {
		if answer, err = s.db.query(ctx, statement, args...); answer != wrongIsolation {
			return answer, err
		}
		if s.inTx {
			return "", errIsolation
		}
		s.explicit.Store(true)
	}
	err = within(ctx, s.db, func(q querier) (err error) {
		answer, err = q.query(ctx, statement, args...)
		return err
	})
	if err == nil && answer == wrongIsolation {
		err = errIsolation
	}
	return answer, err
}

// wrongIsolation is the function's answer in a transaction that is not READ COMMITTED.
const wrongIsolation = "isolation"

// decideStatement runs the function of the schema. The arguments are texts, which need no type of the driver's.
func decideStatement(schema string) string {
	return fmt.Sprintf("SELECT %s.decide_1($1::text::bytea[], $2::text::bigint[], $3::text::bigint[], $4::text::bigint, $5::text::integer, $6::text::boolean)", schema)
}

// testClock returns what the function is to take for the time; 0: PostgreSQL's own clock.
func (s *Store) testClock() halt.Instant {
	if s.now == nil {
		return 0
	}
	return s.now()
}
