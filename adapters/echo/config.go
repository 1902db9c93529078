package haltecho

import (
	"time"

	"github.com/labstack/echo/v4"

	"github.com/halt-dev/halt/core/guard"
	"github.com/halt-dev/halt/core/httpkit"
)

// The types that package guard and httpkit share with all adapters, bound to echo's context.
type (
	// Rule is one limit: a Policy or a Resolve that finds it, a Key, and what it costs.
	Rule = guard.Rule[echo.Context]
	// Key says whose budget a request draws on: see By, ByIP and the others, Or and And.
	Key = guard.Key[echo.Context]
	// Denial is why a request was denied, and when to come again.
	Denial = guard.Denial
	// Outcome is how a request ended, for a rule's Settle.
	Outcome = guard.Outcome
	// Style says which header fields tell a client about its budgets.
	Style = httpkit.Style
)

// The styles of header fields.
const (
	// Standard is RateLimit-Policy and RateLimit, of draft-ietf-httpapi-ratelimit-headers-10.
	Standard = httpkit.Standard
	// Legacy is X-RateLimit-Limit, -Remaining and -Reset (Unix seconds) of the policy with the least remaining.
	Legacy = httpkit.Legacy
	// NoHeaders is none. A refusal's Retry-After stays.
	NoHeaders = httpkit.NoHeaders
)

// Config are the rules of a [Middleware] and how it answers. Rules is required; the zero value of all else is the
// default.
type Config struct {
	// Rules are the limits. All that apply to a request are decided as one call: either all of them spend, or none.
	Rules []Rule
	// Exempt requests pass without being counted, such as those of Paths("/healthz"). An echo Skipper fits.
	Exempt func(echo.Context) bool
	// Headers is which header fields tell a client about its budgets. Default: Standard.
	Headers Style
	// FailClosed answers 503 when the store or a rule's function fails. By default a failing store admits, and a failing
	// rule is skipped; observers and OnError are told.
	FailClosed bool
	// Attach lets the handler read what was decided, with [Verdict]. It costs a few allocations.
	Attach bool
	// ResolveTimeout is how long each rule's Resolve may take, told by its context; let it be longer than a
	// PolicyCache's LoadTimeout. Default: 2 s.
	ResolveTimeout time.Duration
	// OnDenied answers denied requests, after the header fields were set; what it returns goes to echo's error handling, so
	// that with an *echo.HTTPError the HTTPErrorHandler answers. Default: d.Status() and problem details, written at once.
	OnDenied func(c echo.Context, d Denial) error
	// OnError observes what fails, a *guard.RuleError or the store's error, and requests without a key, a *guard.RuleError of
	// guard.ErrNoKey. It must not write to the request. The errors' texts can hold internals.
	OnError func(echo.Context, error)
}
