package haltpostgres

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	defaultSchema   = "halt"
	defaultTimeout  = 100 * time.Millisecond
	defaultMaxBatch = 128
	defaultInFlight = 2
	// mostCalls bounds MaxBatch: what is decided in one go holds its locks until its end.
	mostCalls = 4000
)

// Options are a [Store]'s, and those of [Migrate] and [Schema]. The zero value, or nil, is the default.
type Options struct {
	// Schema is the schema in the database that all of Halt's is in: "" means "halt". 1 to 63 of a-z 0-9 _, and no digit
	// first. Stores of different schemas share nothing.
	Schema string
	// Unlogged makes Migrate create the table UNLOGGED: decisions are then not written to PostgreSQL's log, which is what a
	// commit waits for. After a crash of the server such a table is empty, and a standby has none: all budgets start afresh.
	// A clean restart keeps it. Migrate leaves a table that is there as it is.
	Unlogged bool
	// Timeout is how long a call may take, waiting for its turn included: 0 means 100 ms. A call that takes longer returns an
	// error that matches halt.ErrDeadline; it is then unknown whether it was spent.
	Timeout time.Duration
	// MaxBatch is how many calls go to PostgreSQL in one statement at most: 0 means 128, the most are 4000. 1 turns batching
	// off: each call has a statement of its own, and InFlight is how many calls are on their way at once.
	MaxBatch int
	// InFlight is how many batches may be on their way at once, each on a connection of its own: 0 means 2. While they are,
	// calls wait, Resets too, and form the next batch. A single connection has one call at a time, whatever this says.
	InFlight int
	// SweepEvery, if not 0, makes traffic remove dead rows: when a batch has been answered and the last time was so long ago,
	// its connection looks through the next 16 pages of the table, which are about 1000 rows. 0: only Sweep removes any.
	SweepEvery time.Duration
}

// complete returns the options with the defaults filled in, or an error that names all that is wrong.
func (o *Options) complete() (Options, error) {
	var c Options
	if o != nil {
		c = *o
	}
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf("halt/postgres: "+format, args...)) }
	if c.Schema == "" {
		c.Schema = defaultSchema
	} else if !plainName(c.Schema) {
		wrong("Options.Schema must be 1 to 63 of a-z 0-9 _, no digit first, and not begin with pg_")
	}
	if c.Timeout < 0 {
		wrong("Options.Timeout must be 0 (100 ms) or more")
	} else if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.MaxBatch < 0 || c.MaxBatch > mostCalls {
		wrong("Options.MaxBatch must be 0 (%d) to %d", defaultMaxBatch, mostCalls)
	} else if c.MaxBatch == 0 {
		c.MaxBatch = defaultMaxBatch
	}
	if c.InFlight < 0 {
		wrong("Options.InFlight must be 0 (%d) or more", defaultInFlight)
	} else if c.InFlight == 0 {
		c.InFlight = defaultInFlight
	}
	if c.SweepEvery < 0 {
		wrong("Options.SweepEvery must be 0 (never) or more")
	}
	return c, errors.Join(errs...)
}

// plainName tells whether s is a name that PostgreSQL reads as it is, quoted or not.
func plainName(s string) bool {
	if len(s) == 0 || len(s) > 63 || s[0] >= '0' && s[0] <= '9' || strings.HasPrefix(s, "pg_") {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_') {
			return false
		}
	}
	return true
}

// quoted is the schema as statements have it.
func (o *Options) quoted() string { return `"` + o.Schema + `"` }
