package halt

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"sync"
	"time"

	"github.com/halt-dev/halt/core/internal/seldom"
)

// LogOptions are a [LogObserver]'s. The zero value, or nil, is the default.
type LogOptions struct {
	// Every rations the lines: at most one in this time per policy, and one about failures. 0 means 10 s. The next line
	// says how many there would have been in between.
	Every time.Duration
	// Level is that of refusals; the zero value is slog.LevelInfo. Failures are warnings.
	Level slog.Level
	// HashKeys adds whose charge was refused, as key_hash: the first 16 hexadecimal digits of the key's HMAC-SHA-256 under
	// Secret. The key itself is never logged.
	HashKeys bool
	// Secret makes a key's hash the same in all processes that have it. Without, it is another in every LogObserver. Whoever
	// knows it can try out whose a hash is.
	Secret []byte
}

const maxLogPolicies = 1000 // those beyond share their lines

// LogObserver is an [Observer] that logs refusals and failures with log/slog: what a policy refused, also as a Shadow that
// refuses nobody; and that the store failed, by [ErrorKind]. It is safe for concurrent use.
//
// A refusal's line is "halt: refused", or "halt: would refuse" of a Shadow, with policy, plan, route, cost, limit, blocked,
// retry_after and suppressed; a failure's is "halt: decision failed", with store, route, error, failed_open and suppressed.
// plan and route are left out if empty. The logger gets the call's context.
type LogObserver struct {
	logger *slog.Logger
	o      LogOptions

	failures seldom.Gate
	mu       sync.RWMutex
	refusals map[refusalLine]*seldom.Gate
	others   seldom.Gate
}

// refusalLine is what lines are rationed by.
type refusalLine struct {
	policy string
	shadow bool
}

// NewLogObserver returns an observer that logs to the logger, or to slog.Default as it is at the time if that is nil. It
// panics if Every is negative.
func NewLogObserver(logger *slog.Logger, o *LogOptions) *LogObserver {
	l := &LogObserver{logger: logger, refusals: map[refusalLine]*seldom.Gate{}}
	if o != nil {
		l.o = *o
	}
	if l.o.Every < 0 {
		panic("halt: LogOptions.Every must be 0 (10 s) or more") //nolint:forbidigo // wrong at wiring
	}
	if l.o.Every == 0 {
		l.o.Every = seldom.Every
	}
	l.o.Secret = append([]byte(nil), l.o.Secret...)
	if l.o.HashKeys && len(l.o.Secret) == 0 {
		l.o.Secret = make([]byte, sha256.Size)
		_, _ = rand.Read(l.o.Secret) // it never fails
	}
	return l
}

// OnlyCounts tells the Limiter that the observer has no use for Start and Elapsed.
func (l *LogObserver) OnlyCounts() bool { return true }

// Start returns ctx.
func (l *LogObserver) Start(ctx context.Context, _ *Event) context.Context { return ctx }

// End logs what was refused or failed.
func (l *LogObserver) End(ctx context.Context, e *Event) {
	if e.Err != nil {
		l.failed(ctx, e)
		return
	}
	if e.Internal {
		return
	}
	for i := range e.Decisions {
		if d := &e.Decisions[i]; !d.Allowed && (d.Mode == Take || d.Mode == Shadow) {
			l.refused(ctx, e, &e.Charges[i], d)
		}
	}
}

func (l *LogObserver) refused(ctx context.Context, e *Event, c *Charge, d *Decision) {
	logger := l.to()
	if !logger.Enabled(ctx, l.o.Level) {
		return
	}
	suppressed, due := l.line(refusalLine{c.Policy.Name, d.Mode == Shadow}).Due(l.o.Every)
	if !due {
		return
	}
	message := "halt: refused"
	if d.Mode == Shadow {
		message = "halt: would refuse"
	}
	attrs := make([]slog.Attr, 0, 9)
	attrs = append(attrs, slog.String("policy", c.Policy.Name))
	attrs = appendLabel(attrs, "plan", c.Policy.Plan)
	attrs = appendLabel(attrs, "route", e.Route)
	attrs = append(attrs, slog.Int64("cost", c.Cost), slog.Int64("limit", d.Limit), slog.Bool("blocked", d.Blocked))
	if d.RetryAfter != Never {
		attrs = append(attrs, slog.Duration("retry_after", d.RetryAfter))
	}
	if l.o.HashKeys {
		attrs = append(attrs, slog.String("key_hash", l.hash(c.Key)))
	}
	attrs = append(attrs, slog.Int64("suppressed", suppressed))
	logger.LogAttrs(ctx, l.o.Level, message, attrs...)
}

// failed logs the kind of a failure: the error's text can hold internals of the store's.
func (l *LogObserver) failed(ctx context.Context, e *Event) {
	kind := ErrorKind(e.Err)
	if kind == "canceled" {
		return // the caller has gone, the store has not failed
	}
	suppressed, due := l.failures.Due(l.o.Every)
	if !due {
		return
	}
	attrs := appendLabel([]slog.Attr{slog.String("store", e.Store)}, "route", e.Route)
	attrs = append(attrs, slog.String("error", kind), slog.Bool("failed_open", e.FailedOpen),
		slog.Int64("suppressed", suppressed))
	l.to().LogAttrs(ctx, slog.LevelWarn, "halt: decision failed", attrs...)
}

func (l *LogObserver) to() *slog.Logger {
	if l.logger == nil {
		return slog.Default()
	}
	return l.logger
}

// line returns what rations the lines of a policy.
func (l *LogObserver) line(key refusalLine) *seldom.Gate {
	l.mu.RLock()
	f, full := l.refusals[key], len(l.refusals) >= maxLogPolicies
	l.mu.RUnlock()
	switch {
	case f != nil:
		return f
	case full:
		return &l.others
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if f = l.refusals[key]; f == nil {
		f = new(seldom.Gate)
		l.refusals[key] = f
	}
	return f
}

func (l *LogObserver) hash(key string) string {
	h := hmac.New(sha256.New, l.o.Secret)
	_, _ = h.Write([]byte(key)) // it never fails
	return hex.EncodeToString(h.Sum(nil)[:8])
}

func appendLabel(attrs []slog.Attr, name, value string) []slog.Attr {
	if value == "" {
		return attrs
	}
	return append(attrs, slog.String(name, value))
}
