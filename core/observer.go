package halt

import (
	"context"
	"log/slog"
	"time"

	"github.com/halt-dev/halt/core/internal/seldom"
)

// Observer sees every call that a [Limiter] makes to its store, for telemetry. Several can stand side by side.
// Its methods are called concurrently and on the path of every decision: they must be quick, and must neither change
// the event or its slices nor keep them: the next call uses their memory again. A panic in one is caught, and spoils only what it
// observed.
//
// An Observer may also have a method OnlyCounts() bool. If all of a Limiter's observers have it and return true, calls are
// cheaper: Start is not called, and of a store that answers within a microsecond only one call in 64 is timed, Elapsed
// being 0 for the others.
type Observer interface {
	// Start is called before the store. The context that it returns goes to the next observer, the store and End, so that
	// spans nest.
	Start(ctx context.Context, e *Event) context.Context
	// End is called after the store, in the reverse order, with the same event.
	End(ctx context.Context, e *Event)
}

// counter is what an Observer may have beside.
type counter interface {
	OnlyCounts() bool
}

// Event is one call: at Start with what was asked, at End also with what became of it.
type Event struct {
	Charges []Charge // those of Unlimited policies included
	Route   string   // the route's pattern or the operation's name, as the caller gave it; may be empty
	Store   string   // what kind of store it is, such as "memory"

	// Internal: nobody asked for this call. A guard makes such to begin a Block, and to undo that: it is no decision on anything.
	Internal bool

	Decisions  Decisions     // one per charge; of no meaning if Err is set
	Elapsed    time.Duration // how long the store took
	Err        error         // its text can hold internals of the store's: show ErrorKind(Err) instead
	FailedOpen bool          // Err is set, the caller is still there, and goes on as if it had been admitted
}

// logFailure tells the operator that a decision failed, by its kind: the error's text can hold internals of the store's.
func (l *Limiter) logFailure(ctx context.Context, err error, failedOpen bool) {
	if suppressed, due := l.failures.Due(seldom.Every); due {
		slog.Default().WarnContext(ctx, "halt: decision failed",
			"store", l.name, "error", ErrorKind(err), "failed_open", failedOpen, "suppressed", suppressed)
	}
}
